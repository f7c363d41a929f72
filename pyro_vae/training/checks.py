"""The check before training: do these images suit this observation?"""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.links import Interval
from pyro_vae.vae import VAE

__all__ = ["check_images"]

_CAUSES = (
    "likeliest causes: levels 0 to 255 passed as floats (pass uint8, or divide by 255), "
    "or images scaled to -1..1 (add 1 and divide by 2)"
)


@torch.no_grad()
def check_images(vae: VAE, images: Tensor) -> None:
    """Refuse images that the observation gives no finite probability.

    Args:
        vae: The model.
        images: Levels (uint8, which always fit) or floats, (N, *data_shape).

    Raises:
        InputError: Naming the observation, the range found, the range wanted, and the two
            likeliest causes.
    """
    if images.dtype == torch.uint8:
        return
    low, high = float(images.min()), float(images.max())
    zeros = torch.zeros(1, vae.likelihood.numbers, device=images.device)
    likelihood = vae.likelihood(zeros)
    found = f"{vae.obs.title} wants images in {{}}, got values from {low:g} to {high:g}; {_CAUSES}"
    if any(isinstance(link, Interval) for link in vae.likelihood.links.values()):
        # A location that ends at the interval cannot reach data outside it, whatever the support.
        a, b = vae.obs.interval
        if low < a or high > b:
            raise InputError(found.format(f"[{a:g}, {b:g}]"))
    support = likelihood.support
    for start in range(0, len(images), 1000):
        if not bool(support.check(images[start : start + 1000]).all()):
            wanted = getattr(support, "base_constraint", support)
            raise InputError(found.format(_words(wanted)))
    for raw in (zeros + 1, zeros - 1):
        ends = torch.stack([torch.full(vae.data_shape, end) for end in (low, high)])
        log_prob = vae.likelihood(raw.expand(2, -1)).log_prob(ends.to(images))
        if not bool(torch.isfinite(log_prob).all()):
            raise InputError(
                f"{vae.obs.title} has an infinite density at {low:g} or {high:g}, where these "
                "images lie: pass uint8 levels, which are dequantised, or keep floats inside"
            )


def _words(support: object) -> str:
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        return f"[{float(low):g}, {float(high):g}]"
    return str(support)
