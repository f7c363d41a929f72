"""What setup.cfg requires is what the code imports, and each of it has one lower bound."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OURS = {"pyro_vae", "pyro_vae_cli", "cli"}
KNOWN = {"sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow", "pyro": "pyro-ppl"}
"""Distributions by what is imported of them, where they are not installed."""


def required() -> dict[str, list[Requirement]]:
    """What each extra requires; under "" what is always required."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    found = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in text.split("\n") if line]
        for extra, text in found.items()
    }


def imported(source: str) -> Iterator[tuple[str, bool]]:
    """What a file imports of others, and whether that is done whenever it is imported itself."""

    def within(node: ast.AST, always: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [] if node.level else [str(node.module)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)]
        else:
            names = []
        for name in names:
            top = name.partition(".")[0]
            # Torch's own part for it does nothing without it.
            top = "tensorboard" if name.startswith("torch.utils.tensorboard") else top
            if top not in sys.stdlib_module_names | OURS:
                yield top, always
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)
        later = later or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for child in ast.iter_child_nodes(node):
            yield from within(child, always and not later)

    return within(ast.parse(source), True)


def lacking(source: str, requirements: dict[str, list[Requirement]]) -> list[str]:
    """What a file imports that is not required."""
    named = {extra: {canonicalize_name(r.name) for r in rs} for extra, rs in requirements.items()}
    optional = set().union(*(names for extra, names in named.items() if extra != "test"))
    return [
        module
        for module, always in imported(source)
        if _distribution(module) not in (named[""] if always else optional)
    ]


_installed = functools.cache(packages_distributions)


def _distribution(module: str) -> str:
    names = _installed().get(module) or [KNOWN.get(module, module)]
    return canonicalize_name(names[0])


FILES = sorted([*(ROOT / "pyro_vae").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


def test_what_is_imported_is_required() -> None:
    requirements = required()
    assert len(FILES) > 100
    for path in FILES:
        assert lacking(path.read_text(encoding="utf-8"), requirements) == [], path


def test_what_is_required_is_imported() -> None:
    used = {
        _distribution(module)
        for path in FILES
        for module, _ in imported(path.read_text(encoding="utf-8"))
    }
    named = {canonicalize_name(requirement.name) for requirement in required()[""]}
    assert named > {"torch", "pyro-ppl"}
    assert named <= used


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import requests", ["requests"]),
        ("from pandas.core import x", ["pandas"]),
        ("import zuko", ["zuko"]),  # of an extra, but for everybody
        ("def f():\n    import zuko", []),
        ("try:\n    import optuna\nexcept ImportError:\n    pass", []),
        ("def f():\n    import requests", ["requests"]),
        ("def f():\n    import pytest", ["pytest"]),  # of the tests' extra only
        ("import importlib\nx = importlib.import_module('polars.x')", ["polars"]),
        ("import os, torch, numpy as np\nfrom PIL import Image\nfrom . import x", []),
    ],
)
def test_a_planted_import_is_found(source: str, found: list[str]) -> None:
    assert lacking(source, required()) == found


def test_each_has_one_lower_bound_and_it_is_installed() -> None:
    bounds: dict[str, set[str]] = {}
    for requirements in required().values():
        for requirement in requirements:
            bounds.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert len(bounds) > 20
    for name, specifiers in bounds.items():
        (specifier,) = specifiers
        assert re.fullmatch(r">=[\d.]+", specifier), name
    for requirement in required()[""]:
        assert requirement.specifier.contains(version(requirement.name)), requirement
