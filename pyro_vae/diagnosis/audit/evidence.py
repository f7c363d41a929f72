"""All that was measured of a loss, put together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pyro_vae.diagnosis.audit import kl as kl_forms
from pyro_vae.diagnosis.audit import reconstruction as terms
from pyro_vae.diagnosis.audit.calling import Binding, Parametrisation
from pyro_vae.diagnosis.audit.probes import Probe
from pyro_vae.diagnosis.audit.reductions import Scaling, axis_names, guess, word

__all__: list[str] = []


@dataclass(frozen=True)
class Evidence:
    """All that was measured of a loss.

    Attributes:
        pixel_powers: Of every axis, by name, for the reconstruction term (see `Scaling`).
        kl_powers: The same for the KL.
        fixed: Axes whose size the function does not let change.
    """

    binding: Binding
    probe: Probe
    term: terms.Reconstruction
    kl: kl_forms.Divergence
    scaling: Scaling
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
        """Sizes of the batch and of the code."""
        sizes = self.probe.point.sizes
        return {"batch": sizes.batch, "latents": sizes.latents}

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
    def made_up_for(self) -> bool:
        """A constant in the code undoes the averages at exactly these sizes."""
        unequal = self.averaged or word(self.kl_powers["latents"]) == "mean"
        right = (1.0, 2.0) if self.term.kind == terms.SQUARED else (1.0,)
        beta = self.beta
        return (
            bool(unequal)
            and beta is not None
            and any(math.isclose(beta, wanted, rel_tol=1e-3) for wanted in right)
        )

    def reductions(self) -> dict[str, dict[str, str]]:
        """Reductions in words; axes of size 1 are left out."""
        pixels = {a: word(self.pixel_powers[a]) for a, n in self.axes.items() if n > 1}
        latents = {a: word(self.kl_powers[a]) for a, n in self.latent_axes.items() if n > 1}
        return {
            "reconstruction": {} if self.term.kind == "none" else pixels,
            "kl": {} if self.kl.form is not None and self.kl.form.name == "none" else latents,
        }


def gather(
    binding: Binding,
    probe: Probe,
    term: terms.Reconstruction,
    divergence: kl_forms.Divergence,
    scaling: Scaling,
) -> Evidence:
    """Fill in the powers along axes whose size cannot change."""
    bare = Evidence(binding, probe, term, divergence, scaling, {}, {}, ())
    pixels = _fill(dict(scaling.reconstruction), bare.axes, term.weight)
    latents = _fill(dict(scaling.kl), bare.latent_axes, divergence.weight)
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
