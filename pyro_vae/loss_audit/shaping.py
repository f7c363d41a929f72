"""Free bits, caps and capacities of a KL: where they set in, and what they are applied to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_vae.loss_audit.kl import Divergence
from pyro_vae.loss_audit.points import fit
from pyro_vae.loss_audit.probes import Probe

__all__: list[str] = []

LEVELS = ("latent", "latent of the batch", "image", "batch")
_FARTHEST = 200.0


@dataclass(frozen=True)
class Shape:
    """What is done to the KL before it is added.

    Attributes:
        behaviour: As of `kl.Divergence`.
        threshold: Nats at which it sets in.
        level: To what it is applied: one of `LEVELS`.
    """

    behaviour: str = "linear"
    threshold: float = 0.0
    level: str = "image"

    def _bent(self, values: Tensor) -> Tensor:
        if self.behaviour == "capacity":
            return (values - self.threshold).abs()
        low = self.behaviour == "free bits"
        return values.clamp(min=self.threshold) if low else values.clamp(max=self.threshold)

    def total(self, each: Tensor) -> Tensor:
        """The KL per image, averaged over images.

        Args:
            each: KL per latent, batch first.
        """
        if self.behaviour == "linear":
            return each.flatten(1).sum(1).mean()
        if self.level == "latent":
            return self._bent(each).flatten(1).sum(1).mean()
        if self.level == "latent of the batch":
            return self._bent(each.mean(0)).sum()
        images = each.flatten(1).sum(1)
        return self._bent(images).mean() if self.level == "image" else self._bent(images.mean())

    def source(self) -> str:
        """The same as Python of ``divergence``."""
        bent = {
            "capacity": f"({{}} - {self.threshold:.6g}).abs()",
            "free bits": f"{{}}.clamp(min={self.threshold:.6g})",
            "capped": f"{{}}.clamp(max={self.threshold:.6g})",
        }.get(self.behaviour, "{}")
        images = "divergence.flatten(1).sum(1)"
        return {
            "latent": f"{bent.format('divergence')}.flatten(1).sum(1).mean()",
            "latent of the batch": f"{bent.format('divergence.mean(0)')}.sum()",
            "image": f"{bent.format(images)}.mean()",
            "batch": bent.format(f"{images}.mean()"),
        }[self.level]


def shape_of(probe: Probe, kl: Divergence) -> Shape | None:
    """Find the threshold by bisection, and the level by the values that it gives; None if none."""
    if kl.behaviour == "linear":
        return Shape()
    if kl.behaviour == "nonlinear" or kl.form is None or not kl.factor or probe.noisy:
        return None
    kink = _kink(probe, kl)
    if kink is None:
        return None
    tensors = probe.tensors(probe.point)
    generator = torch.Generator().manual_seed(5)
    values, each = [], []
    for _ in range(4):
        size = tensors["mean"].shape

        def spread(*shape: int) -> Tensor:
            return 0.4 + 1.2 * torch.rand(shape, generator=generator)

        mean = kink * spread(*size) * spread(len(tensors["x_hat"]), *[1] * (len(size) - 1))
        given = {**tensors, "mean": mean.to(tensors["mean"].dtype)}
        given["log_var"] = torch.zeros_like(given["mean"])
        values.append(probe.value_at(given))
        each.append(kl.form.term(given["mean"].double(), given["log_var"].double()))
    seen = torch.tensor(values, dtype=torch.float64)
    for level in LEVELS:
        number = 1 if level.startswith("latent") else probe.point.sizes.latents
        shape = Shape(kl.behaviour, float(f"{kink**2 / 2 * number:.6g}"), level)
        reference = torch.stack([shape.total(part) for part in each])
        if fit(seen - seen.mean(), reference - reference.mean())[1] < 1e-3:
            return shape
    return None


def _kink(probe: Probe, kl: Divergence) -> float | None:
    """The mean of all latents, at variance 1, at which the gradient sets in or ends."""
    inside = kl.behaviour == "capped"
    factor = kl.factor or 0.0

    def full(mean: float) -> bool:
        slope = float(probe.read(replace(probe.point, latents=((mean, 0.0),))).mean[0])
        return abs(slope - factor * mean) < 0.01 * abs(factor * mean)

    low, high = 1e-3, _FARTHEST
    if full(low) is not inside or full(high) is inside:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        if full(middle) is inside:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def limits(probe: Probe, kl: Divergence) -> tuple[float, float] | None:
    """Where a log-variance is clamped: below and above; infinite where it is not."""

    def free(scale: float) -> bool:
        slope = float(probe.read(replace(probe.point, latents=((0.0, scale),))).scale[0])
        wanted = (kl.factor or 0.0) * (torch.tensor(scale).double().exp() - 1) / 2
        return bool(abs(slope - wanted) < 0.01 * abs(wanted))

    found = []
    for end in (-30.0, 30.0):
        near, far = end / 1e4, end
        if free(far):
            found.append(float("inf") if end > 0 else -float("inf"))
            continue
        if not free(near):
            return None
        for _ in range(40):
            middle = (near + far) / 2
            near, far = (middle, far) if free(middle) else (near, middle)
        found.append(float(f"{(near + far) / 2:.6g}"))
    return found[0], found[1]
