"""Runs of a comparison: ordinary run folders, each finished once its results are there."""

from __future__ import annotations

import json
import math
import textwrap
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pyro_vae import ours
from pyro_vae.data import as_images
from pyro_vae.errors import InputError, TrainingError
from pyro_vae.files import write_text
from pyro_vae.metrics.report import WRITTEN, keep_scores
from pyro_vae.sweeps.cells import Cell
from pyro_vae.sweeps.scoring import Evaluation
from pyro_vae.sweeps.spec import Spec
from pyro_vae.training import History, RunConfig, load, runs
from pyro_vae.training.locks import locked
from pyro_vae.types import JSON

__all__: list[str] = []

RESULT, FAILED = "result.json", "failed.json"
"""What a finished and a failed run's folder holds, written last."""

LAST = ("elbo", "objective", "reconstruction", "kl", "beta", "active_units", "loss")
"""What a result keeps of the last training epoch, under ``training``."""
DERIVED = ("mse_over_mean_image", "seconds", "steps", "failed")
"""Scores that a result's row has beside those of its evaluation."""
_LONGEST = 300
"""Characters of a fault that is not ours: some hold whole tensors."""


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Attributes:
        cell: Its cell's name.
        seed: Its seed.
        config: What to train.
        folder: Where.
        evaluation: What to score.
    """

    cell: str
    seed: int
    config: RunConfig
    folder: Path
    evaluation: Evaluation

    @property
    def name(self) -> str:
        """Cell and seed."""
        return f"{self.cell} seed {self.seed}"


def plan(spec: Spec, out: Path) -> Iterator[tuple[Cell, Run]]:
    """The runs of a spec, seed by seed, so that every cell has one early.

    Args:
        spec: The spec.
        out: Folder of the comparison.
    """
    for seed in spec.seeds:
        for cell in spec.cells:
            folder = out / cell.name / f"seed-{seed}"
            yield cell, Run(cell.name, seed, cell.config.at(seed), folder, spec.evaluation)


def find_results(out: Path) -> dict[str, Path]:
    """Folders of finished runs by the fingerprint of their config, whatever their cells' names."""
    found = {}
    for path in sorted(out.glob(f"*/seed-*/{RESULT}")):
        result = read_json(path)
        if result is not None and "fingerprint" in result:
            found[str(result["fingerprint"])] = path.parent
    return found


@contextmanager
def claim(out: Path) -> Iterator[None]:
    """Keep other processes from the folder of a comparison; the system frees it if this one dies.

    Args:
        out: Folder of the comparison; made if it is not there.

    Raises:
        InputError: If another process has it.
    """
    with locked(out, "is in use by another comparison"):
        yield


def carry_out(run: Run, fingerprint: str, trained: bool) -> Path:
    """Train and score, and leave a result in the run's folder, or the fault that stopped it.

    Args:
        run: The run.
        fingerprint: Of its config.
        trained: Whether its folder holds the model already, and only scores are wanted.

    Returns:
        The file that was written last, ``RESULT`` or ``FAILED``.
    """
    ours.discard(run.folder, [FAILED] if trained else [RESULT, FAILED])
    own = {"fingerprint": fingerprint, "cell": run.cell, "seed": run.seed}
    try:
        result = {**own, **_result(run, trained)}
    except Exception as error:
        fault: dict[str, Any] = {**own, "fault": _fault(error)}
        if not isinstance(error, InputError | TrainingError):
            fault["traceback"] = traceback.format_exc()
        return write_last(run.folder, FAILED, fault)
    return write_last(run.folder, RESULT, result)


def _fault(error: Exception) -> str:
    known = isinstance(error, InputError | TrainingError)
    text = " ".join(str(error).split())
    return text if known else textwrap.shorten(f"{type(error).__name__}: {text}", _LONGEST)


def _result(run: Run, trained: bool) -> JSON:
    before = read_json(run.folder / RESULT) if trained else None
    if before is None:
        began = time.perf_counter()
        vae, history, data = run.config.run(run.folder, overwrite=True)
        training = {
            "seconds": time.perf_counter() - began,
            "steps": len(history.steps),
            "training": _last(history),
            "warnings": history.warnings,
        }
    else:
        vae, data = load(run.folder, **run.config.own()), run.config.load()
        training = {key: before[key] for key in ("seconds", "steps", "training", "warnings")}
    scores = run.evaluation.scores(vae, data)
    of_test = {name: value for name, value in scores.items() if name != "validation"}
    told = {"data": run.config.data, "part": "test"}
    keep_scores(vae, as_images(data.test, vae.data_shape), told | of_test, run.folder)
    return {
        "options": run.config.options,
        "evaluation": run.evaluation.to_dict(),
        **training,
        "scores": _flat({**scores, "training": training["training"]}),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("pyro_vae", "torch", "pyro-ppl")},
    }


def _last(history: History) -> JSON:
    """The last training epoch's figures."""
    record = history.epochs()[-1]
    return {key: record.get(key) for key in LAST}


def _flat(scores: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """Numbers by their path, as ``reconstructions.mean.mse``; none that are not finite."""
    flat: dict[str, float] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            flat[prefix + key] = value
    if flat.get(f"{prefix}mse_mean_image"):
        ratio = flat[f"{prefix}mse"] / flat[f"{prefix}mse_mean_image"]
        flat[f"{prefix}mse_over_mean_image"] = ratio
    return flat


def read_json(path: Path) -> JSON | None:
    """What a file holds, or None if it is missing, damaged or no table."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_last(folder: Path, name: str, value: object) -> Path:
    """Write what is written last into a run's folder, and list it."""
    ours.claim(folder, ours.RUN, [name])
    return write_json(folder / name, value)


def check_folder(run: Run) -> None:
    """Make sure that a run's folder takes what a comparison writes; nothing is touched.

    Raises:
        InputError: If other files are there.
    """
    ours.check(run.folder, ours.RUN, (*runs.WRITTEN, *WRITTEN, RESULT, FAILED))


def write_json(path: Path, value: object) -> Path:
    """Write a file so that it is never half there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(value, indent=2) + "\n")
    return path
