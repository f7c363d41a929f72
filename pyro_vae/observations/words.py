"""An observation in words: the options by which a command line or a file describes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import SCOPES, Head, Param
from pyro_vae.observations.lookup import get, resolve

__all__ = ["Words"]

_BINARISED = {"stochastic": "binary", "threshold": "threshold"}


@dataclass(frozen=True)
class Words:
    """What says which observation is meant, as text; the command line's options of these names.

    Attributes:
        obs: A name, or ``package.module:attribute``.
        sigma: A fixed scale, or ``"from-data"``.
        sigma_per: The scope of a learned scale.
        param: Texts ``NAME=VALUE`` with ``,floor=X`` and ``,link=NAME`` behind.
        binarise: ``"stochastic"``, ``"threshold"`` or None.
        range: ``"LOW,HIGH"`` or ``"standardised"``.
        scale_with_range: Whether the scale counts in units of the range's width.

    Example:
        >>> Words("normal", sigma="0.1").head().parameters[1][1].scope
        0.1
    """

    obs: str = "normal-learned-sigma"
    sigma: str | None = None
    sigma_per: str | None = None
    param: tuple[str, ...] = ()
    binarise: str | None = None
    range: str = "0,1"
    scale_with_range: bool = False

    def head(self, images: Tensor | None = None) -> Head:
        """The head that they describe, for the training images where they are known.

        Raises:
            InputError: If a word is unknown or does not suit the observation; it names the option.
        """
        changes = dict(map(_parameter, self.param))
        scale = _scale(self.sigma, self.sigma_per)
        if scale is not None:
            changes["scale"] = scale
        if self.binarise is not None and self.binarise not in _BINARISED:
            raise unknown("--binarise", self.binarise, _BINARISED)
        levels = None if self.binarise is None else _BINARISED[self.binarise]
        head = resolve(self.obs) if ":" in self.obs else get(self.obs)
        if levels is not None and head.levels != "grey":
            raise InputError(
                f"--binarise suits an observation of 0 and 1 as bernoulli, not {self.obs}"
            )
        interval = _interval(self.range, images)
        return head.replace(levels, interval, self.scale_with_range, **changes)


def _scale(sigma: str | None, per: str | None) -> Any:
    """What --sigma and --sigma-per say of the parameter ``scale``."""
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


def _interval(text: str, images: Tensor | None) -> tuple[float, float]:
    """``low,high``, or where 0 and 1 go when pixels are ``standardised``."""
    if text == "standardised":
        if images is None:
            return 0.0, 1.0
        if images.is_floating_point():
            raise InputError("--range standardised takes 8-bit images, these are floats")
        grey = images.float() / 255
        mean, deviation = float(grey.mean()), float(grey.std())
        return -mean / deviation, (1 - mean) / deviation
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise InputError(
            f"--range must be LOW,HIGH (as 0,1 or -1,1 or 0,255) or standardised, got {text!r}"
        ) from None
    return low, high


def _parameter(text: str) -> tuple[str, Any]:
    """``name=value[,floor=x][,link=name]`` as a name and a Param."""
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise InputError(f"--param must read NAME=VALUE, got {text!r}")
    value, *extras = rest.split(",")
    fields: dict[str, Any] = {"scope": value if value in SCOPES else _number(value, text)}
    for extra in extras:
        key, _, given = extra.partition("=")
        if key not in ("floor", "link"):
            raise unknown("field of --param", key, ("floor", "link"))
        fields[key] = given if key == "link" else _number(given, text)
    return name, Param(**fields)


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise unknown(f"scope or number in --param {text}:", value, SCOPES) from None
