"""An observation of one's own in five lines: any Pyro distribution, as a head."""

from __future__ import annotations

import pyro.distributions as dist
import torch

import pyro_vae as pv

# A parameter is a number (fixed), or has a scope: one learned number per "dataset", "dimension" of
# the data, "image", or "pixel" of every image. The links to each parameter's range are chosen by
# the distribution's own constraints; pv.Param(link=...) asks for another.
student = pv.Head.of(
    dist.StudentT,
    df=5.0,
    loc=pv.Param(scope="pixel", link="sigmoid"),
    scale="dataset",
)


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500) and compare with the stock normal's score."""
    digits = pv.data.load("mnist-5k")
    figures = {}
    for name, obs in {"Student": student, "normal": "normal-learned-sigma"}.items():
        torch.manual_seed(0)
        vae = pv.VAE((1, 28, 28), latent_dim=20, obs=obs)
        pv.fit(vae, digits.train[:images], epochs=epochs, init_from_data=True)
        scores = pv.evaluate(vae, digits.test, parts=())
        # Both are densities on [0, 1]: in bits per dimension of 8-bit images they compare.
        figures[f"{name}, held-out bits per dimension"] = scores["bits_per_dim"]
        figures[f"{name}, the same of a constant prediction"] = scores["collapsed_bits_per_dim"]
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
