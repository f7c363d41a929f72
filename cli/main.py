"""The group of commands, and how a mistake is told."""

from __future__ import annotations

import errno
import os
import sys
from itertools import pairwise
from typing import Any

import click

from .audit import audit
from .classify import classifier
from .compare import compare
from .data import data
from .diagnose import diagnose
from .evaluate import evaluate
from .fit import fit
from .forecast import forecast
from .obs import obs
from .pages import PAGES, explained
from .pictures import reconstruct, sample
from .report import report
from .tables import impute

__all__ = ["main"]


_LONGEST = 600
"""Characters of a message, whatever long names and numbers it repeats."""

_OF_THE_PATH = (
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
)
"""Faults of files that are a mistake in what was given, unlike a disk's that is full or fails."""


class Group(click.Group):
    """A group that tells a user's mistake in one line on stderr and exits with status 2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse words that are empty, as of a shell's variable that is not set.

        A ``~`` at the start of a path is the user's folder, also where the shell leaves it alone.
        """
        for before, word in pairwise(["pyro-vae", *args]):
            option = before if word == "" else word.removesuffix("=")
            if word == "" or (word.startswith("--") and word.endswith("=")):
                named = option if option.startswith("-") else f"a word after {option!r}"
                raise click.UsageError(f"{named} is empty: leave it out, or give it a value", ctx)
        return super().parse_args(ctx, [_expanded(word) for word in args])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command; ``standalone_mode=False`` lets exceptions through, as in click."""
        standalone = extra.pop("standalone_mode", True)
        extra["standalone_mode"] = False
        if not standalone:
            return super().main(*args, **extra)
        try:
            status = super().main(*args, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            status = 2
        except click.ClickException as error:
            status = _say(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            status = _say("interrupted", 130)
        except BrokenPipeError:
            sys.stderr.close()
            status = 1
        except Exception as error:
            status = _mistake(error)
        sys.exit(status if isinstance(status, int) else 0)


def _expanded(word: str) -> str:
    """A word, or what follows an option's ``=``, whose ``~`` is the user's folder."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (os.path.expanduser(value) if value.startswith("~/") else value)


def _mistake(error: Exception) -> int:
    # Imported only now: the names live beside torch, which --help must not wait for.
    from pyro_vae.errors import InputError, TrainingError
    from pyro_vae.training import Stopped

    if isinstance(error, Stopped):
        return int(error.args[0])
    if isinstance(error, InputError):
        return _say(str(error), 2)
    if isinstance(error, TrainingError):
        return _say(str(error), 1)
    if isinstance(error, OSError):
        status = 2 if error.errno in _OF_THE_PATH else 1
        return _say(f"{error.filename or 'file'}: {error.strerror or error}", status)
    if _is_of_memory(error):
        return _say(f"memory does not hold it: {error}", 1)
    raise error


def _is_of_memory(error: Exception) -> bool:
    """Whether torch or Python has run out of memory; torch says so in words alone."""
    said = str(error).lower()
    words = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "calculation overflowed",
    )
    torchs = isinstance(error, RuntimeError) and any(word in said for word in words)
    return torchs or isinstance(error, MemoryError)


def _say(message: str, status: int) -> int:
    line = " ".join(message.split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    click.echo(f"Error: {line}", err=True)
    return status


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pyro_vae", prog_name="pyro-vae")
def main() -> None:
    """Variational autoencoders whose observation is swappable, correct and explained."""


for command in (
    fit,
    reconstruct,
    sample,
    evaluate,
    forecast,
    diagnose,
    audit,
    compare,
    report,
    classifier,
    obs,
    data,
    impute,
):
    if command.name in PAGES:
        command.epilog = f"What it prints is {explained(command.name)}."
    main.add_command(command)
