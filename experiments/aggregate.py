"""Samples of digits from the prior, from a mixture of normals fitted to q(z), and in two stages.

    python -m experiments.aggregate
    python -m experiments.aggregate --epochs 10 --second-epochs 5 --threads 1

trains a VAE on the embedded digits and prints classifier-FID and classifier-KID of its mean
pictures against the 500 held-out digits, latents drawn in each of the ways.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import pyro_vae as pv
from pyro_vae.inference import mixture_prior, two_stage


def main() -> None:
    """Train, draw, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--second-epochs", type=int, default=30)
    parser.add_argument("--components", type=int, nargs="*", default=[1, 10, 30])
    parser.add_argument("--obs", default="normal-learned-sigma:dataset")
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    digits = pv.data.load("mnist-5k")
    judge = pv.metrics.classifier_for(digits)
    torch.manual_seed(options.seed)
    name, _, scope = options.obs.partition(":")
    obs = pv.observations.get(name, **({"scale": scope} if scope else {}))
    vae = pv.VAE((1, 28, 28), 20, obs)
    pv.fit(vae, digits.train, epochs=options.epochs, seed=options.seed)
    stage = two_stage(vae, digits.train, options.second_epochs, options.seed)

    def mixture(components: int) -> Tensor:
        fitted = mixture_prior(vae, digits.train, components, options.seed)
        z: Tensor = fitted.sample((options.size,))
        return z

    ways: dict[str, Callable[[], Tensor]] = {
        "prior": lambda: vae.prior().sample((options.size,)),
        **{f"mixture of {k}": partial(mixture, k) for k in options.components},
        "two stages": lambda: stage.sample(options.size),
        "codes of held-out digits": lambda: vae.encode(digits.test).sample(),
    }
    real = digits.test.float() / 255
    print(f"{'z from':26} {'FID':>8} {'KID':>9} {'± se':>8}")
    for way, latents in ways.items():
        torch.manual_seed(options.seed)
        with torch.no_grad():
            pictures = vae.picture(vae.decode(latents()), "mean")
        s = pv.metrics.score_pictures(pictures, real, judge)
        fid, kid, se = (s[f"classifier_{key}"] for key in ("fid", "kid", "kid_se"))
        print(f"{way:26} {fid:8.3f} {kid:9.5f} {se:8.5f}", flush=True)
    print(f"real halves: FID {s['classifier_fid_floor']:.3f}, KID {s['classifier_kid_floor']:.5f}")


if __name__ == "__main__":
    main()
