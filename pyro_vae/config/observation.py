"""Which observation distribution a run has, in words."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_vae.config.fields import number_or_text, option
from pyro_vae.errors import InputError, shown
from pyro_vae.texts import Word

__all__ = ["ObservationConfig"]


@dataclass(frozen=True)
class ObservationConfig:
    """What says which observation is meant, as text."""

    obs: str = option(
        "normal-learned-sigma",
        "Observation distribution p(x|z); see `pyro-vae obs`; or package.module:attribute, a "
        "pyro_vae.Head of your own.",
        metavar="NAME",
    )
    sigma: str | None = option(
        None,
        "Fixed scale: short for --param scale=X. 'from-data' is the standard deviation of the "
        "training data about each pixel's mean, with --sigma-per dataset or dimension.",
        metavar="X|from-data",
        read=number_or_text("sigma"),
    )
    sigma_per: str | None = option(
        None,
        "Learn the scale per dataset, dimension, image or pixel: short for --param scale=SCOPE.",
        metavar="SCOPE",
    )
    param: tuple[str, ...] = option(
        (),
        "A parameter: a number fixes it, a scope (dataset, dimension, image, pixel) learns it; "
        "',floor=X' and ',link=NAME' may follow.",
        metavar="NAME=VALUE",
    )
    binarise: str | None = option(
        None,
        "Make pixels 0 or 1: at random with probability k/255 (stochastic), at 1/2 (threshold), or "
        "at random with validation and test bits drawn once, those of numpy's RandomState(SEED).",
        metavar="stochastic|threshold|fixed:SEED",
    )
    range: str = option(
        "0,1",
        "Where black and white lie for the observation: 0,1 or -1,1 or 0,255 or standardised; of "
        "floats where their own numbers lie, as -1024,3071: scores stay in their unit.",
        metavar="LOW,HIGH",
    )
    scale_with_range: bool = option(
        False, "Count the scale, its floor and its default in units of the range's width."
    )

    @property
    def bits(self) -> int | None:
        """The seed of bits that are drawn once; None where there are no such.

        Raises:
            InputError: If it is none of numpy's.
        """
        way, seed = Word(self.binarise or "").pair(":")
        if way != "fixed":
            return None
        number = "" if seed is None else seed
        known = number.isascii() and number.isdigit() and len(number) <= 10
        if not known or int(number) >= 2**32:
            raise InputError(
                "--binarise fixed:SEED takes a seed from 0 to 2**32 - 1, got "
                f"{shown(self.binarise)}"
            )
        return int(number)
