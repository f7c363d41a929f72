"""Curves of an observation: what it makes of each number that a decoder may say."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import levels as data_levels
from pyro_vae.distributions.normalizers import log_normalizer
from pyro_vae.errors import InputError
from pyro_vae.heads import BuiltHead, Head
from pyro_vae.heads.roles import Parameter
from pyro_vae.noise import fixed_noise, noise

__all__ = ["Curves", "Errors", "curves_of"]

LEVELS = (0, 26, 128, 230, 255)
"""Levels that the log-densities are drawn for: 0, .1, .5, .9 and 1 of the range."""


@dataclass(frozen=True)
class Errors:
    """A loss whose scale is the error itself.

    Attributes:
        error: x − loc, (E,).
        loss: The loss there in nats, (E,).
        gradient: Its derivative in the error, (E,).
    """

    error: Tensor
    loss: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Curves:
    """Curves of one site; R values of one raw number, every other raw number at 0.

    Attributes:
        head: The observation.
        kind: What it is on grey pixels: ``"density"``, ``"mass"`` or ``"loss"``.
        name: The parameter on the axis.
        others: Of the other parameters, (name, value in words).
        parameter: Its values, (R,): the one on the data's range where there is one.
        log_prob: (label, log-density or minus the loss in nats (R,)) for several x.
        log_normalizer: In nats, (R,); None for a family without one.
        pictures: Mean and mode, those that exist: (kind, what a picture shows (R,)).
        raw: Raw numbers from −1000 to 1000, (S,).
        reach: What a picture shows at these, by its mean, (S,).
        errors: Where a scale is a residual; None otherwise.
    """

    head: Head
    kind: str
    name: str
    others: tuple[tuple[str, str], ...]
    parameter: Tensor
    log_prob: tuple[tuple[str, Tensor], ...]
    log_normalizer: Tensor | None
    pictures: tuple[tuple[str, Tensor], ...]
    raw: Tensor
    reach: Tensor | None
    errors: Errors | None


def curves_of(head: Head, points: int = 1201) -> Curves:
    """The curves of an observation, for its first raw number that its log-probability depends on.

    The first number of a mixture's weights, for one, does nothing while its components are alike.
    Scales that come from the data or from errors are those of pixels that are spread evenly over
    the range, width/√12.

    Args:
        head: The observation.
        points: Raw numbers from −12 to 12.

    Raises:
        InputError: If nothing of it comes from the decoder.

    Example:
        >>> from pyro_vae import observations
        >>> curves = curves_of(observations.get("continuous-bernoulli"), points=3)
        >>> curves.name, curves.log_normalizer
        ('probs', tensor([2.4849, 0.6931, 2.4849]))
    """
    with fixed_noise(noise("curves"), torch.device("cpu")):
        built = head.build((1,)).eval()
    width = head.interval[1] - head.interval[0]
    for set_scale in (built.estimate, built.freeze):
        set_scale(torch.full((1,), width**2 / 12))
    raw = torch.linspace(-12, 12, points)
    tail = torch.logspace(-1, 3, 200)
    far = torch.cat([-tail.flip(0), torch.zeros(1), tail])
    with torch.no_grad():
        swept = _first_that_matters(built)
        name = swept[0]
        p = built(_at(built, raw, swept))
        axis, parameter = _axis(built, raw, p, name)
        log_normalizer_ = log_normalizer(getattr(p, "base_dist", p))
        pictures = [(kind, _shown(head, p, kind)) for kind in ("mean", "mode")]
        return Curves(
            head,
            head.kind_on(torch.tensor(LEVELS, dtype=torch.uint8)),
            axis,
            tuple(_others(built, name)),
            parameter,
            tuple(_log_probs(built, raw, swept)),
            None if log_normalizer_ is None else log_normalizer_.flatten(),
            tuple((kind, value) for kind, value in pictures if value is not None),
            far,
            _shown(head, built(_at(built, far, swept)), "mean"),
            _errors(built, width) if "residual" in built.origins() else None,
        )


def _at(built: BuiltHead, raw: Tensor, swept: tuple[str, int]) -> Tensor:
    numbers = torch.zeros(len(raw), built.numbers)
    numbers[:, swept[1]] = raw
    return numbers


def _first_that_matters(built: BuiltHead) -> tuple[str, int]:
    """The parameter and the index of the raw number that the curves are drawn along."""
    starts = list(_starts(built))
    if not starts:
        raise InputError(f"nothing of {built.head.title} comes from the decoder: no curve to draw")
    for swept in starts:
        drawn = _log_probs(built, torch.tensor([-3.0, 0.0, 3.0]), swept)
        if any(float(value.max() - value.min()) > 1e-6 for _, value in drawn):
            return swept
    return starts[0]


def _starts(built: BuiltHead) -> Iterator[tuple[str, int]]:
    """Where each parameter's raw numbers start: grids come before the numbers of an image."""
    start = 0
    for scope in ("pixel", "image"):
        for name, param in built.head.parameters:
            if param.scope == scope and param.origin == "learned":
                yield name, start
                start += param.features or math.prod(built.shapes[name])


def _axis(built: BuiltHead, raw: Tensor, p: Distribution, name: str) -> tuple[str, Tensor]:
    """The name of what the raw number makes, and its values."""
    head = built.head
    if head.parameter is not None:
        value = head.parameter(p).flatten()
        return _name_of(p, value), value
    if built.shapes[name] or dict(head.parameters)[name].features is not None:
        return f"first raw number of {name}", raw
    return name, built.links[name](raw)


def _name_of(p: Distribution, value: Tensor) -> str:
    """The name under which a distribution has these values."""
    base = getattr(p, "base_dist", p)
    for name in getattr(base, "arg_constraints", {}):
        own = getattr(base, name, None)
        if isinstance(own, Tensor) and torch.equal(own.flatten(), value):
            return str(name)
    return "parameter on the data's range"


def _others(built: BuiltHead, swept: str) -> list[tuple[str, str]]:
    """The other parameters, each with its value in words; those of several numbers are left out."""
    said = []
    for name, param in built.head.parameters:
        if name == swept or built.shapes[name]:
            continue
        if param.origin == "learned":
            if param.features is None:
                said.append((name, f"{float(built.links[name](torch.zeros(()))):.3g}"))
        elif param.origin == "residual" and param.scope != "batch":
            said.append((name, "|x − loc|"))
        else:
            value = float(built.fixed(name).flatten()[0])
            why = "" if param.origin == "fixed" else " (that of evenly spread pixels)"
            said.append((name, f"{value:.3g}{why}"))
    return said


def _log_probs(built: BuiltHead, raw: Tensor, swept: tuple[str, int]) -> list[tuple[str, Tensor]]:
    """Log-probabilities of several x against the raw number, each x once."""
    numbers = _at(built, raw, swept)
    discrete = bool(built(numbers).support.is_discrete)
    drawn: dict[str, Tensor] = {}
    for level in LEVELS:
        x = _observed(built.head, level, discrete)
        values = x.expand(len(raw), 1)
        drawn[f"x = {float(x):.3g}"] = built(numbers, values).log_prob(values)
    return list(drawn.items())


def _observed(head: Head, level: int, discrete: bool) -> Tensor:
    """A level as the observation sees it; where data are no levels, as far along the range."""
    levels, (low, high) = data_levels.get(head.levels), head.interval
    if levels.eight_bit or levels.noisy or discrete:
        return levels.observe(torch.tensor([level], dtype=torch.uint8), None, head.interval)
    return torch.tensor([low + (high - low) * level / 255])


def _shown(head: Head, p: Distribution, kind: str) -> Tensor | None:
    """What a picture of this kind shows; None where the distribution has none."""
    try:
        value = head.display(p) if kind == "mean" else p.mode
    except (NotImplementedError, AttributeError):
        return None
    shown = data_levels.get(head.levels).shown(value, head.interval).flatten()
    return shown if bool(torch.isfinite(shown).any()) else None


def _errors(built: BuiltHead, width: float) -> Errors:
    """The loss whose scale is the error's own size, and its derivative in the error."""
    own = copy.deepcopy(built).train()  # a scale of the batch follows the batch only in training
    raw = torch.zeros(1, own.numbers)
    where = Parameter(str(built.location))  # no residual is without one
    loc = float(where(own(raw)).flatten()[0])
    error = torch.linspace(-width / 2, width / 2, 400)  # an even number: none is 0
    losses, gradients = [], []
    for value in error:
        e = value.clone().requires_grad_(True)
        with torch.enable_grad():
            x = (loc + e).reshape(1, 1)
            loss = -own(raw, x).log_prob(x).sum()
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, e)[0])
    return Errors(error, torch.stack(losses), torch.stack(gradients))
