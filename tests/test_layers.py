"""Imports only go down the rooms of docs/inside.md, and are those that its table says.

An import counts wherever it stands: in a function, under ``TYPE_CHECKING``, relative, with another
name, or as the text of a module's name. One in a docstring's example is the reader's, not ours.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, tokens_of

PAGE = ROOT / "docs/inside.md"
CLI = "cli"
PUBLIC = "__init__"
"""The room of the package's own namespace, which gives every public name."""


def rooms_of(page: Path) -> dict[str, set[str]]:
    """What each room imports, by the page's table of them, from the top down.

    Raises:
        ValueError: If there is no such table, or a room stands in it twice.
    """
    tokens = tokens_of(page)
    rows: list[list[str]] = []
    for i, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(tokens[i + 1].content)
    found: dict[str, set[str]] = {}
    inside = False
    for row in rows:
        if row[0] == "room":
            inside = row == ["room", "job", "imports"]
        elif inside and len(row) == 3:
            for room in _named(row[0]):
                if room in found:
                    raise ValueError(f"{page.name}: {room} stands in the table twice")
                found[room] = _named(row[2])
    if not found:
        raise ValueError(f"{page.name} has no table of room, job, imports")
    return found


def _named(cell: str) -> set[str]:
    return {name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", cell)}


def rooms_in(root: Path) -> dict[str, list[Path]]:
    """The files of each room that there is."""
    found: dict[str, list[Path]] = {}
    for path in sorted((root / "pyro_vae").rglob("*.py")):
        room = path.relative_to(root / "pyro_vae").parts[0].removesuffix(".py")
        found.setdefault(room, []).append(path)
    found[CLI] = sorted((root / CLI).rglob("*.py"))
    return found


def _modules(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Full names of what a file of a package imports, as far as they are written out."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    words = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and _imports(node):
            for word in node.args[:1]:
                text = next((c.value for c in ast.walk(word) if isinstance(c, ast.Constant)), "")
                name = str(text).lstrip(".")
                up = len(str(text)) - len(name)
                yield ".".join([*package[: len(package) + 1 - up], name]) if up else name
        elif isinstance(node, ast.Constant) and id(node) not in words:
            name, _, _ = str(node.value).partition(":")
            if re.fullmatch(r"pyro_vae(_cli)?\.[\w.]*", name):
                yield name


def _imports(node: ast.Call) -> bool:
    return ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")


def imported(source: str, package: str, rooms: set[str]) -> set[str]:
    """The rooms that a file imports, its own among them.

    Args:
        source: Of the file.
        package: The package that it is in, as ``pyro_vae.objectives``.
        rooms: All rooms.
    """
    found = set()
    for name in _modules(ast.parse(source), package.split(".")):
        top, *parts = name.split(".")
        if top in (CLI, "pyro_vae_cli"):
            found.add(CLI)
        elif top == "pyro_vae":
            found.add(parts[0] if parts and parts[0] in rooms else PUBLIC)
    return found


def imports_in(root: Path) -> dict[str, dict[str, str]]:
    """What each room of a source tree imports of others, and a file that does."""
    files = rooms_in(root)
    found: dict[str, dict[str, str]] = {room: {} for room in files}
    for room, paths in files.items():
        for path in paths:
            name = path.relative_to(root).as_posix()
            package = ".".join(path.relative_to(root).parent.parts)
            for other in imported(path.read_text(encoding="utf-8"), package, set(files)) - {room}:
                found[room].setdefault(other, name)
    return found


def faults(root: Path, table: dict[str, set[str]]) -> list[str]:
    """Where a source tree and the table differ."""
    found = imports_in(root)
    order = list(table)
    lines = [f"the table lacks the room {room}" for room in found if room not in table]
    lines += [f"the table has {room}, which is no room" for room in table if room not in found]
    for room in order:
        for other in sorted(table[room]):
            if other not in order or order.index(other) <= order.index(room):
                lines.append(f"the table has {room} import {other}, which is not below it")
            if other not in found.get(room, {}):
                lines.append(f"the table has {room} import {other}, which it does not")
        for other, path in found.get(room, {}).items():
            if other not in table[room]:
                lines.append(f"{path}: {room} must not import {other}")
    return lines


def test_the_table_has_every_room_and_every_import_goes_down_it() -> None:
    table = rooms_of(PAGE)
    assert len(table) > 20
    assert sum(map(len, table.values())) > 100
    assert faults(ROOT, table) == []


def test_what_stands_alone_stands_alone() -> None:
    table = rooms_of(PAGE)
    alone = {room for room, others in table.items() if not others}
    assert alone == {
        *("controllers", "distributions", "noise", "errors"),
        *("former", "history", "types"),
    }
    for room in ("objectives", "schedules"):  # but for how they are written
        assert table[room] == {"texts", "errors"}, room


def test_only_the_command_line_knows_the_command_line() -> None:
    for room, others in imports_in(ROOT).items():
        assert CLI not in others, room
    for path in (ROOT / "pyro_vae").rglob("*.py"):
        names = _modules(ast.parse(path.read_text(encoding="utf-8")), ["pyro_vae"])
        assert not {"click", "rich"} & {name.split(".")[0] for name in names}, path


PLANTED = {
    "absolute": ("objectives/base.py", "from pyro_vae.vae import VAE", "vae"),
    "of a module": ("objectives/base.py", "from pyro_vae import training", "training"),
    "with another name": ("schedules/schedule.py", "import pyro_vae.data.levels as x", "data"),
    "relative": ("objectives/base.py", "from ..training import fit", "training"),
    "relative, of a module": ("schedules/schedule.py", "from .. import elbo", "elbo"),
    "relative, deeper": ("loss_audit/kl.py", "from ..reports.page import x", "reports"),
    "relative, from a file": ("links.py", "from .heads import Head", "heads"),
    "relative, from a file, of a module": ("links.py", "from . import vae as v", "vae"),
    "relative, to its package's own": ("distributions/special.py", "from .. import fit", PUBLIC),
    "in a function": ("networks/sizes.py", "def f():\n    from ..data import levels", "data"),
    "for types": (
        "heads/head.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..vae import VAE",
        "vae",
    ),
    "of everything": ("elbo/terms.py", "import pyro_vae as pv", PUBLIC),
    "of a public name": ("elbo/terms.py", "from pyro_vae import fit", PUBLIC),
    "all names": ("elbo/terms.py", "from pyro_vae.training import *", "training"),
    "of the command line": ("training/loop.py", "import pyro_vae_cli.fit", CLI),
    "by a text": (
        "objectives/base.py",
        "import importlib\nx = importlib.import_module('pyro_vae.vae')",
        "vae",
    ),
    "by a relative text": (
        "objectives/base.py",
        "from importlib import import_module\nx = import_module('..vae', __package__)",
        "vae",
    ),
    "by half a text": ("objectives/base.py", "x = __import__(f'pyro_vae.{y}')", PUBLIC),
    "by a text elsewhere": ("links.py", "import sys\nx = sys.modules['pyro_vae.heads']", "heads"),
    "by a reference": (
        "links.py",
        "import pkgutil\nx = pkgutil.resolve_name('pyro_vae.heads:Head')",
        "heads",
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for part in ("pyro_vae", CLI):
        there = shutil.ignore_patterns("__pycache__", "*.npz", "static")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=there)
    return tmp_path


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_import_is_found(tree: Path, case: str) -> None:
    file, lines, other = PLANTED[case]
    path = tree / "pyro_vae" / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n\n{lines}\n", encoding="utf-8")
    room = file.partition("/")[0].removesuffix(".py")
    assert faults(tree, rooms_of(PAGE)) == [f"pyro_vae/{file}: {room} must not import {other}"]


def test_imports_within_a_room_and_in_examples_are_free() -> None:
    source = '''
"""A page.

>>> from pyro_vae import VAE
"""
from . import terms
from .base import Objective
from ..objectives import specs
import pyro_vae.objectives.capture
import pyro

def f():
    "pyro_vae.vae"
'''
    assert imported(source, "pyro_vae.objectives", {"objectives", "vae"}) == {"objectives"}


def test_a_permission_that_nobody_uses_is_found(tree: Path) -> None:
    table = rooms_of(PAGE)
    table["forecasting"].add("distributions")
    wanted = "the table has forecasting import distributions, which it does not"
    assert faults(tree, table) == [wanted]


def test_a_permission_to_import_upwards_is_found(tree: Path) -> None:
    table = rooms_of(PAGE)
    path = tree / "pyro_vae/elbo/terms.py"
    path.write_text("from ..training import fit\n", encoding="utf-8")
    table["elbo"].add("training")
    lines = faults(tree, table)
    assert "the table has elbo import training, which is not below it" in lines


def test_a_new_room_wants_a_row(tree: Path) -> None:
    (tree / "pyro_vae/attic.py").write_text("", encoding="utf-8")
    shutil.rmtree(tree / "pyro_vae/reports")
    lines = faults(tree, rooms_of(PAGE))
    assert "the table lacks the room attic" in lines
    assert "the table has reports, which is no room" in lines


def test_a_room_stands_in_the_table_once(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    head = "| room | job | imports |\n|---|---|---|\n"
    page.write_text(head + "| `a.py`, `b` | x | `c` |\n| `c/` | y | nothing |\n", encoding="utf-8")
    assert rooms_of(page) == {"a": {"c"}, "b": {"c"}, "c": set()}
    page.write_text(head + "| `a` | x | `b` |\n| `a` | y | `b` |\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a stands in the table twice"):
        rooms_of(page)
    page.write_text("| room | job |\n|---|---|\n| `a` | x |\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no table"):
        rooms_of(page)
