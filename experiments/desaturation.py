"""Do FID, KID and the Inception Score see desaturated pictures?

    python -m experiments.desaturation --epochs 60

A continuous Bernoulli clamped as in torch, at float32, has no mean below 0.0627 or above 0.9373:
black becomes a dark grey, white a light one. Pictures of digits are brought to [0.06, 0.94], by
clamping (what such a clamp does to means) and by squeezing (a weaker contrast everywhere), and
scored as before. The pictures are real digits, and means and samples of VAEs: one with an exact
continuous Bernoulli, one with a Bernoulli.

Two classifiers score them: this package's, and the same network trained on digits half of which
had their range squeezed at random, which has learned that contrast does not matter. Each prints one
JSON line per set of pictures. ``dark`` and ``light`` are the fractions of pixels below 0.02 and
above 0.98.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae.metrics.classifier import Classifier, classifier_for
from pyro_vae.metrics.sample_scores import draw, score_pictures

LOW, HIGH = 0.06, 0.94
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda pictures: pictures,
    "clamped": lambda pictures: pictures.clamp(LOW, HIGH),
    "squeezed": lambda pictures: LOW + (HIGH - LOW) * pictures,
}


def contrast_augmented(digits: pv.data.Data, seed: int = 0) -> pv.data.Data:
    """The digits as floats, half of the training images with black and white drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    images = digits.train.float() / 255
    ends = torch.rand(2, len(images), 1, 1, 1, generator=generator) * 0.12
    ends = ends * (torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5)
    squeezed = ends[0] + (1 - ends.sum(0)) * images
    return digits._replace(train=squeezed, test=digits.test.float() / 255)


def pictures_of(digits: pv.data.Data, epochs: int, n: int, seed: int) -> dict[str, Tensor]:
    """Real digits, and what trained VAEs draw."""
    found = {"real": digits.train[:n].float() / 255}
    for obs, kinds in {"continuous-bernoulli": ("mean", "sample"), "bernoulli": ("mean",)}.items():
        torch.manual_seed(seed)
        vae = pv.VAE((1, 28, 28), 20, obs)
        pv.fit(vae, digits.train, epochs=epochs, seed=seed)
        found |= {f"{obs} {kind}": draw(vae, n, kind, seed) for kind in kinds}
    return found


def scored(pictures: Tensor, real: Tensor, classifier: Classifier) -> dict[str, Any]:
    """The scores, rounded."""
    scores = score_pictures(pictures, real, classifier)
    wanted = ("fid", "fid_infinite", "fid_floor", "kid", "kid_se", "is", "is_se", "is_real")
    row = {name: round(scores[f"classifier_{name}"], 4) for name in wanted}
    return row | {name: round(scores[name], 4) for name in ("dark", "light")}


def main() -> None:
    """Print one JSON line per classifier and set of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    digits = pv.data.load("mnist-5k")
    real = digits.test.float() / 255
    sets = pictures_of(digits, options.epochs, options.count, options.seed)
    for name, data in {"plain": digits, "contrast": contrast_augmented(digits)}.items():
        classifier = classifier_for(data, options.cache)
        for what, pictures in sets.items():
            for change, function in CHANGES.items():
                row = scored(function(pictures), real, classifier)
                said = {"classifier": name, "accuracy": classifier.accuracy, "pictures": what}
                print(json.dumps({**said, "change": change, **row}), flush=True)


if __name__ == "__main__":
    main()
