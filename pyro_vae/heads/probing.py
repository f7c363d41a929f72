"""Trials of a family at a head's making: what it makes of its parameters, and what it refuses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError, reason
from pyro_vae.heads.families import Whole

if TYPE_CHECKING:
    from pyro_vae.heads.built import BuiltHead
    from pyro_vae.heads.head import Head

__all__: list[str] = []

_REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, IndexError)
"""What families raise of parameters that they do not take; NotImplementedError is among them."""


def site_event(head: Head, values: dict[str, Tensor]) -> tuple[int, ...]:
    """The shape of the events that a family makes in a site.

    Args:
        head: Whose family it is.
        values: One of each parameter's.

    Raises:
        InputError: If the family refuses them, makes none of Pyro's distributions, or has other
            classes than the head's interval says.
    """
    try:
        distribution = head.family(**values)
        _check_pyros(head, distribution)
        _check_classes(head, distribution)
        return tuple(distribution.event_shape)
    except InputError:
        raise
    except _REFUSALS as error:
        raise _refused(head, error) from error


@torch.no_grad()
def try_batch(built: BuiltHead) -> None:
    """Find out whether a family takes a batch, or wants its parameters spread to it.

    Raises:
        InputError: If it takes none that way either.
    """
    if isinstance(built.head.family, Whole):
        return
    raw = torch.zeros(2, built.numbers)
    if raw.device.type == "meta":  # where there are no values to find out by
        return
    try:
        built(raw).expand((2,))  # as Pyro does at every site in a plate
    except _REFUSALS as error:
        built.spread = True
        try:
            built(raw).expand((2,))
        except _REFUSALS:
            raise _refused(built.head, error) from error


def _refused(head: Head, error: Exception) -> InputError:
    said = reason(error).rstrip(".")
    return InputError(f"{head.title} refuses its parameters: {said}")


def _check_pyros(head: Head, distribution: object) -> None:
    if not hasattr(distribution, "to_event"):
        kind = type(distribution).__name__
        ours = f"pyro.distributions.{kind}"
        if not hasattr(dist, kind):
            ours = "pyro.distributions.TorchDistribution"
        raise InputError(f"{head.title} makes a {kind} that is none of Pyro's: make it of {ours}")


def _check_classes(head: Head, distribution: Distribution) -> None:
    """An encoder that sees a number for each class must see those that there are."""
    if data_levels.get(head.levels).width(head.interval) == 1:
        return
    low, high = head.interval
    top = float(torch.as_tensor(getattr(distribution.support, "upper_bound", math.inf)).max())
    if (low, high) != (0.0, top):
        raise InputError(
            f"{head.title} has the classes 0 to {top:g}: its interval must be "
            f"(0, {top:g}), got ({low:g}, {high:g})"
        )
