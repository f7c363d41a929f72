"""A head from the options by which a command line or a file describes an observation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyro_vae.config import ObservationConfig
from pyro_vae.data import levels as data_levels
from pyro_vae.data import plain
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import SCOPES, Head, Param
from pyro_vae.observations.lookup import get, resolve
from pyro_vae.texts import TextError, Word, arguments

__all__ = ["head_of"]

_UNIT = (0.0, 1.0)
_BINARISED = {"stochastic": "binary", "threshold": "threshold", "fixed:SEED": "binary"}


def head_of(config: ObservationConfig, images: Loaded | None = None) -> Head:
    """The head that options describe, for the training images where they are known.

    Raises:
        InputError: If one is unknown or does not suit the observation; it names the option.

    Example:
        >>> head_of(ObservationConfig("normal", sigma="0.1")).parameters[1][1].scope
        0.1
    """
    changes: dict[str, Any] = dict(map(_parameter, config.param))
    scale = _scale(config.sigma, config.sigma_per)
    binarise = config.binarise if config.bits is None else "fixed:SEED"
    if binarise is not None and binarise not in _BINARISED:
        raise unknown("--binarise", binarise, _BINARISED)
    levels = None if binarise is None else _BINARISED[binarise]
    head = resolve(config.obs) if ":" in config.obs else get(config.obs)
    if levels is not None and head.levels != "grey":
        raise InputError(
            f"--binarise suits an observation of 0 and 1 as bernoulli, not {config.obs}"
        )
    if scale is not None:
        changes[head.scale or "scale"] = scale
    values = None if images is None else plain(images)
    interval = _interval(config.range, values, head)
    # Numbers of another unit have a scale of that unit.
    own = values is not None and values.is_floating_point() and interval != _UNIT
    return head.replace(levels, interval, config.scale_with_range or own, **changes)


def _scale(sigma: str | None, per: str | None) -> Param | float | str | None:
    """What --sigma and --sigma-per say of the scale."""
    if sigma == "from-data":
        return Param(per or "dataset", source="data")
    if sigma is None:
        return per
    if per is not None:
        raise InputError("--sigma fixes the scale, --sigma-per learns it: give one of them")
    try:
        value = float(sigma)
    except ValueError:
        raise InputError(f"--sigma must be a number or 'from-data', got {sigma!r}") from None
    if not value > 0:
        raise InputError(f"--sigma must be positive, got {sigma}")
    return value


def _interval(text: str, values: Tensor | None, head: Head) -> tuple[float, float]:
    """``low,high``, or where 0 and 1 go when values are ``standardised``."""
    if text == "standardised":
        if values is None:
            return _UNIT
        if values.is_floating_point():
            return _suiting(values, head)
        grey = values.float() / 255
        mean, deviation = float(grey.mean()), float(grey.std())
        return -mean / deviation, (1 - mean) / deviation
    try:
        low, high = map(float, Word(text).parts())
    except ValueError:
        raise InputError(
            f"--range must be LOW,HIGH (as 0,1 or -1,1 or 0,255) or standardised, got {text!r}"
        ) from None
    return low, high


def _suiting(values: Tensor, head: Head) -> tuple[float, float]:
    """The interval that numbers of a unit of their own have for an observation."""
    levels = data_levels.get(head.levels)
    if levels.interval_of is None:
        raise InputError(
            f"--range standardised of floats suits real-normal or a Normal, not {head.title}"
        )
    low, high = levels.interval_of(values)
    if not low < high:
        raise InputError(f"--range standardised: all values are {low:g}, which says nothing")
    # Where a location ends with the range, held-out values lie beyond the training ones.
    margin = (high - low) / 10 if levels.location == "sigmoid" else 0.0
    return low - margin, high + margin


def _parameter(text: str) -> tuple[str, Param]:
    """``name=value[,floor=x][,link=name]`` as a name and a Param."""
    name, rest = Word(text).pair("=")
    try:
        values, options = arguments(rest, 1, ("floor", "link"), "accepted: floor= and link=")
    except TextError as error:
        raise InputError(f"--param {text}: {error}") from None
    if not name or not values or not values[0]:
        raise InputError(f"--param must read NAME=VALUE, got {text!r}")
    value = str(values[0])
    fields: dict[str, Any] = {"scope": value if value in SCOPES else _number(value, text)}
    for key, given in options.items():
        fields[key] = str(given) if key == "link" else _number(given, text)
    return str(name), Param(**fields)


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise unknown(f"scope or number in --param {text}:", value, SCOPES) from None
