"""Which observations suit data, tried on the data before anything is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae import networks
from pyro_vae.checks import check_images
from pyro_vae.data import Data, looked_at, plain
from pyro_vae.data.levels import is_binary
from pyro_vae.errors import InputError
from pyro_vae.observations import GROUPS, TABLE
from pyro_vae.vae import VAE

__all__: list[str] = []

_TRIED = 64


def suiting(data: Data) -> dict[str, list[str]]:
    """The stock observations that suit a data set's training images, those that fit best first.

    8-bit levels suit what is made for pixels; of floats each observation is tried on some images,
    among them those with the least and the greatest value.

    Args:
        data: Images or vectors.

    Returns:
        Names by the group of observations, a key of ``observations.GROUPS``; groups of which none
        fits are left out.
    """
    images: Tensor = plain(looked_at(data.train))
    groups = {group: [n for n, e in TABLE.items() if e.group == group] for group in GROUPS}
    if is_binary(images):
        return {"binary": groups["binary"]}
    if images.dtype == torch.uint8:
        return {group: groups[group] for group in ("pixels", "levels")}
    flat = images.flatten(1)
    ends = torch.stack([flat.amin(1).argmin(), flat.amax(1).argmax()])
    tried = torch.cat([images[ends], images[:_TRIED]])
    first = _order(images)
    order = sorted(GROUPS, key=lambda group: first.index(group) if group in first else len(first))
    found = {}
    for group in order:
        names = [name for name in groups[group] if _suits(name, tried)]
        if group in first and names:
            found[group] = names
    return found


def _order(images: Tensor) -> list[str]:
    """Groups that the values ask for, the likeliest first."""
    low, high = float(images.min()), float(images.max())
    whole = bool((images == images.round()).all())
    if whole and low >= 0 and high > 1:
        return ["counts", "real"]
    if low >= 0 and high <= 1:
        return ["pixels", "real"]
    if low > 0 and high >= 10 * low:
        return ["positive", "real"]
    return ["real"]


def _suits(name: str, images: Tensor) -> bool:
    vae = VAE(tuple(images.shape[1:]), 1, name, networks.MLP(hidden=1))
    try:
        check_images(vae, images)
    except InputError:
        return False
    return True
