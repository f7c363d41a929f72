"""Baselines: what an observation reaches without any latents, by the best constant prediction."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from pyro_vae.data import context, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo.scores import BLOCK, block_noise, observed_block
from pyro_vae.heads import BuiltHead
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.observed import Observed, masked
from pyro_vae.vae import VAE

__all__ = [
    "Constant",
    "best_constants",
    "constant_score",
]


_LEAST, _NUMBERS = 500, 500 * 28 * 28
"""Images, and numbers in them, that a constant prediction is found on."""

_STEPS = 120
"""Of resilient backpropagation (Riedmiller & Braun 1993) on all of them at once, at most."""


class Constant(NamedTuple):
    """A prediction that does not depend on z.

    Attributes:
        reconstruction: Mean of log p(x) under it, nats per image: the collapsed model's ELBO.
        raw: Its raw output, (numbers of the head,).
        head: The built head with its own learned numbers at their best.
        images: How many images it was found on, the first ones.
    """

    reconstruction: float
    raw: Tensor
    head: BuiltHead
    images: int


def best_constants(vae: VAE, images: Loaded) -> dict[str, Constant]:
    """The best constant prediction of each observed site, under its own observation.

    This is what a collapsed VAE reaches: its KL is 0 and its reconstruction their sum.

    Args:
        vae: The model; only its observations are used, and not changed.
        images: Levels (uint8) or floats, (N, *data_shape), or a batch. Where levels get noise or
            images are floats the first ones are used, 500, or more of fewer numbers; without noise
            all of them count, by how often each level occurs at each pixel.

    Returns:
        By the site's name.
    """
    return {
        name: _fit(observed, head, x, mask, everything=True)
        for name, observed, head, x, mask in vae.parts_of(images)
    }


def predict_half(vae: VAE, images: Loaded) -> Constant:
    """Predicting the middle of the range at every pixel, with the scale that suits it best.

    Arguments are as for :func:`best_constants`; the VAE is of one observation.
    """
    ((_, observed, head, x, mask),) = vae.parts_of(images)
    return _fit(observed, head, x, mask, everything=False)


@torch.no_grad()
def constant_score(vae: VAE, constants: Mapping[str, Constant], images: Loaded) -> float:
    """What a constant prediction that was found on other images reaches on these.

    Args:
        vae: The model; only its observations are used.
        constants: The prediction of each observed site.
        images: Levels (uint8) or floats, (N, *data_shape).

    Returns:
        Mean of log p(x) under it, nats per image, under the noise that the model is scored with.
    """
    total = 0.0
    for block, part in enumerate(images.split(BLOCK)):
        with block_noise(block, part.device):
            x, _ = observed_block(vae, part)
        for name, observed, _, value, mask in vae.parts_of(x):
            constant, seen = constants[name], observed.filled(value, mask)
            likelihood = masked(constant.head(constant.raw.expand(len(part), -1), seen), mask)
            total += float(likelihood.log_prob(seen).double().sum())
    return total / len(images)


@torch.enable_grad()
def _fit(
    observed: Observed,
    built: BuiltHead,
    images: Tensor,
    mask: Tensor | None,
    everything: bool,
) -> Constant:
    limit = max(_LEAST, _NUMBERS // math.prod(observed.shape))
    head = copy.deepcopy(built).requires_grad_(True)
    head.offset = None
    raw = torch.zeros(head.numbers, device=images.device)
    # The first numbers are the grid's: at 0 they stand in the middle of the range.
    held = 0 if everything else head.grid_numbers
    with fixed_noise(noise("best constant"), images.device):
        x, frequencies = _counted(observed, head, images, mask, limit)
        mask = None if mask is None else mask[:limit]
        if frequencies is None and mask is None and not head.own_x:
            x = _two_for_all(head(raw[None]), x)
        # Not exactly 0, where the components of a mixture stay alike for ever.
        free = (0.01 * torch.randn_like(raw[held:])).requires_grad_(True)
    parameters = [p for p in (free, *head.parameters()) if p.numel()]

    def loss() -> Tensor:
        likelihood = head(torch.cat([raw[:held], free]).expand(1, -1), x)
        if frequencies is None:
            value: Tensor = -masked(likelihood, mask).log_prob(x).mean()
        else:
            value = -(frequencies * likelihood.base_dist.log_prob(x)).sum()
        return value

    if parameters:
        # Pixels are separate problems of very different curvature: sign-based steps suit them.
        optimiser = torch.optim.Rprop(parameters, lr=0.1)
        reached = [math.inf]
        while len(reached) <= _STEPS and not _settled(reached):
            optimiser.zero_grad()
            value = loss()
            value.backward()
            optimiser.step()
            reached.append(float(value.detach()))
    with torch.no_grad():
        known = len(images) if frequencies is not None else min(limit, len(images))
        return Constant(-float(loss()), torch.cat([raw[:held], free]).detach(), head, known)


def _settled(reached: list[float]) -> bool:
    """Whether the last ten steps gained next to nothing."""
    best = min(reached[-10:])
    return len(reached) > 20 and min(reached[:-10]) - best < 1e-5 * max(100, abs(best))


def _counted(
    observed: Observed, head: BuiltHead, images: Tensor, mask: Tensor | None, limit: int
) -> tuple[Tensor, Tensor | None]:
    """Data to fit and, where levels get no noise, how often each occurs at each pixel."""
    sites = head.grid == observed.shape
    if images.dtype != torch.uint8 or observed.levels.noisy or not sites or mask is not None:
        some = None if mask is None else mask[:limit]
        return observed.filled(observed.observe(images[:limit]), some), None
    n, d = len(images), math.prod(observed.shape)
    counts = torch.zeros(d * 256, dtype=torch.int64, device=images.device)
    first = 256 * torch.arange(d, device=images.device)
    for part in images.flatten(1).split(1000):
        counts += (part + first).flatten().bincount(minlength=d * 256)
    by_level = counts.reshape(d, 256).T
    there = by_level.any(1)
    levels = there.nonzero().to(torch.uint8).expand(-1, d)
    x = observed.observe(levels.reshape(-1, *observed.shape))
    return x, (by_level[there] / n).reshape(x.shape).to(x.dtype)


@torch.no_grad()
def _two_for_all(likelihood: Distribution, x: Tensor) -> Tensor:
    """Two rows with the mean log-density of all, whatever the parameters: μ + σ and μ − σ of each
    site, where it is quadratic in x; else the rows themselves.
    """
    pixels = getattr(likelihood, "base_dist", None)
    if getattr(type(pixels), "log_prob", None) is not Normal.log_prob:
        return x
    variance, mean = torch.var_mean(x.double(), 0, correction=0)
    return torch.stack([mean + variance.sqrt(), mean - variance.sqrt()]).to(x.dtype)


def start_at(vae: VAE, constants: Mapping[str, Constant], images: Loaded) -> None:
    """Let a model start at a constant prediction: as an offset under the decoder's raw output.

    The best σ of a pixel that is always black lies at its floor, from where no gradient would ever
    move it: numbers whose links are flat there start nearer to 0.

    Args:
        vae: The model.
        constants: The prediction of each observed site.
        images: Training images, (N, *data_shape).
    """
    for site, _, head, _, _ in vae.parts_of(images):
        found = copy.deepcopy(constants[site].head)
        raw = constants[site].raw.clone()
        _make_movable(found, raw)
        head.offset = raw
        with torch.no_grad():
            for name, value in head.named_parameters():
                value.copy_(found.get_parameter(name))


_FLAT = 1e-3
"""Of a link's slope at 0; numbers hardly move where it is less."""


_PULLS = 60  # each to nine tenths: from thousands to tens


def _make_movable(head: BuiltHead, raw: Tensor) -> None:
    """Bring numbers nearer to 0, in place, until their links have slopes."""
    numbers = [raw, *head.learned.values()]

    def slopes(values: Sequence[Tensor]) -> list[Tensor]:
        leaves = [value.detach().clone().requires_grad_(True) for value in values]
        made = head.values(leaves[0][None], dict(zip(head.learned, leaves[1:], strict=True)))
        # All leaves are in it, also where no parameter is made of any; and no plain sums of what
        # sums to 1 whatever they are.
        mixed = (part * _weights(part) for part in made.values())
        total = sum((part.sum() for part in mixed), sum(0 * leaf.sum() for leaf in leaves))
        return [slope.abs() for slope in torch.autograd.grad(cast(Tensor, total), leaves)]

    with torch.enable_grad():
        least = [_FLAT * slope for slope in slopes([torch.zeros_like(n) for n in numbers])]
    for _ in range(_PULLS):
        with torch.enable_grad():
            flat = [slope < low for slope, low in zip(slopes(numbers), least, strict=True)]
        if not any(bool(each.any()) for each in flat):
            return
        with torch.no_grad():
            for number, each in zip(numbers, flat, strict=True):
                number[each] *= 0.9


def _weights(values: Tensor) -> Tensor:
    """Fixed ones, each of its own: in [1, 3]."""
    each = torch.arange(values.numel(), device=values.device, dtype=values.dtype)
    return 2 + each.cos().reshape(values.shape)


@torch.no_grad()
def freeze_residuals(vae: VAE, images: Loaded) -> None:
    """Set scales that are residuals to those of the training images at a latent drawn for each.

    Args:
        vae: The model, in evaluation mode.
        images: Levels (uint8) or floats, (N, *data_shape).
    """
    squared = torch.zeros(vae.data_shape, dtype=torch.float64, device=images.device)
    for block, part in enumerate(images.split(BLOCK)):
        with fixed_noise(noise("residuals", block=block), images.device):
            x = vae.observe(part)
            prediction = vae.decode(vae.encode(x).rsample(), **context(x)).mean
        squared += (plain(x) - prediction).square().sum(0)
    vae.likelihood.freeze((squared / len(images)).float())
