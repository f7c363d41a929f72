"""Verdicts on six kinds of data, against runs whose truth is known before they are trained.

    python -m experiments.verdicts --data-root FOLDER [--seed 12]

trains four runs of each of six data sets: digits, clothes, colour patches, 300 generated
photographs of 3×96×128, 800 spectra of 64 channels, and scikit-learn's wine in units of its
standard deviations. Half of the 24 are broken, which ones and by which cause is drawn with the
seed; the others are trained as their data need it. All are diagnosed on a test part that nothing
else looked at. A line of JSON is printed for each run: what is wrong with it, the verdict, the
first cause, its score and baselines, and whether ``verify`` confirms the mend; at last the counts.
Clothes and patches are looked for in the folder that --data-root names; without it they are left
out.

The ranges, and all thresholds of the diagnosis, were fixed in a commit before the first run.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pyro_vae as pv
from experiments.diagnosis import Ignoring, figure
from pyro_vae.diagnostics import Diagnosis, verify

SEED = 12
RUNS = 4  # of each data set


@dataclass(frozen=True)
class Kind:
    """A kind of data, and how a model of it is trained that works.

    Attributes:
        load: (folder, seed) → training, validation and test part.
        obs: Its observation, whose scale is learned.
        latent_dim: Length of z.
        hidden: Width of the hidden layer.
        fit: Options.
        error: About the error of the mean that such a model comes to, in the observation's unit.
        needs_root: Whether the data are looked for in a folder.
    """

    load: Callable[[str | None, int], tuple[Tensor, Tensor, Tensor]]
    obs: pv.Head
    latent_dim: int
    hidden: int
    fit: dict[str, Any]
    error: float
    needs_root: bool = False


@dataclass
class Plan:
    """One run, and what is wrong with it: nothing where the cause is None."""

    data: str
    cause: str | None
    obs: pv.Head
    net: Any
    latent_dim: int
    fit: dict[str, Any]
    images: int | None = None
    told: dict[str, Any] = field(default_factory=dict)


def _parts(x: np.ndarray, held: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    order = np.random.default_rng([seed, 0]).permutation(len(x))
    rows = torch.from_numpy(x[order])
    return rows[2 * held :], rows[held : 2 * held], rows[:held]


def _stock(name: str, train: int, held: int) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def load(root: str | None, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        data = pv.data.load(name, root)
        known, test = torch.as_tensor(data.train[: train + held]), torch.as_tensor(data.test[:held])
        return known[:train], known[train:], test

    return load


def _photographs(root: str | None, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Skies over grounds, with discs before them, in smooth colours and fine grain."""
    draw = np.random.default_rng([seed, 1])
    height, width, count = 96, 128, 300
    y, x = np.mgrid[0:height, 0:width] / height
    made = np.empty((count, 3, height, width), np.uint8)
    for i in range(count):
        sky, ground = draw.uniform(0.3, 1, 3), draw.uniform(0, 0.6, 3)
        below = 1 / (1 + np.exp(-(y - draw.uniform(0.3, 0.8)) * draw.uniform(8, 40)))
        shown = sky[:, None, None] * (1 - below) + ground[:, None, None] * below
        for _ in range(draw.integers(1, 4)):
            centre, radius = draw.uniform(0, 1, 2) * (1.33, 1), draw.uniform(0.1, 0.3)
            distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 - radius**2
            inside = 1 / (1 + np.exp(distance * draw.uniform(50, 200)))
            shown = shown * (1 - inside) + draw.uniform(0, 1, 3)[:, None, None] * inside
        grain = 0.03 * draw.standard_normal((1, height, width))
        made[i] = np.clip(255 * (shown + grain), 0, 255)
    return _parts(made, 40, seed)


def _spectra(root: str | None, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three lines that move a little, over a sloping base, and noise."""
    draw = np.random.default_rng([seed, 2])
    at = np.linspace(0, 1, 64)
    rows = np.empty((800, 64))
    for row in rows:
        row[:] = draw.normal(0, 0.5) + draw.normal(0, 1) * at
        for line in (0.2, 0.45, 0.7):
            row += draw.gamma(3) * np.exp(-0.5 * ((at - line - draw.normal(0, 0.02)) / 0.04) ** 2)
    rows += 0.1 * draw.standard_normal(rows.shape)
    return _parts(rows.astype(np.float32), 80, seed)


def _wine(root: str | None, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    from sklearn.datasets import load_wine

    train, validation, test = _parts(load_wine().data.astype(np.float32), 30, seed)
    mean, deviation = train.mean(0), train.std(0)
    scaled = [(part - mean) / deviation for part in (train, validation, test)]
    return scaled[0], scaled[1], scaled[2]


LEARNED = pv.observations.get("normal-learned-sigma")
SHARED = pv.observations.get("real-normal", scale="dataset")
LONG = {"keep_best": True, "patience": 20}
KINDS = {
    "digits": Kind(
        _stock("mnist-5k", 4000, 500), LEARNED, 10, 400, {"epochs": 80, "lr": 1e-3, **LONG}, 0.14
    ),
    "clothes": Kind(
        _stock("fashion-mnist", 4000, 500), LEARNED, 8, 400, {"epochs": 80, "lr": 1e-3, **LONG},
        0.13, True,
    ),
    "patches": Kind(
        _stock("colour-patches", 2500, 500), LEARNED, 8, 400, {"epochs": 60, "lr": 1e-3, **LONG},
        0.1, True,
    ),
    "photographs": Kind(
        _photographs, LEARNED, 4, 200, {"epochs": 100, "lr": 1e-3, "batch_size": 32, **LONG}, 0.2
    ),
    "spectra": Kind(
        _spectra, SHARED, 5, 100, {"epochs": 200, "lr": 3e-3, "batch_size": 64, **LONG}, 0.4
    ),
    "wine": Kind(
        _wine, SHARED, 2, 50, {"epochs": 300, "lr": 1e-3, "batch_size": 32, **LONG}, 0.6
    ),
}  # fmt: skip


def _size(plan: Plan, train: Tensor) -> int:
    return math.prod(train.shape[1:])


def _largest(plan: Plan, train: Tensor) -> float:
    """Square root of the covariance's largest eigenvalue, in the observation's unit."""
    rows = train[:500].flatten(1).double()
    rows = rows / 256 if train.dtype == torch.uint8 else rows
    centred = rows - rows.mean(0)
    return float(torch.linalg.svdvals(centred)[0]) / math.sqrt(len(rows))


def _mean_reduction(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    plan.fit["beta"] = _size(plan, train)
    plan.obs = plan.obs.replace(scale=figure(_largest(plan, train) * rng.uniform(0.1, 0.5)))


def _sigma_too_large(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    plan.obs = plan.obs.replace(scale=figure(_largest(plan, train) * rng.uniform(1.3, 4)))


def _sigma_off(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    plan.obs = plan.obs.replace(scale=figure(kind.error / math.exp(rng.uniform(3.5, 6.5))))


def _learning_rate(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    plan.fit["lr"] = figure(math.exp(rng.uniform(math.log(0.1), 0)))


def _not_trained(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    plan.fit["epochs"] = rng.randint(1, 4)


def _warm_up(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    epochs = plan.fit["epochs"] // 2
    plan.fit.update(epochs=epochs, beta=f"linear:0,1,epochs={rng.randint(3, 10) * epochs}")


def _beta_too_large(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    sigma = _largest(plan, train) * rng.uniform(0.1, 0.5)
    plan.obs = plan.obs.replace(scale=figure(sigma))
    plan.fit["beta"] = figure(rng.uniform(1.3, 4) * (_largest(plan, train) / sigma) ** 2)


def _ignoring(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    inner = plan.net

    def net(sizes: Any) -> tuple[nn.Module, nn.Module]:
        return inner(sizes)[0], Ignoring(sizes.grid_numbers + sizes.image_numbers)

    plan.net = net


def _too_long(rng: random.Random, plan: Plan, kind: Kind, train: Tensor) -> None:
    plan.images = rng.randint(40, 80)
    plan.fit.update(epochs=rng.randint(300, 500), batch_size=20, keep_best=False, patience=None)


CAUSES: dict[str, Callable[[random.Random, Plan, Kind, Tensor], None]] = {
    "mean-reduction": _mean_reduction,
    "sigma-too-large": _sigma_too_large,
    "sigma-off": _sigma_off,
    "learning-rate-too-high": _learning_rate,
    "not-trained-enough": _not_trained,
    "warm-up-unfinished": _warm_up,
    "beta-too-large": _beta_too_large,
    "encoder-ignored": _ignoring,
    "trained-too-long": _too_long,
}


def plans(seed: int, root: str | None) -> Iterator[tuple[Plan, tuple[Tensor, Tensor, Tensor]]]:
    """All runs of a seed with their data, half of them broken."""
    rng = random.Random(seed)
    wrong = [True, False] * (RUNS * len(KINDS) // 2)
    rng.shuffle(wrong)
    causes = [name for _ in range(3) for name in rng.sample(list(CAUSES), len(CAUSES))]
    for name, kind in KINDS.items():
        parts = None if kind.needs_root and root is None else kind.load(root, seed)
        for _ in range(RUNS):
            cause = causes.pop(0) if wrong.pop(0) else None
            fit = {"batch_size": 128, **kind.fit, "seed": rng.randrange(1000)}
            net = pv.networks.MLP(hidden=kind.hidden)
            plan = Plan(name, cause, kind.obs, net, kind.latent_dim, fit)
            if parts is not None:
                if cause is not None:
                    CAUSES[cause](rng, plan, kind, parts[0])
                yield plan, parts


def tried(plan: Plan, parts: tuple[Tensor, Tensor, Tensor]) -> dict[str, Any]:
    """Train, diagnose on the test part, and let the mend prove itself."""
    began = time.monotonic()
    train, validation, test = parts
    train = train[: plan.images]
    torch.manual_seed(plan.fit["seed"])
    vae = pv.VAE(train.shape[1:], plan.latent_dim, plan.obs, plan.net)
    history = pv.fit(vae, train, validation, **plan.fit)
    settings = {**plan.fit, "beta": str(plan.fit.get("beta", 1))}
    found = pv.diagnose(vae, test, history, settings, train)
    assert isinstance(found, Diagnosis)
    e = found.evidence
    first = found.causes[0].code if found.causes else None
    mended = None
    if found.causes and found.causes[0].changes:
        again = pv.networks.MLP(hidden=KINDS[plan.data].hidden)
        mended = verify(vae, found, train, validation, settings, again).mended
    return {
        "data": plan.data,
        "broken": plan.cause,
        "verdict": found.verdict,
        "first": first,
        "score": round(e.score, 2),
        "below": [name for name, _ in e.below],
        "baselines": [_rounded(v) for v in (e.ppca, e.uniform, e.constant)],
        "epochs": len(history.epochs()),
        "mended": mended,
        "seconds": round(time.monotonic() - began),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 2)


def counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rows come to."""
    broken = [row for row in rows if row["broken"]]
    others = [row for row in rows if not row["broken"]]
    # A run that nobody broke and that is below a baseline all the same is not healthy.
    well = [row for row in others if not row["below"]]
    right = [row for row in broken if row["first"] == row["broken"]]
    return {
        "runs": len(rows),
        "first cause right": f"{len(right)} of {len(broken)}",
        "healthy called healthy": f"{sum(r['verdict'] == 'healthy' for r in well)} of {len(well)}",
        "below a baseline and called healthy": sum(
            row["verdict"] == "healthy" and bool(row["below"]) for row in rows
        ),
        "mends confirmed": f"{sum(bool(r['mended']) for r in rows)} of "
        f"{sum(r['mended'] is not None for r in rows)}",
        "confusion": dict(
            Counter(
                f"{row['broken'] or 'healthy'} → {row['first'] or row['verdict']}" for row in rows
            )
        ),
    }


def main() -> None:
    """Try all, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--data-root", help="Folder of Fashion-MNIST and of the colour patches.")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for plan, parts in plans(asked.seed, asked.data_root):
        if plan.data in asked.only:
            rows.append(tried(plan, parts))
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(counts(rows), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
