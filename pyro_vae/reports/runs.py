"""Runs of a report: which folders they are, and what their files say in whatever state."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_vae.errors import InputError
from pyro_vae.metrics.report import EVALUATION
from pyro_vae.sweeps.runs import FAILED, RESULT, read_json
from pyro_vae.training import History
from pyro_vae.training.checkpoints import FOLDER
from pyro_vae.training.runs import CONFIG, METRICS, WEIGHTS, read_config
from pyro_vae.types import JSON

__all__: list[str] = []

_MARKS = {CONFIG, WEIGHTS, METRICS, FAILED, RESULT, FOLDER}
"""A folder that holds one of these is a run's."""
_KINDS = ("density", "mass", "loss")


@dataclass
class Found:
    """A run as its files tell it.

    Attributes:
        name: What the page calls it.
        folder: Where it lies.
        config: Its configuration, empty where there is none.
        history: Its records, empty where there are none.
        scores: Those of its ``evaluation.json``, empty where there are none that are its model's.
        faults: What is wrong with it, in words.
        remarks: What is missing that nobody need mend.
    """

    name: str
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    scores: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether its sweep gave it up, so that its weights are of no use."""
        return any(fault.startswith("failed") for fault in self.faults)

    @property
    def settings(self) -> JSON:
        """The options of ``fit`` that it was trained with."""
        return table(self.config.get("fit"))


def find_runs(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Names and folders of all runs in some folders, each a run's or one that holds runs.

    Args:
        paths: The folders.

    Raises:
        InputError: If one does not exist or holds no run.
    """
    found: dict[Path, str] = {}
    for path in paths:
        if not path.is_dir():
            what = "is a file, not a folder of runs" if path.exists() else "does not exist"
            raise InputError(f"{path} {what}")
        folders = list(_below(path))
        if not folders:
            raise InputError(f"{path} holds no run: give a run's folder, or one with runs in it")
        for folder in folders:
            own = "" if folder == path else printable(folder.relative_to(path).as_posix())
            whole = printable(path.resolve().name)
            several = f"{whole}/{own}" if own else whole
            found.setdefault(folder.resolve(), own if own and len(paths) == 1 else several)
    names = list(found.values())
    named = [
        (name if names.count(name) == 1 else _tail(folder, found), folder)
        for folder, name in found.items()
    ]
    return sorted(named, key=lambda pair: _natural(pair[0]))


def printable(name: str) -> str:
    """A file's name as text that can be written, also if its bytes are no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _tail(folder: Path, others: Iterable[Path]) -> str:
    """The end of a folder's path that no other's ends with."""
    parts = folder.parts
    for count in range(2, len(parts)):
        if not any(path != folder and path.parts[-count:] == parts[-count:] for path in others):
            return printable("/".join(parts[-count:]))
    return printable(folder.as_posix())


def _below(path: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(path):
        if _MARKS & {*folders, *files}:
            yield Path(place)
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]


def _natural(name: str) -> list[tuple[bool, float, str]]:
    """Numbers by their value: a β of 16 comes after one of 4."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(True, float(p), "") if i % 2 else (False, 0.0, p) for i, p in enumerate(parts)]


def read_run(name: str, folder: Path) -> Found:
    """What a run's files say; whatever is wrong with them becomes a fault.

    Args:
        name: What the page calls it.
        folder: Where it lies.
    """
    run = Found(name, folder)
    failed = read_json(folder / FAILED)
    if failed is not None:
        run.faults.append(f"failed: {failed.get('fault', 'it does not say why')}")
    elif (folder / FAILED).exists():
        run.faults.append(f"{FAILED} is damaged")
    try:
        run.config = read_config(folder)
    except InputError as error:
        run.faults.append(_within(folder, str(error)))
    except Exception as error:
        run.faults.append(f"{CONFIG} or its checkpoint cannot be read: {_words(error)}")
    if run.config and not (folder / CONFIG).is_file():
        run.faults.append("unfinished: the model is that of its last checkpoint")
    run.history = _history(run)
    run.scores = _scores(run)
    return run


def _within(folder: Path, text: str) -> str:
    """A message without the paths of the machine that the page is made on."""
    return text.replace(f"{folder}{os.sep}", "").replace(str(folder), "the folder")


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _history(run: Found) -> History:
    path = run.folder / METRICS
    if not path.is_file():
        run.remarks.append(f"no {METRICS}: the course of its training is not known")
        return History()
    try:
        history = History.read(path, str(run.config.get("kind", "density")))
        known = all(_is_record(record) for record in history.records)
    except Exception as error:
        run.faults.append(f"{METRICS} is damaged: {_words(error)}")
        return History()
    if not known:
        run.faults.append(f"{METRICS} is damaged: a line of it is no record")
        return History()
    done = len(history.epochs())
    wanted = number(run.settings, "epochs")
    early = wanted is not None and done < wanted and not run.settings.get("patience")
    if early and not run.failed:
        run.faults.append(f"unfinished: {done} of {wanted:g} epochs are recorded")
    return history


def _is_record(record: object) -> bool:
    return isinstance(record, dict) and {"record", "split", "step", "epoch"} <= record.keys()


def _scores(run: Found) -> JSON:
    path, weights = run.folder / EVALUATION, run.folder / WEIGHTS
    if not path.is_file():
        return {}
    scores = read_json(path)
    if scores is None or scores.get("kind") not in _KINDS or number(scores, "kl") is None:
        run.faults.append(f"{EVALUATION} is damaged")
        return {}
    if weights.is_file() and path.stat().st_mtime < weights.stat().st_mtime:
        run.remarks.append(f"{EVALUATION} is older than the model, so not its own")
        return {}
    return scores


def table(value: object) -> JSON:
    """A table, or an empty one where there is something else."""
    return dict(value) if isinstance(value, Mapping) else {}


def number(value: object, *path: str) -> float | None:
    """A finite number at a path in nested tables, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return found if math.isfinite(found) else None
