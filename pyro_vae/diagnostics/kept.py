"""The diagnosis that a run folder keeps, which reports read: one verdict everywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from pyro_vae import ours
from pyro_vae.files import write_text
from pyro_vae.metrics.classifier import sha256_of
from pyro_vae.training.runs import read_weights
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__: list[str] = []

DIAGNOSIS = "diagnosis.json"
"""Where a run folder keeps what is the matter with it."""


def plain(value: Any) -> Any:
    """Plain data in which a number that is not finite is null, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def keep_diagnosis(vae: VAE, found: JSON, folder: Path) -> Path:
    """Write a diagnosis as ``diagnosis.json``, beside the weights that it is of.

    Args:
        vae: The model.
        found: Plain data, of :meth:`~pyro_vae.diagnostics.Diagnosis.to_dict`.
        folder: That of the run.

    Returns:
        The file.

    Raises:
        InputError: If a file of this name is there that is not ours; it stays as it is.
    """
    ours.check(folder, ours.RUN, [DIAGNOSIS])
    ours.claim(folder, ours.RUN, [DIAGNOSIS])
    path = folder / DIAGNOSIS
    of = {"weights": sha256_of(vae.state_dict())}
    write_text(path, json.dumps(plain({**found, "of": of}), indent=2) + "\n")
    return path


def kept_diagnosis(vae: VAE, folder: Path) -> JSON | None:
    """The diagnosis that a folder keeps; None where there is none of these weights."""
    return _of_weights(vae.state_dict(), folder)


def kept_verdict(folder: Path) -> str | None:
    """The verdict that a finished run's folder keeps; None where there is none of its weights."""
    if not (folder / DIAGNOSIS).is_file():
        return None
    try:
        found = _of_weights(read_weights(folder), folder)
    except (SafetensorError, OSError):
        return None
    return None if found is None else str(found["verdict"])


def _of_weights(weights: Mapping[str, Tensor], folder: Path) -> JSON | None:
    try:
        found = json.loads((folder / DIAGNOSIS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(found, dict) and {"verdict", "summary", "causes", "of"} <= found.keys()
    if not known or found["of"] != {"weights": sha256_of(weights)}:
        return None
    return dict(found)
