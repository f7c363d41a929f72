"""All that was measured of a loss, put together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyro_vae.loss_audit import kinds
from pyro_vae.loss_audit.binding import Binding
from pyro_vae.loss_audit.kl import Divergence
from pyro_vae.loss_audit.probes import Probe
from pyro_vae.loss_audit.reconstruction import Reconstruction
from pyro_vae.loss_audit.reductions import Scaling, axis_names, code_names, guess, word
from pyro_vae.loss_audit.settling import Effect
from pyro_vae.loss_audit.wording import Parametrisation

__all__: list[str] = []

#: A factor on the reconstruction term from which on it is taken to undo a mean, and how nearly.
_LARGE = 50
_NEARLY = 2.0


@dataclass(frozen=True)
class Evidence:
    """All that was measured of a loss.

    Attributes:
        effects: Of every number among the arguments.
        pixel_powers: Of every axis, by name, for the reconstruction term (see `Scaling`).
        kl_powers: The same for the KL.
        fixed: Axes whose size the function does not let change.
    """

    binding: Binding
    probe: Probe
    term: Reconstruction
    kl: Divergence
    scaling: Scaling
    effects: Mapping[str, Effect]
    pixel_powers: dict[str, float]
    kl_powers: dict[str, float]
    fixed: tuple[str, ...]

    @property
    def axes(self) -> dict[str, int]:
        """Sizes of the batch and of the data's axes, by name."""
        sizes = self.probe.point.sizes
        return {"batch": sizes.batch, **dict(zip(axis_names(sizes.data), sizes.data, strict=True))}

    @property
    def latent_axes(self) -> dict[str, int]:
        """Sizes of the batch and of the code's axes."""
        sizes = self.probe.point.sizes
        names = code_names(sizes.codes)
        return {"batch": sizes.batch, **dict(zip(names, sizes.codes, strict=True))}

    @property
    def beta(self) -> float | None:
        """Weight of the summed KL against the summed term, per image."""
        if self.kl.weight is None or not self.term.weight:
            return None
        return self.kl.weight / self.term.weight

    @property
    def pixel_constant(self) -> float:
        """Weight of a pixel's term but for averages over axes."""
        return _constant(self.term.weight, self.axes, self.pixel_powers)

    @property
    def kl_constant(self) -> float:
        """Weight of a latent's KL but for averages over axes."""
        return _constant(self.kl.weight, self.latent_axes, self.kl_powers)

    @property
    def own_weight(self) -> tuple[str, float] | None:
        """The argument that multiplies the KL and nothing else, and its value."""
        found = [name for name, effect in self.effects.items() if effect.weighs_kl]
        return (found[0], self.binding.weights[found[0]]) if found else None

    @property
    def chosen(self) -> float:
        """What all arguments that multiply the KL alone come to."""
        weights = self.binding.weights
        return math.prod(weights[n] for n, effect in self.effects.items() if effect.weighs_kl)

    @property
    def declared(self) -> Parametrisation:
        """What the name of the last argument says; a log-variance if it says nothing."""
        return self.binding.scale or "log-variance"

    @property
    def averaged(self) -> list[str]:
        """The data's axes that the reconstruction term alone is averaged over."""
        return [
            axis
            for axis, size in self.axes.items()
            if size > 1
            and axis != "batch"
            and word(self.pixel_powers[axis]) == "mean"
            and word(self.kl_powers.get(axis, 0.0)) != "mean"
        ]

    @property
    def averaged_latents(self) -> list[str]:
        """The code's axes that the KL is averaged over."""
        return [
            axis
            for axis, size in self.latent_axes.items()
            if axis != "batch" and size > 1 and word(self.kl_powers[axis]) == "mean"
        ]

    @property
    def made_up_for(self) -> bool:
        """A constant in the code undoes the averages at exactly these sizes, or nearly."""
        beta = self.beta
        if not (self.averaged or self.averaged_latents):
            return False
        if beta is None:
            number = math.prod(self.axes[axis] for axis in self.averaged)
            return bool(self.averaged) and abs(self.pixel_constant) * _NEARLY >= number
        if beta <= 0:
            return False
        right = (1.0, 2.0) if self.term.name == kinds.SQUARED else (1.0,)
        if any(math.isclose(beta, wanted, rel_tol=1e-3) for wanted in right):
            return True
        divided = any(math.isclose(beta, self.chosen * wanted, rel_tol=1e-3) for wanted in right)
        nearly = abs(self.pixel_constant) >= _LARGE and 1 / _NEARLY <= beta <= _NEARLY
        return (divided and self.chosen != 1 and bool(self.averaged)) or nearly

    def reductions(self) -> dict[str, dict[str, str]]:
        """Reductions in words; axes of size 1 are left out."""
        pixels = {a: word(self.pixel_powers[a]) for a, n in self.axes.items() if n > 1}
        latents = {a: word(self.kl_powers[a]) for a, n in self.latent_axes.items() if n > 1}
        return {
            "reconstruction": {} if self.term.name == kinds.NONE else pixels,
            "kl": {} if self.kl.form is not None and self.kl.form.name == "none" else latents,
        }


def gather(
    binding: Binding,
    probe: Probe,
    term: Reconstruction,
    divergence: Divergence,
    scaling: Scaling,
    effects: Mapping[str, Effect],
) -> Evidence:
    """Fill in the powers along axes whose size cannot change."""
    bare = Evidence(binding, probe, term, divergence, scaling, effects, {}, {}, ())
    pixels = _fill(dict(scaling.reconstruction), bare.axes, term.weight)
    latents = _fill(dict(scaling.kl), bare.latent_axes, divergence.weight)
    if term.axis is not None and term.axis - 1 < len(probe.point.sizes.data):
        # Values along a softmax are no terms of their own.
        pixels[axis_names(probe.point.sizes.data)[term.axis - 1]] = 0.0
    fixed = [axis for axis, power in scaling.kl.items() if power is None]
    sizes = {**bare.axes, **bare.latent_axes}
    shown = tuple(axis for axis in fixed if sizes[axis] > 1)
    return replace(bare, pixel_powers=pixels, kl_powers=latents, fixed=shown)


def _fill(
    powers: dict[str, float | None], sizes: dict[str, int], weight: float | None
) -> dict[str, float]:
    known = {axis: power for axis, power in powers.items() if power is not None}
    unknown = {axis: size for axis, size in sizes.items() if axis not in known}
    if unknown and weight:
        left = _constant(weight, {a: n for a, n in sizes.items() if a in known}, known)
        known |= guess(left, unknown)
    return {**dict.fromkeys(powers, 0.0), **known}


def _constant(weight: float | None, sizes: dict[str, int], powers: dict[str, float]) -> float:
    if weight is None:
        return math.nan
    return weight * float(
        math.prod(size ** round(powers.get(axis, 0.0)) for axis, size in sizes.items())
    )
