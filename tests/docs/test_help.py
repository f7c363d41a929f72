"""Every command and every option says what it does, in the command's help."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from pyro_vae_cli.pages import DOCS, PAGES, explained

from .pages import ROOT
from .test_words import COMMANDS, commands


def silent(command: Any) -> list[str]:
    """The command if it has no help, and its options that have none."""
    missing = [] if (command.help or "").strip() else ["the command"]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not (parameter.help or "").strip():
            missing.append(parameter.opts[0])
    return missing


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_has_help(name: str) -> None:
    assert silent(COMMANDS[name]) == []


def test_the_commands_are_there() -> None:
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    assert silent(point.load()) == []
    assert len(COMMANDS) >= 12
    assert sum(len(command.params) for command in COMMANDS.values()) > 100


def test_what_has_no_help_is_found() -> None:
    @click.group()
    def group() -> None:
        """Some commands."""

    @group.command()
    @click.option("--told", help="Of this it says something.")
    @click.option("--untold")
    def one(told: str, untold: str) -> None:
        pass

    (found,) = dict(commands(group)).values()
    assert silent(found) == ["the command", "--untold"]


LOSS = """
def loss(x, x_hat, mean, log_var):
    kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
    return ((x - x_hat) ** 2).flatten(1).sum(1).mean() + kl
"""
SPEC = "[base]\nimages = 64\nepochs = 1\nhidden = 4\n[grid]\nbeta = [1]\n"


@pytest.mark.parametrize("command", PAGES)
def test_help_names_a_page_that_is_there(command: str) -> None:
    page = ROOT / DOCS / PAGES[command]
    assert page.is_file()
    shown = " ".join(COMMANDS[command].get_help(click.Context(COMMANDS[command])).split())
    assert f"{DOCS}/{page.name}" in shown


def test_each_output_names_its_page_in_80_columns(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "loss.py").write_text(LOSS)
    (tmp_path / "spec.toml").write_text(SPEC)
    words: dict[str, tuple[object, ...]] = {
        "fit": ("--images", 64, "--epochs", 1, "--hidden", 4, "--out", "run"),
        "evaluate": ("run",),
        "diagnose": ("run",),
        "compare": ("spec.toml", "--out", "out"),
        "forecast": (),
        "audit": ("loss.py:loss",),
    }
    assert words.keys() == PAGES.keys()
    for command, given in words.items():
        result = cli(command, *given)
        assert result.exit_code in (0, 3), result.output
        said = result.stderr if command == "fit" else result.stdout
        lines = said.splitlines()
        assert lines[-1] == explained(command)
        if command == "fit":  # what stands before is broken by the terminal itself
            lines = lines[lines.index("") :]
        assert max(map(len, lines)) <= 80, command
