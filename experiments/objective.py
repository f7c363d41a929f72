"""The objective's claims, measured on the embedded digits through public options only.

    python -m experiments.objective --what controllers
    python -m experiments.objective --what free-bits
    python -m experiments.objective --what reductions
    python -m experiments.objective --what annealing --seeds 5

prints a JSON line per run, and for annealing the paired difference with its 95% interval.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import torch

import pyro_vae as pv
from pyro_vae.sweeps.statistics import estimate

STEPS, BATCH, LATENTS = 3000, 150, 20
LEARNED = pv.observations.get("normal-learned-sigma", scale="dataset")
Row = dict[str, Any]


def fit(obs: str | pv.Head, seed: int, **options: Any) -> pv.History:
    """Train the default network for :data:`STEPS`; 30 steps are an epoch, after which it scores."""
    digits = pv.data.load("mnist-5k")
    torch.manual_seed(seed)
    vae = pv.VAE((1, 28, 28), LATENTS, obs)
    epochs = STEPS * BATCH // len(digits.train)
    return pv.fit(
        vae, digits.train, digits.test, epochs=epochs, batch_size=BATCH, seed=seed, **options
    )


def final(history: pv.History, epochs: int = 1) -> Row:
    """Held-out figures, averaged over the last epochs; active units are the last one's."""
    records = history.epochs("held-out")[-epochs:]
    keys = ("reconstruction", "kl", history.objective)
    row: Row = {key: round(sum(r[key] for r in records) / len(records), 2) for key in keys}
    return {**row, "active_units": records[-1]["active_units"], "beta": records[-1]["beta"]}


def controllers(seeds: int) -> Iterator[Row]:
    """A target KL under a σ learned per dataset: held-out KL over the last 300 of 3,000 steps."""
    for target in (10.0, 25.0):
        for seed in range(seeds):
            row = final(fit(LEARNED, seed, target_kl=target), epochs=10)
            missed = round(row["kl"] / target - 1, 4)
            yield {"target_kl": target, "seed": seed, "missed": missed, **row}


def free_bits(seeds: int) -> Iterator[Row]:
    """β = 8 under the summed squared error, with and without a quarter of a nat free per unit."""
    for elbo in ("trace", "free-bits:0.25"):
        for seed in range(seeds):
            row = final(fit("normal", seed, elbo=elbo, beta=8.0))
            yield {"objective": elbo, "seed": seed, **row}


def reductions(seeds: int) -> Iterator[Row]:
    """Squared error and cross-entropy, each summed, and averaged over batch and pixels.

    Beside a KL that is summed, such a mean is a β of batch × pixels on the summed loss.
    """
    for obs in ("normal", "bernoulli"):
        for reduction, beta in (("mean", float(BATCH * 784)), ("sum", 1.0)):
            for seed in range(seeds):
                row = final(fit(obs, seed, beta=beta))
                yield {"obs": obs, "reduction": reduction, "seed": seed, **row}


def annealing(seeds: int) -> Iterator[Row]:
    """β raised from 0 to 1 over half the training against β = 1, on the same weights and batches.

    Both end at β = 1; the difference of their held-out ELBO (objective for a loss) is annealed −
    constant, in nats per image, with Student's interval over seeds.
    """
    for name, obs in (("bernoulli", "bernoulli"), ("normal, σ per dataset", LEARNED)):
        differences = []
        for seed in range(seeds):
            ends = {}
            for beta in ("1", f"linear:0,1,steps={STEPS // 2}"):
                history = fit(obs, seed, beta=beta)
                row = final(history)
                ends[beta] = row[history.objective]
                yield {"obs": name, "schedule": beta, "seed": seed, **row}
            constant, annealed = ends.values()
            differences.append(annealed - constant)
        mean, half = interval(differences)
        yield {
            "obs": name,
            "annealed - constant": round(mean, 3),
            "95% interval": [round(mean - half, 3), round(mean + half, 3)],
            "pairs": seeds,
        }


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of Student's 95% interval of it."""
    found = estimate(values)
    if found is None or found.high is None:
        raise ValueError(f"an interval needs two values, got {len(values)}")
    return found.mean, found.high - found.mean


WHAT = {
    "controllers": controllers,
    "free-bits": free_bits,
    "reductions": reductions,
    "annealing": annealing,
}


def main() -> None:
    """Print one JSON line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=WHAT, nargs="*", default=list(WHAT))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for what in options.what:
        for row in WHAT[what](options.seeds):
            print(json.dumps({"what": what, **row}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
