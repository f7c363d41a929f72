"""Which formula a KL term is, told from its gradient in the mean and in the scale argument."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyro_vae.loss_audit.formulas import (
    MADE,
    SCALES,
    Form,
    Scale,
    closed,
    forms,
    made,
)
from pyro_vae.loss_audit.points import Pairs, Point, Reading, fit
from pyro_vae.loss_audit.probes import Probe

__all__: list[str] = []

_TOLERANCE = 0.01

Behaviour = Literal["linear", "capacity", "free bits", "capped", "nonlinear"]


@dataclass(frozen=True)
class Divergence:
    """What was found of the KL term.

    Attributes:
        form: The formula; None for none of the known ones.
        weight: Of one latent's KL; of its part in the mean, m^2/2, where the form is no closed one.
        factor: What the form is multiplied by.
        behaviour: How the weight follows the size of the KL.
        sampled: The term draws noise, whose average is the form.
        clamped: The scale argument stops mattering somewhere below 30.
        joint: A latent's gradient depends on other latents or images.
    """

    form: Form | None
    weight: float | None
    factor: float | None = None
    behaviour: Behaviour = "linear"
    sampled: bool = False
    clamped: bool = False
    joint: bool = False


def recognise(
    probe: Probe, declared: str | None, is_zero: Callable[[float, float, float], bool]
) -> Divergence:
    """Name the formula behind the gradients with respect to mean and log_var.

    Args:
        probe: The loss.
        declared: What the name of the last argument says it is.
        is_zero: Whether the KL term is 0 at this mean and scale argument, for this weight.
    """
    base, large = probe.read(probe.point), probe.read_large(probe.point.sizes)
    if not any(float(part.norm()) for part in (base.mean, base.scale, large.mean, large.scale)):
        return Divergence(Form("none", lambda m, s: 0 * m), 0.0, 0.0)
    tolerance = 0.15 if probe.noisy else _TOLERANCE
    sampled = probe.noisy and probe.latent_noise
    known = forms(declared)
    form, weight, residual = _best(base, probe.point.latents, known)
    if residual > tolerance:
        form, weight, residual = _best(large, probe.large.latents, known)
    if (residual > tolerance or form.code) and not probe.noisy:
        other = _of_another_prior(base, probe.point.latents, is_zero)
        other = other or (_of_made_scale(base, probe) if residual > tolerance else None)
        if other is not None:
            form, weight, residual = *other, 0.0
    ignored = form.code == "kl-scale-ignored" and _saturated(probe)
    if ignored and not probe.noisy:
        small = probe.point.scaled(scales=0.05)
        form, weight, residual = _best(probe.read(small), small.latents, known)
        if residual < tolerance and form.code is None and form.of.name == "log-variance":
            return Divergence(form, weight, weight, clamped=True)
    if residual > tolerance or ignored:
        factor, rest = fit(base.mean, _columns(probe.point.latents)[0])
        joint = sampled or base.coupled > 0.02
        found_weight = factor if rest < tolerance and not joint else None
        return Divergence(None, found_weight, sampled=sampled, joint=joint)
    found, behaviour = _behaviour(probe, form, weight, large)
    if form.code is not None:
        factor, rest = fit(base.mean, _columns(probe.point.latents)[0])
        weight_in_mean = factor if rest < tolerance and factor else None
        return Divergence(form, weight_in_mean, weight, behaviour, sampled)
    read = behaviour == "linear" and form.of.name == "log-variance" and found is not None
    clamped = read and _clamped(probe, found or 0.0)
    return Divergence(form, found, found, behaviour, sampled, clamped)


def _columns(latents: Pairs) -> tuple[Tensor, Tensor]:
    mean, scale = torch.tensor(latents, dtype=torch.float64).T
    return mean, scale


def _references(form: Form, latents: Pairs) -> tuple[Tensor, Tensor]:
    mean, scale = (column.clone().requires_grad_() for column in _columns(latents))
    with torch.enable_grad():
        value = form.term(mean, scale).sum() + 0 * (mean.sum() + scale.sum())
        in_mean, in_scale = torch.autograd.grad(value, (mean, scale))
    return in_mean, in_scale


def _fit(form: Form, reading: Reading, latents: Pairs) -> tuple[float, float]:
    """One factor for both gradients, and the worse of their two misfits."""
    pairs = list(zip((reading.mean, reading.scale), _references(form, latents), strict=True))
    if any(bool((o.isfinite() & ~r.isfinite()).any()) for o, r in pairs):
        return 0.0, float("inf")  # it is defined where the formula is not
    scaled = [
        (o / (float(r[r.isfinite()].norm()) or 1.0), r / (float(r.norm()) or 1.0)) for o, r in pairs
    ]
    factor, _ = fit(torch.cat([o for o, _ in scaled]), torch.cat([r for _, r in scaled]))
    worst = 0.0
    for observed, reference in pairs:
        seen = observed.isfinite()
        size = max(float(observed[seen].norm()), float((factor * reference)[seen].norm()))
        rest = float((observed - factor * reference)[seen].norm())
        # Autograd leaves rounding where a gradient is exactly zero.
        floor = 1e-6 * float(torch.cat([reading.mean, reading.scale]).nan_to_num().norm())
        worst = max(worst, rest / size if size > floor else 0.0)
    return factor, worst if factor else float("inf")


def _best(reading: Reading, latents: Pairs, known: list[Form]) -> tuple[Form, float, float]:
    fits = [(*_fit(form, reading, latents), form) for form in known]
    fits = [found for found in fits if found[1] == found[1]] or fits[:1]
    factor, residual, form = min(fits, key=lambda found: (round(found[1], 6), found[0] < 0))
    return form, factor, residual


def _of_another_prior(
    reading: Reading, latents: Pairs, is_zero: Callable[[float, float, float], bool]
) -> tuple[Form, float] | None:
    """KL to N(m0, t^2), told from a mistake by being 0 where the two agree."""
    mean, scale = _columns(latents)
    ones = torch.ones_like(mean)
    seen = reading.mean.isfinite() & reading.scale.isfinite()
    slope, shift = _least(torch.stack([mean, ones], 1)[seen], reading.mean[seen])
    if slope is None or not slope:
        return None
    for kind in SCALES:
        leaf = scale.clone().requires_grad_()
        with torch.enable_grad():
            log_var = kind.log_var(leaf)
            (in_log,) = torch.autograd.grad(log_var.sum(), leaf)
        columns = torch.stack([in_log * log_var.detach().exp() / 2, -in_log / 2], 1)
        if not bool(columns[seen].isfinite().all()):
            continue
        growth, weight = _least(columns[seen], reading.scale[seen])
        if growth is None or abs(growth - slope) > 1e-3 * abs(slope) or not weight / slope > 0:
            continue
        center, variance = -shift / slope, weight / slope
        if abs(variance - 1) < 1e-3 and abs(center) < 1e-3:
            return None
        if is_zero(center, kind.argument(variance), weight):
            center = 0.0 if abs(center) < 1e-6 else round(center, 6)
            return closed(kind, center, float(f"{variance:.6g}")), weight
    return None


def _least(columns: Tensor, values: Tensor) -> tuple[float | None, float]:
    solution = torch.linalg.lstsq(columns, values[:, None]).solution.flatten()
    rest = float((columns @ solution - values).norm())
    if not rest < 1e-3 * float(values.norm()):
        return None, 0.0
    return float(solution[0]), float(solution[1])


def _of_made_scale(reading: Reading, probe: Probe) -> tuple[Form, float] | None:
    """A right KL whose standard deviation is a positive function of the argument."""
    latents = probe.point.latents
    weight, rest = fit(reading.mean, _columns(latents)[0])
    if rest > _TOLERANCE or weight == 0:
        return None
    scale = _columns(latents)[1]
    seen = reading.scale.isfinite()
    wanted = reading.scale[seen] / weight
    for constants, name, of_variance in itertools.product((False, True), MADE, (False, True)):
        found = _constants(name, of_variance, scale[seen], wanted) if constants else (0.0, 1.0)
        if found is None:
            continue
        kind = made(name, of_variance, *found)
        if _misfit(kind, scale[seen], wanted) < 1e-4:
            return closed(kind), weight
    return None


def _slope(kind: Scale, scale: Tensor) -> Tensor:
    leaf = scale.clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(closed(kind).term(0 * leaf, leaf).sum(), leaf)
    return found


def _misfit(kind: Scale, scale: Tensor, wanted: Tensor) -> float:
    found = float((_slope(kind, scale) - wanted).norm()) / (float(wanted.norm()) or 1.0)
    return found if found == found else float("inf")


def _constants(
    name: str, of_variance: bool, scale: Tensor, wanted: Tensor
) -> tuple[float, float] | None:
    """Floor and factor by Gauss-Newton on the slopes; rounded to six digits."""
    for start in ((0.01, 1.0), (0.1, 0.9), (0.5, 2.0)):
        now = torch.tensor(start, dtype=torch.float64)
        for _ in range(30):
            step = 1e-6
            base = _slope(made(name, of_variance, *now.tolist()), scale)
            columns = torch.stack([
                (_slope(made(name, of_variance, *(now + step * unit).tolist()), scale) - base)
                / step
                for unit in torch.eye(2, dtype=torch.float64)
            ], 1)  # fmt: skip
            if not bool(columns.isfinite().all() & base.isfinite().all()):
                break
            now = now + torch.linalg.lstsq(columns, (wanted - base)[:, None]).solution.flatten()
        floor, factor = (float(f"{value:.5g}") for value in now.tolist())
        floor = 0.0 if abs(floor) < 1e-7 else floor
        if factor > 0 and floor >= 0:
            kind = made(name, of_variance, floor, factor)
            if _misfit(kind, scale, wanted) < 1e-4:
                return floor, factor
    return None


def _behaviour(
    probe: Probe, form: Form, weight: float, large: Reading
) -> tuple[float | None, Behaviour]:
    """Compare the weight in small, usual and large KL: a capacity or free bits change it."""
    small_point = probe.point.scaled(means=0.1, scales=0.1)
    in_large, _ = _fit(form, large, probe.large.latents)
    if probe.noisy and form.code is None:
        # Far out the mean outweighs the noise by far.
        return fit(large.mean, _columns(probe.large.latents)[0])[0], "linear"
    if form.of.name in ("variance", "std") or form.code or form.prior != (0.0, 1.0):
        return weight, "linear"  # these are not small near zero
    if not form.of.plain:
        return weight, "linear"
    reading = probe.read(small_point)
    in_small, _ = _fit(form, reading, small_point.latents)
    scale = max(abs(in_large), abs(weight), abs(in_small))
    if abs(in_large - in_small) < 0.01 * scale and abs(in_large - weight) < 0.01 * scale:
        return weight, "linear"
    if abs(in_large + in_small) < 0.01 * scale:
        return in_large, "capacity"
    if abs(in_small) < 1e-9 * scale and min(abs(in_large - weight), abs(weight)) < 0.01 * scale:
        return in_large, "free bits"
    if abs(in_large) < 1e-9 * scale and min(abs(in_small - weight), abs(weight)) < 0.01 * scale:
        return in_small, "capped"
    return None, "nonlinear"


def _clamped(probe: Probe, weight: float) -> bool:
    """A clamp needs points on both sides."""
    if probe.noisy or not probe.differentiable:
        return False
    extreme = Point(probe.point.sizes, probe.point.pixels, ((0.0, -30.0), (0.0, 30.0)))
    try:
        low, high = probe.read(extreme).scale.tolist()
    except Exception:
        return False
    return bool(abs(low + weight / 2) > 0.1 * abs(weight) or abs(high) < 1e6 * abs(weight))


def _saturated(probe: Probe) -> bool:
    """Whether the scale argument matters somewhere else."""
    for scales in (0.1, 5.0):
        point = probe.point.scaled(scales=scales)
        try:
            if float(probe.read(point).scale.nan_to_num().norm()) > 0:
                return True
        except Exception:  # out of a domain
            continue
    return False
