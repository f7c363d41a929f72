"""Importance-weighted bounds: images per second against pythae's ``get_nll`` at equal draws.

    python -m benchmarks.evaluation

One trained pair of networks is scored by both in turns, with K = 100 draws, and refused if the two
bounds differ by more than two of their common standard errors. pythae works image by image.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from torch import nn

import pyro_vae as pv
from benchmarks import common, loops
from pyro_vae.metrics.importance import importance_bound


class Doubled(nn.Module):
    """An encoder whose second half is σ's raw number, of one whose second half is log σ²."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Means and the numbers whose softplus is σ − 1e-4."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        sigma = (0.5 * log_variance).exp() - 1e-4
        return torch.cat([mean, sigma + torch.log(-torch.expm1(-sigma))], -1)


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    options = parser.parse_args()
    setting = loops.Setting()
    training = common.fashion(options.data_root, 12_800)
    train = loops.pythae(training, setting)
    for _ in range(5):
        train()
    model = train.model.eval()  # type: ignore[attr-defined]
    images = training[: options.images]
    networks = (Doubled(model.encoder.net), model.decoder.net)
    vae = pv.VAE((1, 28, 28), loops.LATENT, "bernoulli", networks).eval()
    data = images.float() / 255

    def ours() -> torch.Tensor:
        return importance_bound(vae, images, options.draws).observed

    @torch.no_grad()
    def theirs() -> float:
        return float(model.get_nll(data, n_samples=options.draws, batch_size=options.draws))

    times = common.in_turns({"ours": ours, "pythae": theirs}, options.rounds)
    bounds, theirs_mean = ours(), theirs()
    # get_nll leaves cross-entropy's own normaliser out, as we do: it has none.
    spread = float(bounds.std()) / math.sqrt(len(bounds)) / 10  # of the draws, not of the images
    difference = float(bounds.mean()) - theirs_mean
    found = {
        "images": options.images,
        "draws": options.draws,
        "bound": {"ours": float(bounds.mean()), "pythae": theirs_mean},
        "difference": difference,
        "images per second": common.per_second(times, options.images),
        "times as fast": common.ratio(times, "ours", "pythae"),
        "machine": common.machine(),
    }
    print(json.dumps(found, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if abs(difference) > max(2 * spread, 0.005 * abs(theirs_mean)):
        raise SystemExit("the two bounds are not of the same model")


if __name__ == "__main__":
    main()
