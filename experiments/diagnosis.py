"""The diagnosis against runs that were broken on purpose, and against healthy ones.

    python -m experiments.diagnosis [--seed 7]

breaks one run of mnist-5k by each of twelve causes, with options drawn with seed 7 from the ranges
below, trains six healthy ones with varied options, diagnoses all of them on held-out digits, and
lets the first cause's mend prove itself in a short run (``verify``). It prints a line per run, or
a JSON line with the evidence behind it if ``--json``, and at last the confusion table and the
counts. The ranges, like the thresholds of the diagnosis, were fixed before the first run.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.diagnostics import verify
from pyro_vae.training.progress import Silent

SEED = 7
D = 784
EPOCHS = (30, 40)
HIDDEN = (200, 400)
LATENTS = (10, 20, 32)
BATCHES = (64, 128, 256)
RATES = (5e-4, 2e-3)

LARGE_SIGMA = (2.5, 8.0)  # √λ₁ is 2.28
LARGE_BETA = {"normal": (13.5, 42.0), "bernoulli": (42.0, 130.0)}  # collapse from 10.4 and 32
LONG_WARM_UP = (2.0, 20.0)  # times as long as training
LIKELIHOODS = ("normal", "normal-learned-sigma", "bernoulli")
HIGH_RATES = (0.03, 1.0)
RANGES = ("tanh", "floats 0..255", "range 0,255")
FLEXIBLE = ("normal-learned-sigma", "normal-optimal-sigma")
FLEXIBLE_IMAGES, FLEXIBLE_EPOCHS = (500, 4500), (60, 100)
FEW_EPOCHS, FEW_BATCHES, LOW_RATES = (1, 3), (256, 512), (1e-4, 1e-3)
FEW_LATENTS, SMALL_SIGMA = (1, 3), (0.05, 0.2)
FEW_IMAGES, MANY_EPOCHS, TOO_LONG_SIGMA = (100, 300), (100, 300), (0.05, 0.15)

HEALTHY = (
    "normal",
    "normal-learned-sigma",
    "bernoulli",
    "continuous-bernoulli",
    "laplace",
    "discretized-logistic",
)
HEALTHY_SIGMA = (0.1, 0.5)
HEALTHY_SCOPES = ("dataset", "image")
HEALTHY_BETA = (0.5, 1.5)
HEALTHY_LATENTS = (8, 24)
NETWORKS = ("mlp", "conv")


class Ignoring(nn.Module):
    """A decoder that has one picture for every z."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(numbers))

    def forward(self, z: Tensor) -> Tensor:
        """Z → the raw output."""
        return self.picture.expand(len(z), -1)


class Watching(nn.Module):
    """An encoder that leaves its input where a decoder finds it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Any:
        """X → the posterior's raw numbers."""
        self.seen = x
        return self.encoder(x)


class Peeping(nn.Module):
    """A decoder that is given z and every pixel's four neighbours."""

    def __init__(self, watching: Watching, decoder: nn.Module) -> None:
        super().__init__()
        self.watching = [watching]  # in a list: the encoder's weights are not this module's
        self.decoder = decoder
        # One by one: a wider window would see the pixel itself.
        self.mix = nn.Conv2d(5, 32, 1)
        self.out = nn.Conv2d(32, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Z → the raw output."""
        raw: Tensor = self.decoder(z)
        x = self.watching[0].seen
        if x is None or len(x) != len(z):
            x = torch.zeros(len(z), 1, 28, 28)
        shifts = ((1, 2), (-1, 2), (1, 3), (-1, 3))
        near = torch.cat([raw.view(-1, 1, 28, 28), *(x.roll(*shift) for shift in shifts)], 1)
        out: Tensor = self.out(torch.relu(self.mix(near)))
        return out.flatten(1)


@dataclass
class Plan:
    """One run: what is wrong with it, and how it is made."""

    cause: str
    obs: pv.Head
    fit: dict[str, Any]
    latent_dim: int
    net: Any
    told: str
    images: int = 4500
    scale_to: float | None = None
    own: bool = field(default=False)


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.2g}")


def figure(value: float) -> float:
    """A number that can be read out: three digits of it."""
    return float(f"{value:.3g}")


def _common(rng: random.Random, cause: str) -> Plan:
    fit = {
        "epochs": rng.randint(*EPOCHS),
        "batch_size": rng.choice(BATCHES),
        "lr": _log_uniform(rng, *RATES),
        "seed": rng.randrange(1000),
    }
    net = pv.networks.MLP(hidden=rng.choice(HIDDEN))
    return Plan(cause, pv.observations.get("normal"), fit, rng.choice(LATENTS), net, "")


def _sigma_too_large(rng: random.Random, plan: Plan) -> None:
    sigma = figure(rng.uniform(*LARGE_SIGMA))
    plan.obs, plan.told = plan.obs.replace(scale=sigma), f"σ = {sigma}"


def _beta_too_large(rng: random.Random, plan: Plan) -> None:
    name = rng.choice(list(LARGE_BETA))
    beta = figure(rng.uniform(*LARGE_BETA[name]))
    while abs(beta * plan.latent_dim / D - 1) < 0.02:
        beta = figure(rng.uniform(*LARGE_BETA[name]))
    plan.obs, plan.told = pv.observations.get(name), f"{name}, β = {beta}"
    plan.fit["beta"] = beta


def _mean_reduction(rng: random.Random, plan: Plan) -> None:
    batch, latents = plan.fit["batch_size"], plan.latent_dim
    beta = rng.choice((D, D * batch, D / latents, D * batch / latents))
    plan.fit["beta"], plan.told = beta, f"β = {beta:g}"


def _warm_up(rng: random.Random, plan: Plan) -> None:
    name = rng.choice(LIKELIHOODS)
    length = round(plan.fit["epochs"] * rng.uniform(*LONG_WARM_UP))
    plan.obs = pv.observations.get(name)
    plan.fit["beta"] = f"linear:0,1,epochs={length}"
    plan.told = f"{name}, {plan.fit['epochs']} epochs of {length}"


def _decoder_too_strong(rng: random.Random, plan: Plan) -> None:
    stock = plan.net

    def peep(sizes: pv.networks.Sizes) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = stock(sizes)
        watching = Watching(encoder)
        return watching, Peeping(watching, decoder)

    plan.net, plan.own, plan.told = peep, True, "decoder sees neighbours"


def _data_range(rng: random.Random, plan: Plan) -> None:
    plan.told = rng.choice(RANGES)
    if plan.told == "range 0,255":
        plan.obs = plan.obs.replace(interval=(0.0, 255.0))
    elif plan.told == "tanh":
        plan.obs = plan.obs.replace(loc=pv.Param(link=torch.tanh))
    else:
        plan.obs = plan.obs.replace(loc=pv.Param(link="identity"))
        plan.scale_to = 255.0


def _learning_rate(rng: random.Random, plan: Plan) -> None:
    plan.fit["lr"] = _log_uniform(rng, *HIGH_RATES)
    plan.told = f"lr = {plan.fit['lr']}"


def _sigma_too_flexible(rng: random.Random, plan: Plan) -> None:
    name = rng.choice(FLEXIBLE)
    plan.obs = pv.observations.get(name, scale="pixel")
    plan.images, plan.fit["epochs"] = rng.randint(*FLEXIBLE_IMAGES), rng.randint(*FLEXIBLE_EPOCHS)
    plan.told = f"{name} per pixel, {plan.images} images"


def _not_trained(rng: random.Random, plan: Plan) -> None:
    plan.fit["epochs"], plan.fit["batch_size"] = rng.randint(*FEW_EPOCHS), rng.choice(FEW_BATCHES)
    plan.fit["lr"] = _log_uniform(rng, *LOW_RATES)
    plan.told = f"{plan.fit['epochs']} epochs of {plan.fit['batch_size']}, lr {plan.fit['lr']}"


def _encoder_ignored(rng: random.Random, plan: Plan) -> None:
    stock = plan.net

    def ignore(sizes: pv.networks.Sizes) -> tuple[nn.Module, nn.Module]:
        return stock(sizes)[0], Ignoring(sizes.grid_numbers + sizes.image_numbers)

    plan.net, plan.own, plan.told = ignore, True, "decoder ignores z"


def _latents_too_few(rng: random.Random, plan: Plan) -> None:
    plan.latent_dim, sigma = rng.randint(*FEW_LATENTS), figure(rng.uniform(*SMALL_SIGMA))
    plan.obs, plan.told = plan.obs.replace(scale=sigma), f"{plan.latent_dim} latents, σ = {sigma}"


def _trained_too_long(rng: random.Random, plan: Plan) -> None:
    plan.images, plan.fit["epochs"] = rng.randint(*FEW_IMAGES), rng.randint(*MANY_EPOCHS)
    sigma = figure(rng.uniform(*TOO_LONG_SIGMA))
    plan.obs = plan.obs.replace(scale=sigma)
    plan.told = f"{plan.images} images, {plan.fit['epochs']} epochs, σ = {sigma}"


PLANTS: dict[str, Callable[[random.Random, Plan], None]] = {
    "data-range": _data_range,
    "learning-rate-too-high": _learning_rate,
    "warm-up-unfinished": _warm_up,
    "decoder-too-strong": _decoder_too_strong,
    "mean-reduction": _mean_reduction,
    "sigma-too-large": _sigma_too_large,
    "beta-too-large": _beta_too_large,
    "sigma-too-flexible": _sigma_too_flexible,
    "not-trained-enough": _not_trained,
    "encoder-ignored": _encoder_ignored,
    "latents-too-few": _latents_too_few,
    "trained-too-long": _trained_too_long,
}


def _healthy(rng: random.Random) -> Plan:
    plan = _common(rng, "healthy")
    # Trained for as long as the default, in as many steps: else some are not trained enough.
    plan.fit["epochs"], plan.fit["batch_size"] = 60, min(128, plan.fit["batch_size"])
    name, net = rng.choice(HEALTHY), rng.choice(NETWORKS)
    plan.obs = pv.observations.get(name)
    scale: float | str | None = None
    if name == "normal":
        scale = figure(rng.uniform(*HEALTHY_SIGMA))
    elif name in ("normal-learned-sigma", "laplace"):
        scale = rng.choice(HEALTHY_SCOPES)
    if scale is not None:
        plan.obs = plan.obs.replace(scale=scale)
    plan.net = pv.networks.NETWORKS[net](hidden=plan.net.hidden)
    plan.latent_dim = rng.randint(*HEALTHY_LATENTS)
    plan.fit["beta"] = figure(rng.uniform(*HEALTHY_BETA))
    sigma = "" if scale is None else f", σ {scale}"
    plan.told = f"{name}{sigma}, {net}, L = {plan.latent_dim}, β = {plan.fit['beta']}"
    return plan


def plans(seed: int = SEED) -> list[Plan]:
    """All runs: twelve broken ones and six healthy ones."""
    rng = random.Random(seed)
    broken = []
    for cause, plant in PLANTS.items():
        plan = _common(rng, cause)
        plant(rng, plan)
        broken.append(plan)
    return broken + [_healthy(rng) for _ in range(6)]


class Keeping(Silent):
    """Keeps the history of a run, also of one that ends in an error."""

    history = pv.History()

    def start(self, history: pv.History, total_steps: int, epochs: int) -> None:
        """Take note of it."""
        self.history = history


def trial(plan: Plan, digits: pv.data.Data) -> dict[str, Any]:
    """Train, diagnose and mend one run."""
    train, test = digits.train[: plan.images], digits.test
    if plan.scale_to is not None:
        train, test = (part.float() * (plan.scale_to / 255) for part in (train, test))
    torch.manual_seed(plan.fit["seed"])
    vae = pv.VAE((1, 28, 28), plan.latent_dim, plan.obs, plan.net)
    keeping = Keeping()
    try:
        pv.fit(vae, train, test, progress=keeping, **{"keep_best": False, **plan.fit})
    except pv.TrainingError as error:
        print(f"  {error}", flush=True)
    settings = {**plan.fit, "beta": str(plan.fit.get("beta", 1))}
    found = pv.diagnose(vae, test, keeping.history, settings, train)
    row: dict[str, Any] = {
        "planted": plan.cause,
        "options": plan.told,
        "verdict": found.verdict,
        "causes": [cause.code for cause in found.causes],
        "warnings": [message.partition(":")[0] for message in keeping.history.warnings],
        "evidence": found.evidence.to_dict(),
    }
    if found.causes and plan.cause != "healthy":
        stock = pv.networks.MLP() if plan.own else None
        try:
            mended = verify(vae, found, train, test, settings, stock)
        except (pv.InputError, pv.TrainingError) as error:
            return {**row, "mended": None, "after": str(error)}
        row |= {"mended": mended.mended, "after": mended.after.verdict}
        row["after_causes"] = [cause.code for cause in mended.after.causes]
    return row


def _said(row: dict[str, Any]) -> str:
    first = row["causes"][0] if row["causes"] else "-"
    mended = {True: "mended", False: "not mended", None: ""}[row.get("mended")]
    return (
        f"{row['planted']:<23}{row['verdict']:<17}{first:<23}{mended:<11}{row.get('after', '')}"
        f"\n  {row['options']}"
    )


def _first(row: dict[str, Any]) -> str:
    """What a run was taken for: its first cause, or its verdict where there is none."""
    return str(row["causes"][0] if row["causes"] else row["verdict"])


def _confusion(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A line per kind of run, a column per first cause; the right ones are on the diagonal."""
    names = [*PLANTS, "healthy"]
    yield f"{'planted, by first cause':<26}" + "".join(f"{i:>4}" for i in range(1, len(names) + 1))
    for number, planted in enumerate(names, 1):
        found = [_first(row) for row in rows if row["planted"] == planted]
        counts = "".join(f"{found.count(name) or '.':>4}" for name in names)
        yield f"{number:>2} {planted:<23}{counts}"


def _counts(rows: list[dict[str, Any]]) -> Iterator[str]:
    broken = [row for row in rows if row["planted"] != "healthy"]
    healthy = [row for row in rows if row["planted"] == "healthy"]
    fallen = [row for row in broken if row["verdict"] == "collapsed"]
    right = sum(row["planted"] == _first(row) for row in broken)
    ill = sum(row["verdict"] != "healthy" for row in healthy)
    yield f"first cause right: {right} of {len(broken)}"
    yield f"healthy called ill: {ill} of {len(healthy)}"
    yield f"collapsed and mended: {sum(row['mended'] is True for row in fallen)} of {len(fallen)}"


def main() -> None:
    """Print a line per run, then the confusion table and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="of all options [%(default)s]")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = pv.data.load("mnist-5k")
    rows = []
    if not options.json:
        print(f"{'planted':<23}{'verdict':<17}{'first cause':<23}{'verify':<11}after")
    for plan in plans(options.seed):
        row = trial(plan, digits)
        rows.append(row)
        print(json.dumps(row) if options.json else _said(row), flush=True)
    print()
    for line in (*_confusion(rows), *_counts(rows)):
        print(line)


if __name__ == "__main__":
    main()
