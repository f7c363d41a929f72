"""The plain `pytest` runs some tests of every room and every command, and .ci/run runs all."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .docs.test_words import COMMANDS

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
ROOMS = [TESTS, *sorted({path.parent for path in TESTS.glob("*/test_*.py")})]
STUB = """#!/bin/sh
[ "$1" = -m ] && [ "$2" = venv ] && mkdir -p .venv/bin && \\
    for tool in pip pytest ruff mypy python; do cp "$0" .venv/bin/$tool; done
echo "$(basename "$0")|$PYTEST_ADDOPTS|$*" >> log
"""


def essential(file: Path) -> Iterator[ast.FunctionDef]:
    """The tests of a file without the mark, as they are written."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if any(isinstance(node, ast.Assign) and _slow(node.value) for node in tree.body):
        return
    for node in tree.body:
        tested = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if tested and not any(map(_slow, node.decorator_list)):
            yield node


def _slow(node: ast.expr) -> bool:
    return "pytest.mark.slow" in ast.unparse(node)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_has_essential_tests(room: Path) -> None:
    files = list(room.glob("test_*.py"))
    assert files
    assert sum(bool(list(essential(file))) for file in files) >= len(files) / 2


def test_every_command_has_essential_tests() -> None:
    """Its words stand in the code of one, or of a helper beside it."""
    said = {word for file in TESTS.rglob("test_*.py") for word in _constants(file)}
    assert len(COMMANDS) > 10
    assert {word for name in COMMANDS for word in name.split()} <= said


def _constants(file: Path) -> Iterator[object]:
    """Those of a file with essential tests, without what is in the others."""
    tests = [test.name for test in essential(file)]
    if file == Path(__file__) or not tests:
        return
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not getattr(node, "name", "").startswith("test_") or getattr(node, "name", "") in tests:
            yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))


def test_an_essential_test_is_one_without_the_mark(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(
        "def test_a(): ...\n@pytest.mark.slow\ndef test_b(): ...\ndef c(): ...\n"
    )
    assert [test.name for test in essential(tmp_path / "some.py")] == ["test_a"]
    (tmp_path / "all.py").write_text("pytestmark = [pytest.mark.slow]\ndef test_a(): ...\n")
    assert list(essential(tmp_path / "all.py")) == []


@pytest.fixture
def words(tmp_path: Path) -> list[list[str]]:
    """Name, PYTEST_ADDOPTS and arguments of what .ci/run runs, with nothing but stubs to run."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    shutil.copy(ROOT / "README.md", tmp_path)
    for tool in ("python3", "chromium", "apt-get"):
        (tmp_path / "bin" / tool).write_text(STUB)
        (tmp_path / "bin" / tool).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    env.pop("PYTEST_ADDOPTS", None)
    subprocess.run([tmp_path / ".ci/run"], env=env, check=True, capture_output=True)
    return [line.split("|") for line in (tmp_path / "log").read_text().splitlines()]


def test_ci_runs_the_command_of_the_readme_and_all_tests(
    words: list[list[str]], tmp_path: Path
) -> None:
    first, *_ = (line for line in words if line[0] == "pytest")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\n.venv/bin/pytest\n" in readme
    assert first[2] == ""  # not a word more than the README's
    folder = tmp_path / "some"
    folder.mkdir()
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests").mkdir()
    (folder / "tests/test_it.py").write_text(
        "import pytest\ndef test_a(): ...\n@pytest.mark.slow\ndef test_b(): ...\n"
    )
    for options, names in (("", ["test_a"]), (first[1], ["test_a", "test_b"])):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n0", "--collect-only"],
            env={**os.environ, "PYTEST_ADDOPTS": options},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        found = [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line]
        assert found == names
