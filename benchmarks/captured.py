"""Every stock observation, compiled: right, and as fast as a compiled loop of the same formula?

    python -m benchmarks.captured
    python -m benchmarks.captured --check --only bernoulli beta

First the compiled loss and gradients are held against Pyro's own pass on the same noise. Then a
step of ``fit`` is timed in turns with a compiled loop by hand: no Pyro, z = μ + σ ε and the
observation's log-probability. Printed for each: errors, the ratio of times with its 90% interval,
and the time of a step against bernoulli's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

import pyro_vae as pv
from benchmarks import common
from pyro_vae import observations
from pyro_vae.config import FitConfig
from pyro_vae.elbo import local_params
from pyro_vae.objectives.capture import Graph
from pyro_vae.training.train_state import TrainState

BATCH, LATENT = 128, 20


def model(name: str, batch: Tensor) -> pv.VAE:
    """A VAE in training, from seed 0."""
    torch.manual_seed(0)
    vae = pv.VAE(tuple(batch.shape[1:]), LATENT, name)
    if "data" in vae.likelihood.origins():
        vae.estimate(batch)
    return vae.train()


def shown(name: str, levels: Tensor) -> Tensor:
    """Images as the observation takes them: counts where it counts."""
    return levels if observations.get(name).levels != "counts" else levels // 16


def errors(name: str, batch: Tensor) -> tuple[float, float]:
    """Largest relative error of the compiled loss, and of a gradient against its largest entry."""
    vae, elbo = model(name, batch), pv.objectives.TraceELBO(max_plate_nesting=1)
    parameters, beta = list(vae.parameters()), torch.tensor(0.7)

    def loss(x: Tensor, beta: Tensor) -> tuple[Tensor]:
        return (elbo.differentiable_loss(vae.model, vae.guide, vae.observe(x), beta=beta),)

    with pyro.validation_enabled(False), local_params():
        torch.manual_seed(1)
        eager = loss(batch, beta)[0]
        wanted = torch.autograd.grad(eager, parameters, allow_unused=True)
        graph = Graph(loss, (batch, beta), parameters)
        torch.manual_seed(1)
        (found,), gradients = graph(batch, beta)
    own = {id(leaf): g for leaf, g in zip(graph.leaves, gradients, strict=True)}
    worst = max(
        float((own[id(p)] - g).abs().max() / g.abs().max())
        for p, g in zip(parameters, wanted, strict=True)
        if g is not None
    )
    return float(abs(found - eager.detach()) / abs(eager.detach())), worst


def ours(name: str, batch: Tensor, steps: int) -> Callable[[], None]:
    """Some steps of ``fit``, compiled."""
    state = TrainState(model(name, batch), FitConfig.of(compile="on"), len(batch))

    def run() -> None:
        with pyro.validation_enabled(False), local_params():
            for _ in range(steps):
                state.advance(batch)

    return run


def by_hand(name: str, batch: Tensor, steps: int) -> Callable[[], None]:
    """The same steps without Pyro, compiled as one function."""
    vae = model(name, batch)
    optimiser = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)

    def loss_of(levels: Tensor) -> Tensor:
        x = vae.observe(levels)
        q = vae.encode(x).base_dist
        noise = torch.randn_like(q.loc)
        z = q.loc + q.scale * noise
        kl = 0.5 * (z.square() - noise.square()).sum() - q.scale.log().sum()
        return (kl - vae.decode(z, x).log_prob(x).sum()) / len(levels)

    compiled = torch.compile(loss_of)

    def run() -> None:
        with pyro.validation_enabled(False):
            for _ in range(steps):
                loss = compiled(batch)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    return run


def timed(name: str, batch: Tensor, steps: int, rounds: int) -> dict[str, Any]:
    """Ratio of our time to the hand-written loop's, and of a step to bernoulli's."""
    runs = {"ours": ours(name, batch, steps), "hand": by_hand(name, batch, steps)}
    plain = shown("bernoulli", batch)
    runs["bernoulli"] = ours("bernoulli", plain, steps)
    times = common.in_turns(runs, rounds, warm_up=2)
    return {
        "time over by hand": common.ratio(times, "hand", "ours"),
        "time over bernoulli": common.ratio(times, "bernoulli", "ours"),
        "ms per step": 1e3 * min(times["ours"]) / steps,
    }


def main() -> None:
    """Check all, time all, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(observations.TABLE))
    parser.add_argument("--check", action="store_true", help="errors only")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="JSON lines to add to")
    options = parser.parse_args()
    levels = common.fashion(None, BATCH)
    wrong = 0
    for name in options.only:
        began, batch = time.perf_counter(), shown(name, levels)
        loss, gradient = errors(name, batch)
        wrong += loss > 1e-4 or gradient > 1e-3
        row: dict[str, Any] = {"observation": name, "loss error": loss, "gradient error": gradient}
        if not options.check:
            torch._dynamo.reset()
            row |= timed(name, batch, options.steps, options.rounds)
        row["seconds"] = round(time.perf_counter() - began, 1)
        print(json.dumps(row), flush=True)
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
