"""What the observations claim about training, at full size on the embedded digits.

    python -m experiments.observations --seeds 3 --epochs 56

prints one JSON line per run, of these parts (``--only`` picks some; 56 epochs are 2,016 steps):

``finite``: every stock observation at default settings, and every scope of an optimal σ: whether
the loss stayed finite, what training warned of, and the pictures' squared error (``--obs`` picks
some). Observations of real numbers see the digits as vectors of k/255.
``black``: what the mean reconstruction makes of pixels that are black in all digits, with our
continuous Bernoulli and with torch's.
``range``: the KL of a fixed σ, and bits per dimension of a learned one, on [0, 1] and [0, 255].
``floor``: an optimal σ per pixel above several floors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae.observations import TABLE

Row = dict[str, Any]
WIDE = (0.0, 255.0)


def _digits() -> tuple[Tensor, Tensor]:
    digits = pv.data.load("mnist-5k")
    return digits.train, digits.test


def _trained(
    head: pv.Head, seed: int, epochs: int, images: tuple[Tensor, Tensor], **options: Any
) -> tuple[pv.VAE, Any]:
    train, test = images
    torch.manual_seed(seed)
    vae = pv.VAE(tuple(train.shape[1:]), 20, head)
    return vae, pv.fit(vae, train, test, epochs=epochs, seed=seed, keep_best=False, **options)


def _scored(vae: pv.VAE, history: Any, test: Tensor) -> Row:
    scores = pv.evaluate(vae, test)
    keys = ("kind", "kl", "active_units", "mse", "mse_mean_image", "spread", "bits_per_dim")
    return {
        **{key: _rounded(scores[key]) for key in keys},
        "held_out": _rounded(scores[history.objective]),
        "training": _rounded(history.epochs()[-1][history.objective]),
        "collapsed": _rounded(scores["collapsed"]),
        "warnings": [message.split(":")[0] for message in history.warnings],
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _stock() -> dict[str, pv.Head]:
    heads = {name: pv.observations.get(name) for name in TABLE}
    for scope in ("image", "pixel"):
        name = f"normal-optimal-sigma per {scope}"
        heads[name] = pv.observations.get("normal-optimal-sigma", scale=scope)
    return heads


def finite(seeds: int, epochs: int, names: Sequence[str] = ()) -> Iterator[Row]:
    """Every stock observation, or those named."""
    heads = _stock()
    for name in names or heads:
        head = heads[name]
        images = _digits()
        if head.levels == "real":
            images = (images[0].flatten(1) / 255, images[1].flatten(1) / 255)
        for seed in range(seeds):
            try:
                vae, history = _trained(head, seed, epochs, images)
            except pv.TrainingError as error:
                yield {"obs": name, "seed": seed, "finite": False, "said": str(error)}
                continue
            row = _scored(vae, history, images[1])
            steps = len(history.steps)
            yield {"obs": name, "seed": seed, "finite": True, "steps": steps, **row}


def black(seeds: int, epochs: int) -> Iterator[Row]:
    """Pixels that are black in every digit."""
    train, test = _digits()
    always = (torch.cat([train, test]) == 0).all(0)
    heads = {
        "ours": pv.observations.get("continuous-bernoulli"),
        "torch's": pv.Head.of(dist.ContinuousBernoulli, "logits"),
    }
    for name, head in heads.items():
        for seed in range(seeds):
            vae, history = _trained(head, seed, epochs, (train, test))
            shown = vae.reconstruct(test)[:, always]
            means = {"mean": _rounded(float(shown.mean())), "largest": _rounded(float(shown.max()))}
            yield {"obs": name, "seed": seed, **means, **_scored(vae, history, test)}


def ranges(seeds: int, epochs: int) -> Iterator[Row]:
    """A fixed and a learned σ on two ranges."""
    get = pv.observations.get
    learned, started = "normal-learned-sigma", {"init_from_data": True}
    exp = pv.Param("dataset", link="exp")
    cases: dict[str, tuple[pv.Head, Row]] = {
        "fixed, [0, 1]": (get("normal"), {}),
        "fixed, [0, 255]": (get("normal", interval=WIDE), {}),
        "fixed, [0, 255], scaled": (get("normal", interval=WIDE, scaled=True), {}),
        "learned, [0, 1]": (get(learned, scale="dataset"), {}),
        "learned, [0, 255]": (get(learned, scale="dataset", interval=WIDE), {}),
        "learned, [0, 255], scaled": (
            get(learned, scale="dataset", interval=WIDE, scaled=True),
            {},
        ),
        "learned, exp, from data, [0, 1]": (get(learned, scale=exp), started),
        "learned, exp, from data, [0, 255]": (get(learned, scale=exp, interval=WIDE), started),
        "optimal per batch, [0, 1]": (get("normal-optimal-sigma"), {}),
        "optimal per batch, [0, 255]": (get("normal-optimal-sigma", interval=WIDE), {}),
    }
    images = _digits()
    for name, (head, options) in cases.items():
        for seed in range(seeds):
            vae, history = _trained(head, seed, epochs, images, **options)
            yield {"obs": name, "seed": seed, **_scored(vae, history, images[1])}


def floors(seeds: int, epochs: int) -> Iterator[Row]:
    """An optimal σ per pixel, above several floors."""
    images = _digits()
    for floor in (0.01, 1e-3, 1e-4, 1e-6):
        head = pv.observations.get("normal-optimal-sigma", scale=pv.Param("pixel", floor=floor))
        for seed in range(seeds):
            try:
                vae, history = _trained(head, seed, epochs, images)
            except pv.TrainingError as error:
                yield {"floor": floor, "seed": seed, "finite": False, "said": str(error)}
                continue
            row = _scored(vae, history, images[1])
            yield {"floor": floor, "seed": seed, "finite": True, **row}


PARTS: dict[str, Callable[..., Iterator[Row]]] = {
    "finite": finite,
    "black": black,
    "range": ranges,
    "floor": floors,
}


def main() -> None:
    """Print one JSON line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=56)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--obs", nargs="*", default=[], choices=list(_stock()), metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for part in options.only:
        names = {"names": options.obs} if part == "finite" else {}
        for row in PARTS[part](options.seeds, options.epochs, **names):
            print(json.dumps({"part": part, **row}), flush=True)


if __name__ == "__main__":
    main()
