"""What a module can say: its texts, as patterns of what they come to in print."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PRINTED = ("Cause", "Headline")
"""Calls whose arguments are printed whatever they look like."""
UNSEEN = ("get", "getattr", "fromkeys", "startswith", "click", "option", "read", "append_to")


def texts_of(module: str, *functions: str) -> dict[str, re.Pattern[str]]:
    """Every text within a module's functions that can be printed, by where it stands.

    A text is a literal or an f-string with a blank in it or ``--`` before it, and whatever else is
    handed to a :class:`Cause` or a :class:`Headline` or returned as a verdict; docstrings, texts
    that others are compared with, keys, and what decorators say of options are none. An f-string
    is the pattern of its literal parts with anything between them.

    Args:
        module: Its name.
        functions: Those that are looked at; all of it if there are none.
    """
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found: dict[str, re.Pattern[str]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        if functions and function.name not in functions:
            continue
        verdict = function.name.endswith("verdict")
        for statement in function.body:
            for node in _said(statement, verdict):
                literal = ast.unparse(node)
                found[f"{module}:{node.lineno} {literal}"] = re.compile(_pattern(node), re.DOTALL)
    return found


def _said(node: ast.AST, whole: bool) -> Iterator[ast.expr]:
    """Texts at a place of the tree and below it.

    Args:
        node: The place.
        whole: Whether texts without a blank are printed, too.
    """
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Compare | ast.Subscript | ast.FunctionDef | ast.Raise):
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str) and _is_text(node.value, whole):
            yield node
        return
    if isinstance(node, ast.JoinedStr):
        literal = "".join(_literals(node))
        if _is_text(literal, whole) or (" " in literal and _is_text(literal, True)):
            yield node
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _said(part.value, True)
        return
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name in UNSEEN:
            return
        whole = whole or name in PRINTED
        yield from _said(node.func, False)
        for argument in (*node.args, *(k.value for k in node.keywords if k.arg != "changes")):
            yield from _said(argument, whole)
        return
    if isinstance(node, ast.Dict):
        for each in (*node.keys, *node.values):
            if each is not None:
                yield from _said(each, False)
        return
    if isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield from _said(node.value, whole)
        return
    for child in ast.iter_child_nodes(node):
        yield from _said(child, whole)


def _is_text(value: str, whole: bool) -> bool:
    letters = re.search(r"[^\W\d_]", value) is not None
    return letters and (whole or " " in value.strip() or value.startswith("--"))


def _literals(node: ast.JoinedStr) -> list[str]:
    return [
        p.value for p in node.values if isinstance(p, ast.Constant) and isinstance(p.value, str)
    ]


def _pattern(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    assert isinstance(node, ast.JoinedStr)
    parts = (
        re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*?"
        for part in node.values
    )
    return "".join(parts)
