"""The forecast against what training comes to.

    python -m experiments.forecast --what linear --data-root FOLDER
    python -m experiments.forecast --what mlp
    python -m experiments.forecast --what cross-entropy

prints one JSON line per run with what was predicted and what was seen. ``linear`` trains linear
VAEs of 40 latents with a fixed σ, at ten values of βσ² on two data sets, and counts eigenvalues of
the covariance of the posterior means above 0.01, since noise spreads weak directions over several
units; ``mlp`` and ``cross-entropy`` train the 784-400-20 network and count active units. A run is
collapsed if it has none, or if every latent's mean KL is below 0.01 nats.

The KL is the closed form (``elbo="mean-field"``): near the threshold the gradient noise of a
sampled KL, which β multiplies, keeps a direction from growing out of collapse (``--elbo trace``).
There growth is slow as well: at β = 28 cross-entropy needs more than 5,000 steps.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import elbo

LATENTS = 40
THRESHOLDS = {"mnist-5k": (0.3, 0.5, 1, 2, 4, 5), "fashion-mnist": (0.5, 1, 3, 8)}
STEPS = {"linear": 4000, "mlp": 5000, "cross-entropy": 10_000}
BETAS = {
    "mlp": ("normal", (0.5, 1, 2, 4, 6, 8, 9, 11, 12, 16)),
    "cross-entropy": ("bernoulli", (4, 8, 16, 28, 36)),
}


def digits() -> Tensor:
    """All 5,000 digits."""
    data = pv.data.load("mnist-5k")
    return torch.cat([data.train, data.test])


def counted(vae: pv.VAE, images: Tensor) -> tuple[int, dict[str, Any]]:
    """Eigenvalues of the covariance of posterior means above 0.01, and scores."""
    terms = elbo.held_out_terms(vae, images)
    eigenvalues = torch.linalg.eigvalsh(terms.mean.double().T.cov(correction=0))
    scores = elbo.scores_of(terms, vae.obs.kind_on(images))
    return int((eigenvalues > elbo.ACTIVE).sum()), scores


def linear(root: Path | None, steps: int, **fit: Any) -> Iterator[dict[str, Any]]:
    """Linear VAEs with a fixed σ."""
    for name, thresholds in THRESHOLDS.items():
        images = digits() if name == "mnist-5k" else pv.data.load(name, root).test
        epochs = math.ceil(steps / math.ceil(len(images) / 1000))
        for threshold in thresholds:
            identity = pv.Param(link="identity")
            obs = pv.observations.get("normal", scale=threshold**0.5, loc=identity)
            predicted = pv.forecast(images, obs, latent_dim=LATENTS)
            torch.manual_seed(fit["seed"])
            encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 2 * LATENTS))
            net = (encoder, nn.Linear(LATENTS, 784))
            vae = pv.VAE((1, 28, 28), LATENTS, obs, net)
            pv.fit(
                vae,
                images,
                epochs=epochs,
                batch_size=1000,
                lr=1e-2,
                lr_schedule="cosine",
                **fit,
            )
            directions, scores = counted(vae, images)
            yield {
                "data": name,
                "threshold": threshold,
                "predicted": predicted.active_units,
                "seen": directions,
                "seen_units": scores["active_units"],
                "kl": round(scores["kl"], 2),
                "kl_predicted": round((predicted.operating_point or (math.nan,))[0], 2),
            }


def nonlinear(what: str, steps: int, **fit: Any) -> Iterator[dict[str, Any]]:
    """The 784-400-20 network."""
    name, betas = BETAS[what]
    images = pv.data.load("mnist-5k").train
    for beta in betas:
        predicted = pv.forecast(images, name, beta=beta)
        torch.manual_seed(fit["seed"])
        vae = pv.VAE((1, 28, 28), 20, name)
        epochs = math.ceil(steps / math.ceil(len(images) / 128))
        pv.fit(vae, images, epochs=epochs, beta=beta, **fit)
        directions, scores = counted(vae, images)
        collapsed = scores["active_units"] == 0 or max(scores["kl_per_latent"]) < 0.01
        yield {
            "obs": name,
            "beta": beta,
            "predicted": predicted.active_units,
            "seen": scores["active_units"],
            "seen_directions": directions,
            "collapse_predicted": predicted.collapses,
            "collapse_seen": collapsed,
            "kl": round(scores["kl"], 3),
            "largest_kl": round(max(scores["kl_per_latent"]), 4),
        }


def main() -> None:
    """Print one JSON line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=["linear", *BETAS], default="linear")
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--steps", type=int, help=f"training steps, {STEPS} by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--elbo", default="mean-field", choices=["mean-field", "trace"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fit = {"seed": options.seed, "elbo": options.elbo}
    steps = options.steps or STEPS[options.what]
    if options.what == "linear":
        rows = linear(options.data_root, steps, **fit)
    else:
        rows = nonlinear(options.what, steps, **fit)
    for row in rows:
        print(json.dumps({"what": options.what, **fit, **row}), flush=True)


if __name__ == "__main__":
    main()
