"""Does a start at the best constant prediction help, and what does a σ per dimension need?

    python -m experiments.starts --data-root FOLDER [--seeds 2] [--only digits ...]

trains each stock observation that suits a data set, with both networks where it has pictures, once
from the usual start and once from the best constant prediction of its training images, and prints
the validation bound of the first and of the last epoch of each, beside that constant's, in nats per
image: one line of JSON for each pair. The data sets are those of ``experiments.verdicts``, clothes
and patches being looked for in the folder that --data-root names.

    python -m experiments.starts --floors

does so on digits for a σ per dimension above several floors, beside what the constant reaches on
the same held-out images.

    python -m experiments.starts --first --data-root FOLDER [--images 5000]

runs the default command on each of the data sets, and prints what it ends with; where it is
refused, its one line, and then the command with the option that the line names.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pyro_vae as pv
from experiments.verdicts import KINDS
from pyro_vae import elbo
from pyro_vae.errors import InputError
from pyro_vae.observations import TABLE

Row = dict[str, Any]
Parts = tuple[Tensor, Tensor]
FLOORS = (0.001, 0.003, 0.01, 0.02, 0.03)


def trained(
    parts: Parts, head: pv.Head, net: Any, dim: int, seed: int, **fit: Any
) -> tuple[pv.VAE, pv.History]:
    """A VAE of some data, and its history."""
    train, validation = parts
    torch.manual_seed(seed)
    vae = pv.VAE(tuple(train.shape[1:]), dim, head, net)
    return vae, pv.fit(vae, train, validation, seed=seed, compile="off", **fit)


def course(history: pv.History) -> list[float]:
    """The validation bound of the first, a middle and the last epoch, and the best."""
    bounds = [record[history.objective] for record in history.epochs("held-out")]
    return [round(value, 1) for value in (bounds[0], bounds[len(bounds) // 4], bounds[-1])] + [
        round(max(bounds), 1)
    ]


def starts(name: str, root: str | None, seeds: int, epochs: int, most: int) -> Iterator[Row]:
    """Both starts of all that suits a data set."""
    kind = KINDS[name]
    train, validation, _ = kind.load(root, 0)
    parts = train[:most], validation
    pictures = train.dim() > 2
    for net in (pv.networks.MLP(hidden=kind.hidden), pv.networks.Conv())[: 1 + pictures]:
        for obs in TABLE:
            head = pv.observations.get(obs)
            if (head.levels == "real") == pictures:
                continue
            for seed in range(seeds):
                row: Row = {"data": name, "net": type(net).__name__, "obs": obs, "seed": seed}
                try:
                    for begun in (False, True):
                        fit = {
                            "epochs": epochs,
                            "batch_size": kind.fit.get("batch_size", 128),
                            "init_from_data": begun,
                        }
                        _, history = trained(parts, head, net, kind.latent_dim, seed, **fit)
                        row["from the constant" if begun else "as usual"] = course(history)
                        row["constant"] = round(history.baselines["best constant prediction"], 1)
                except (InputError, pv.errors.TrainingError) as error:
                    row["failed"] = str(error)[:80]
                yield row


def floors(seeds: int, epochs: int) -> Iterator[Row]:
    """A σ per dimension on digits, above several floors."""
    train, validation, _ = KINDS["digits"].load(None, 0)
    for floor in FLOORS:
        scale = pv.Param("dimension", floor=floor)
        head = pv.observations.get("normal-learned-sigma", scale=scale)
        for begun in (False, True):
            for seed in range(seeds):
                vae, history = trained(
                    (train, validation), head, "mlp", 20, seed, epochs=epochs, init_from_data=begun
                )
                constants = elbo.best_constants(vae, train)
                yield {
                    "floor": floor,
                    "from the constant": begun,
                    "seed": seed,
                    "validation": course(history),
                    "training": round(history.epochs()[-1]["elbo"], 1),
                    "constant": round(elbo.constant_score(vae, constants, validation), 1),
                    "constant of training": round(history.baselines["best constant prediction"], 1),
                }


NAMED = {"digits": "mnist-5k", "clothes": "fashion-mnist", "patches": "colour-patches"}


def first_runs(names: list[str], root: str | None, images: int) -> Iterator[Row]:
    """What the command ends with when nothing is said but where the data are."""
    script = str(Path(sys.executable).parent / "pyro-vae")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if KINDS[name].needs_root and root is None:
                continue
            given = ["--data", NAMED.get(name) or str(_file(name, Path(folder)))]
            given += ["--images", str(images)] if name in NAMED else []
            given += ["--data-root", root] if root is not None and KINDS[name].needs_root else []
            for number, more in enumerate(([], ["--obs", "real-normal"])):
                out = str(Path(folder) / f"{name}-{number}")
                words = [script, "fit", *given, *more, "--out", out]
                ran = subprocess.run(words, capture_output=True, text=True, check=False)
                last = ran.stderr.strip().rpartition("\n\n")[2].replace(folder, "").splitlines()
                yield {"data": name, "options": more, "status": ran.returncode, "ends": last}
                if ran.returncode == 0:
                    break


def _file(name: str, folder: Path) -> Path:
    """A data set that has no name, as its users would have it: a table, or an .npz."""
    if name == "wine":
        from sklearn.datasets import load_wine

        wine, path = load_wine(), folder / "wine.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow([title.replace("/", "_") for title in wine.feature_names])
            rows.writerows(wine.data.tolist())
        return path
    parts = dict(zip(("train", "val", "test"), KINDS[name].load(None, 0), strict=True))
    np.savez(folder / f"{name}.npz", **{part: x.numpy() for part, x in parts.items()})
    return folder / f"{name}.npz"


def main() -> None:
    """Print all that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=2000, help="Images of a part at most.")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--data-root", help="Folder of Fashion-MNIST and of the colour patches.")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--floors", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.first:
        for row in first_runs(asked.only, asked.data_root, asked.images):
            print(json.dumps(row, indent=1, ensure_ascii=False), flush=True)
        return
    if asked.floors:
        for row in floors(asked.seeds, asked.epochs):
            print(json.dumps(row), flush=True)
        return
    for name in asked.only:
        if not (KINDS[name].needs_root and asked.data_root is None):
            for row in starts(name, asked.data_root, asked.seeds, asked.epochs, asked.images):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
