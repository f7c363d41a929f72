"""Mends as whole commands: a run's own options, and over them what a cause changes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyro_vae import observations
from pyro_vae.config import OPTIONS, FitConfig, declared
from pyro_vae.diagnostics.diagnosing import Diagnosis
from pyro_vae.diagnostics.programs import ProgramDiagnosis
from pyro_vae.errors import InputError
from pyro_vae.texts import Word
from pyro_vae.training import RunConfig
from pyro_vae.types import JSON, Fields

__all__: list[str] = []


def command_of(options: Fields, changes: Fields, out: str | Path) -> str | None:
    """The command that trains a run anew with changes, to be pasted into a shell.

    Args:
        options: Those of the run, as its config.json keeps them, None where one names code of the
            user's; empty of a run that a script trained.
        changes: Of a cause, see :class:`~pyro_vae.diagnostics.cause.Cause`.
        out: The new run's folder.

    Returns:
        None where there is nothing to change, or ``fit`` would refuse it.
    """
    if not changes or not options:
        return None
    given = {name: value for name, value in options.items() if name in OPTIONS}
    try:
        made = RunConfig.of(**_changed(given, changes))
    except InputError:
        return None
    words = ["pyro-vae", "fit"]
    for name, value in made.options.items():
        words += _words(name, value)
    return shlex.join([*words, "--out", str(out)])


def with_commands(found: Diagnosis | ProgramDiagnosis, options: Fields, out: str | Path) -> JSON:
    """A diagnosis as plain data, each cause with its ``command``, None where there is none.

    Args:
        found: The diagnosis of a run.
        options: The run's, as for :func:`command_of`.
        out: The new run's folder.
    """
    known: Any = found.to_dict()
    commands = [command_of(options, cause.changes, out) for cause in found.causes]
    pairs = zip(known["causes"], commands, strict=True)
    return {**known, "causes": [{**cause, "command": command} for cause, command in pairs]}


def _changed(options: JSON, changes: Fields) -> JSON:
    """Options of ``fit`` with a cause's changes, which speak of heads."""
    found = dict(options)
    params = list(found.get("param", ()))
    head = observations.get(found.get("obs", OPTIONS["obs"].default))
    for name, value in changes.items():
        if name in (*declared(FitConfig), "latent_dim"):
            found[name] = value
        elif name == "scale":
            params = _without(params, head.scale)
            found.update(sigma=None, sigma_per=value)
        elif name == "interval":
            found["range"] = f"{value[0]:g},{value[1]:g}"
        elif name == "scaled":
            found["scale_with_range"] = value
        elif name == "link":
            params = _without(params, head.location)
            params.append(f"{head.location}=pixel,link={value}")
    if "beta" in changes:
        found.update(target_kl=None, target_reconstruction=None)  # they adapt β
    if {"patience", "keep_best"} & changes.keys() and found.get("validation") == "none":
        del found["validation"]  # they choose by a validation part
    return {**found, "param": tuple(params)}


def _without(params: list[str], name: str | None) -> list[str]:
    return [text for text in params if Word(text).pair("=")[0] != name]


def _words(name: str, value: object) -> Iterator[str]:
    """An option as it is typed; nothing where it has its default."""
    option = OPTIONS[name]
    each = list(value) if isinstance(value, list | tuple) else [value]
    usual = list(option.default) if isinstance(option.default, tuple) else [option.default]
    if each == usual:
        return
    for one in each:
        if one is True:
            yield f"--{option.flag}"
        elif one is False and option.off is not None:
            yield f"--{option.off}"
        elif one is not False and one is not None:
            yield from (f"--{option.flag}", str(one))
