"""The size of the house: modules, functions, names and types, counted in the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "pyro_vae").rglob("*.py"))
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def body_lines(function: Function) -> int:
    """Without its signature and its docstring."""
    first = function.body[0]
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        first = function.body[1]
    return (function.end_lineno or 0) - first.lineno + 1


def names_of(tree: ast.Module) -> list[str]:
    """What a module's ``__all__`` lists."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = node.value  # type: ignore[union-attr]
            return list(ast.literal_eval(value)) if value is not None else []
    return []


@pytest.mark.parametrize("path", TREES)
def test_a_module_fits_in_350_lines_and_a_function_on_a_screen(path: str) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= 350
    assert {f.name: n for f in functions(TREES[path]) if (n := body_lines(f)) > 60} == {}


def test_all_modules_and_packages_tell_users_of_200_names_at_most() -> None:
    told = [name for tree in TREES.values() for name in names_of(tree)]
    assert 100 < len(set(told)) <= 200


def test_few_signatures_hold_what_no_type_is_known_of() -> None:
    loose = whole = 0
    for tree in TREES.values():
        for function in functions(tree):
            given = function.args
            several = [each for each in (given.vararg, given.kwarg) if each is not None]
            each = [*given.posonlyargs, *given.args, *given.kwonlyargs, *several]
            types = [found for found in (a.annotation for a in each) if found is not None]
            types += [function.returns] if function.returns is not None else []
            whole += 1
            parts = (part for kind in types for part in ast.walk(kind))
            loose += any(isinstance(part, ast.Name) and part.id == "Any" for part in parts)
    assert whole > 2000
    assert loose / whole <= 0.08
