"""A small sweep with whatever may befall a run, and the report on it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import pyro_vae as pv

SCRIPT = "<script>alert(1)</script>"
"""A path of two folders, as a name cannot hold a slash."""

SPEC: dict[str, Any] = {
    "title": "a test",
    # 6 make the 24 runs of a real sweep: minutes of training, so not each time.
    "seeds": list(range(int(os.environ.get("PYRO_VAE_REPORT_SEEDS", "1")))),
    "base": {"hidden": 32, "images": 64, "epochs": 2, "batch-size": 16, "latent-dim": 3},
    "grid": {"obs": ["bernoulli", "normal-learned-sigma"], "beta": [1, 16]},
    "cells": [{"name": "fails", "lr": 1e30, "optimizer": "sgd"}],
    "claims": [
        {
            "statement": "β = 16 & more <b>keeps</b> less",
            "score": "kl",
            "of": {"beta": 16},
            "is": "<",
            "than": {"beta": 1, "optimizer": "adam"},
            "expected": "holds",
        }
    ],
}
HEALTHY = "obs=normal-learned-sigma,beta=1/seed-0"
LOSS = "obs=bernoulli,beta=1/seed-0"


class Reported(NamedTuple):
    """A folder of runs, the page on it and its text."""

    folder: Path
    file: Path
    html: str


def add_run(folder: Path, **options: Any) -> Path:
    """Train a tiny run of its own."""
    usual = {"images": 64, "epochs": 2, "hidden": 16, "latent_dim": 2, "batch_size": 16}
    pv.training.RunConfig.of(**{**usual, **options}).run(folder)
    return folder


def damage(folder: Path) -> None:
    """Everything that can be wrong with a run, each in a folder of its own."""
    good = folder / HEALTHY
    for name in ("no-weights", "broken-weights", "broken-config", "broken-metrics", "cut-short"):
        shutil.copytree(good, folder / "bad" / name)
    (folder / "bad/no-weights/model.safetensors").unlink()
    (folder / "bad/broken-weights/model.safetensors").write_bytes(b"\0" * 100)
    (folder / "bad/broken-config/config.json").write_text('{"format": 1, "vae": ')
    (folder / "bad/broken-metrics/metrics.jsonl").write_text("[1]\n[2]\n")
    (folder / "bad/broken-metrics/evaluation.json").write_text("{")
    lines = (good / "metrics.jsonl").read_text().splitlines()
    (folder / "bad/cut-short/metrics.jsonl").write_text("\n".join(lines[:6]) + '\n{"rec')
    (folder / "bad/only-records").mkdir()
    shutil.copy(good / "metrics.jsonl", folder / "bad/only-records")


@pytest.fixture(scope="session")
def reported(
    tmp_path_factory: pytest.TempPathFactory,
    drawing: Callable[[], AbstractContextManager[None]],
) -> Reported:
    """Four runs of a sweep, one that failed, one of a bad name and six that are damaged."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("reported") / "sweep"
    pv.compare(SPEC, folder)
    shutil.copytree(folder / HEALTHY, folder / SCRIPT)
    damage(folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "text.json").write_text(json.dumps({"no": "run"}))
    with drawing():
        file = pv.report(folder)
    return Reported(folder, file, file.read_text(encoding="utf-8"))
