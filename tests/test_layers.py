"""Imports only go down the rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    ("errors",),
    ("distributions", "links", "specs"),
    ("networks", "data"),
    ("objectives", "schedules", "controllers"),
    ("heads",),
    ("observations", "testing", "posteriors", "priors"),
    ("latent_model", "observed"),
    ("vae", "joint"),
    ("measures",),
    ("training",),
    ("evaluation",),
    ("inference",),
    ("diagnosis",),
    ("comparison",),
    ("reporting",),
]
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
STANDALONE = {"objectives", "schedules", "controllers"}
FILES = sorted((ROOT / "pyro_vae").rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    """Rooms of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "pyro_vae" and len(parts) > 1:
                yield parts[1]


def test_there_are_files() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    room = path.relative_to(ROOT / "pyro_vae").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for other in set(_imported(path)) - {room}:
        assert room not in STANDALONE, f"{room} imports nothing of ours, but {other}"
        assert RANK[other] < RANK[room], f"{room} must not import {other}"


def test_the_library_does_not_know_the_command_line() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "import click" not in text
        assert "pyro_vae_cli" not in text


def test_no_branch_on_an_observations_name() -> None:
    from pyro_vae import observations

    names = set(observations.TABLE)
    for path in [*FILES, *(ROOT / "cli").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                constants = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
                assert not constants & (names - {"normal", "beta"}), path
