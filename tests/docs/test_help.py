"""Every command and every option says what it does, in the command's help."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import click
import pytest

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
