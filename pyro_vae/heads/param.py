"""Parameters of a family and their scopes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from pyro_vae import links
from pyro_vae.errors import InputError, unknown

__all__ = ["SCOPES", "Param"]

SCOPES = ("dataset", "dimension", "batch", "image", "pixel")
"""What one value of a parameter may be shared by."""

SOURCES = {
    "learned": ("dataset", "dimension", "image", "pixel"),
    "data": ("dataset", "dimension"),
    "residual": ("batch", "image", "pixel"),
}
"""Where a parameter's values come from, and the scopes that each allows."""

ROLES = ("location", "scale")
"""What a parameter may say of the data whatever its name is."""


@dataclass(frozen=True)
class Param:
    """How one parameter of a family comes about; a field left at None keeps the head's own.

    Attributes:
        scope: A number (fixed), ``"dataset"`` (one learned number), ``"dimension"`` (one learned
            number per site), ``"image"`` or ``"pixel"`` (from the decoder, per image or per site
            and image). ``"batch"`` is for residuals only. A new head's default is ``"pixel"``.
        shape: Its shape inside a site; a new head's default is ().
        link: A name of ``links.NAMES``, or a transform or function raw → value; a new head's
            default is a sigmoid onto the data's range for a location there, else the one of the
            family's ``arg_constraints``.
        floor: Smallest value of a positive parameter; default 0.01 per pixel, and per dimension of
            pixels, else 0.001.
        source: ``"learned"`` (the default of a new head), ``"data"`` (the standard deviation of
            the training data about each site's mean, fixed) or ``"residual"`` (the root mean
            square of x − loc over what the scope shares: the optimal σ of σ-VAE, Rybkin et al.
            2021).
        role: ``"location"`` or ``"scale"``: what it says of the data. Those that torch calls
            ``loc`` and ``scale`` need not declare it. A location has its link from the data's
            range, a residual is the distance to it, and ``--sigma`` is about the scale.
        features: Raw numbers from which a linear layer makes the parameter, one layer shared by
            all sites; by default the raw numbers are the parameter's own.

    Raises:
        InputError: If the scope is unknown, or a number or floor is not finite.
    """

    scope: str | float | None = None
    shape: tuple[int, ...] | None = None
    link: str | links.Link | None = None
    floor: float | None = None
    source: str | None = None
    features: int | None = None
    role: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.scope, str):
            if self.scope not in SCOPES:
                raise unknown("scope", self.scope, SCOPES)
        elif self.scope is not None and not math.isfinite(self.scope):
            raise InputError(f"a fixed parameter must be finite, got {self.scope}")
        if self.source is not None and self.source not in SOURCES:
            raise unknown("source", self.source, SOURCES)
        if self.floor is not None and not (math.isfinite(self.floor) and self.floor > 0):
            raise InputError(f"a floor must be positive and finite, got {self.floor}")
        if self.role is not None and self.role not in ROLES:
            raise unknown("role", self.role, ROLES)
        if self.features is not None and self.features < 1:
            raise InputError(f"features must be a positive integer, got {self.features}")

    @classmethod
    def of(cls, value: Param | str | float | tuple[int, ...]) -> Param:
        """A parameter from its short form: a number, a scope's name, or its shape in a site."""
        if isinstance(value, Param):
            return value
        if isinstance(value, tuple):
            return cls(shape=value)
        return cls(scope=value)

    def over(self, own: Param) -> Param:
        """This parameter with ``own``'s fields where this one has None."""
        ours = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(own, **{name: value for name, value in ours.items() if value is not None})

    @property
    def origin(self) -> str:
        """Its source, ``"learned"`` where it says none, or ``"fixed"`` for a number."""
        return (self.source or "learned") if isinstance(self.scope, str) else "fixed"

    def check(self, title: str, name: str) -> None:
        """Refuse a scope that its source does not allow.

        Raises:
            InputError: Naming the parameter and the scopes that it may have.
        """
        if self.origin in SOURCES and self.scope not in SOURCES[self.origin]:
            accepted = ", ".join(SOURCES[self.origin])
            raise InputError(
                f"{name} of {title} is {self.origin}, so it may be per {accepted}; got {self.scope}"
            )
        if self.features is not None and self.scope not in ("image", "pixel"):
            raise InputError(
                f"{name} of {title} is made from features of the decoder, so it may be per image "
                f"or pixel; got {self.scope}"
            )

    def floor_or_default(self, pixels: bool = True) -> float:
        """The floor, or the one that its scope needs.

        A σ per pixel can shrink around single predictable pixels and needs a higher one: with
        0.001 held-out likelihoods diverge. So it is per dimension where training images have pixels
        that are always black, and others a stroke there; ``python -m experiments.starts --floors``.

        Args:
            pixels: Whether the data have a range, as pixels, and not a unit of their own.
        """
        if self.floor is not None:
            return self.floor
        return 0.01 if self.scope == "pixel" or (self.scope == "dimension" and pixels) else 0.001
