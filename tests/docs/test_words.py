"""What pages name is there: commands, options, modules, files, names of the library."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest

from .pages import PAGES, ROOT, tokens_of

OTHERS = {
    *("--nproc-per-node", "--nnodes", "--doctest-modules", "--strict", "--quiet", "--editable"),
    *("--shadow", "--shadow-compiled"),
}
"""Options of torchrun, pytest, mypy and pip."""
SUFFIXES = (".py", ".md", ".toml", ".json", ".npz", ".yml")
WRITTEN = {"FILE.py", "FILE.npy", "SPEC.toml"}


def main() -> click.Group:
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    command: click.Group = point.load()
    return command


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield " ".join((*words, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))


COMMANDS = dict(commands(main()))
OPTIONS = {
    opt
    for command in COMMANDS.values()
    for parameter in command.params
    for opt in (*parameter.opts, *parameter.secondary_opts)
} | {"--help", "--version", "-h"}


def inline(page: Path) -> list[str]:
    """Every piece of inline code of a page."""
    children = [child for token in tokens_of(page) for child in token.children or ()]
    return [child.content for child in children if child.type == "code_inline"]


def wrong(code: str) -> str | None:
    """What a piece of inline code names that is not there, or None."""
    words = code.split()
    if code.startswith("pyro-vae ") and not words[1].startswith("-") and words[1] != "...":
        if words[1] not in COMMANDS:
            return f"no command {words[1]}"
        known = {o for p in COMMANDS[words[1]].params for o in (*p.opts, *p.secondary_opts)}
        if isinstance(COMMANDS[words[1]], click.Group):
            known = OPTIONS
        unknown = _options(code) - known - {"--help", "-h"}
        return f"{words[1]} has no {unknown}" if unknown else None
    if code.startswith("python -m "):
        module = words[2]
        if (
            not (ROOT / Path(*module.split("."))).with_suffix(".py").exists()
            and not (ROOT / Path(*module.split(".")) / "__main__.py").exists()
        ):
            return f"no module {module}"
        return _not_in_source(module, _options(code))
    if code.startswith(("pytest", "pip", "sphinx-build", "torchrun", "mypy", "ray")):
        return None
    unknown = _options(code) - OPTIONS - OTHERS
    if unknown and not code.startswith(("--part", "--only", "--setting", "--tiny")):
        return f"no option {unknown}"
    return _no_file(code) or _no_name(code)


def _options(code: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code))


def _not_in_source(module: str, options: set[str]) -> str | None:
    path = ROOT / Path(*module.split("."))
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    text = source.read_text(encoding="utf-8")
    unknown = {o for o in options if f'"{o}"' not in text}
    return f"{module} has no {unknown}" if unknown else None


def _no_file(code: str) -> str | None:
    if not re.fullmatch(r"[\w./-]+", code) or not code.endswith(SUFFIXES) or "/" not in code:
        return None
    if code.startswith(("runs/", "comparisons/")) or code.rpartition("/")[2] in WRITTEN:
        return None
    return None if (ROOT / code).exists() else f"no file {code}"


def _no_name(code: str) -> str | None:
    match = re.fullmatch(r"(pv|pyro_vae)((?:\.\w+)+)(?:\(.*\))?", code)
    if match is None:
        return None
    value: Any = importlib.import_module("pyro_vae")
    for part in match[2].split(".")[1:]:
        if not hasattr(value, part):
            try:
                importlib.import_module(f"{value.__name__}.{part}")
            except (ImportError, AttributeError):
                return f"no {part} in {code}"
        value = getattr(value, part)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    found = {code: wrong(code) for code in inline(page)}
    assert not {code: words for code, words in found.items() if words}


def test_there_is_something_to_look_at() -> None:
    assert sum(len(inline(page)) for page in PAGES) > 200


@pytest.mark.parametrize(
    "code",
    [
        "pyro-vae fitt",
        "pyro-vae fit --sigmas 1",
        "--no-such-option",
        "python -m experiments.none",
        "python -m experiments.digits --no-such",
        "pyro_vae/none.py",
        "pv.none",
        "pyro_vae.data.none",
    ],
)
def test_what_is_not_there_is_found(code: str) -> None:
    assert wrong(code) is not None


def told(page: Path) -> list[tuple[str, bool]]:
    """Pictures and tables of numbers of a page, and whether a command stands by them.

    It stands in the same section, or before the page's first section.
    """
    found: list[tuple[str, bool]] = []
    opening, section, pending = "", "", []
    first = True
    for token in tokens_of(page):
        if token.type == "heading_open" and token.tag != "h1":
            found += [(name, _command(opening + section)) for name in pending]
            opening, section, pending, first = opening or section, "", [], False
        text = token.content if token.type in ("inline", "fence") else ""
        section += text + "\n"
        if first:
            opening = section
        pending += re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    return found + [(name, _command(opening + section)) for name in pending]


def _command(text: str) -> bool:
    return re.search(r"python -m \w|--part|pyro-vae \w", text) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_picture_is_made_by_a_command_that_the_page_names(page: Path) -> None:
    assert [name for name, there in told(page) if not there] == []


def test_there_are_pictures() -> None:
    assert sum(len(told(page)) for page in PAGES) > 5
