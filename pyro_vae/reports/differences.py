"""Settings: in what the configurations of runs differ, and which runs differ in the seed alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_vae.reports.runs import Found
from pyro_vae.types import Fields

__all__: list[str] = []

_OBS, _SEED = "vae.obs.head.name", "fit.seed"
_LINE = (_SEED, "fit.beta")
"""What may differ along a line of rate and distortion."""
_HIDDEN = ("data.root", "format", "vae.obs.head.kind")
"""Of no interest, the machine's own, or said by another: ``kind`` is that on the data."""
_LONGEST = 200
"""Characters of a value that the page shows."""


@dataclass(frozen=True)
class Settings:
    """Configurations of runs side by side.

    Attributes:
        differing: Names of settings in which runs differ.
        common: Settings that all runs share, in words.
        rows: Of each run by its name, the settings in words.
        cells: Of each run by its name, what is its own but for the seed, in words; runs that
            differ in the seed alone share it.
        families: The same but for β.
    """

    differing: tuple[str, ...]
    common: Mapping[str, str]
    rows: Mapping[str, Mapping[str, str]]
    cells: Mapping[str, str]
    families: Mapping[str, str]


def settings_of(runs: Sequence[Found]) -> Settings:
    """Compare the configurations of runs; those without one are left out.

    Args:
        runs: The runs.
    """
    # What the options came to stands under vae and fit.
    told = {run.name: {k: v for k, v in run.config.items() if k != "options"} for run in runs}
    rows = {name: dict(_flat(config)) for name, config in told.items() if config}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    values = {name: {row.get(name, "–") for row in rows.values()} for name in names}
    names.sort(key=lambda name: name != _OBS)
    differing = tuple(name for name in names if len(values[name]) > 1)
    common = {name: values[name].copy().pop() for name in names if len(values[name]) == 1}
    return Settings(
        differing, common, rows, _groups(rows, differing, (_SEED,)), _groups(rows, differing, _LINE)
    )


def short(name: str) -> str:
    """A setting's name as people say it."""
    if name == _OBS:
        return "obs"
    *_, site, part = ("", *name.removesuffix(".scope").removesuffix(".name").split("."))
    return f"{site}.{part}" if part == "dim" else part


def _groups(
    rows: Mapping[str, Mapping[str, str]], differing: Sequence[str], without: Sequence[str]
) -> dict[str, str]:
    """Of each run what tells it from others, in as few settings as do."""
    keys: list[str] = []
    parts = 1
    for name in differing:
        finer = {tuple(row.get(key) for key in (*keys, name)) for row in rows.values()}
        if name not in without and len(finer) > parts:
            keys.append(name)
            parts = len(finer)
    return {run: _words(row, keys) for run, row in rows.items()}


def _words(row: Mapping[str, str], names: Sequence[str]) -> str:
    return ", ".join(f"{short(name)}={row.get(name, '–')}" for name in names) or "all runs"


def _flat(value: Fields, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, part in value.items():
        name = f"{prefix}{key}"
        if name in _HIDDEN:
            continue
        if name == "vae.sites":
            for site in part:
                rest = {key: value for key, value in site.items() if key != "site"}
                yield from _flat(rest, f"vae.{site['site']}.")
        elif isinstance(part, Mapping) and part:
            yield from _flat(part, f"{name}.")
        else:
            named = name == "data.name" and isinstance(part, str)
            yield name, _text(Path(part).name if named else part)


def _text(value: object) -> str:
    if value is None or value == {} or value == []:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST:
        return text
    # Values that differ must not look the same.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[:_LONGEST]}… ({len(text):,} characters, SHA-256 {digest}…)"
