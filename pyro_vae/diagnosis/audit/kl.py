"""Which formula a KL term is, told from its gradient in the mean and in the scale argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyro_vae.diagnosis.audit.calling import Parametrisation
from pyro_vae.diagnosis.audit.points import Pairs, Point, Reading, fit
from pyro_vae.diagnosis.audit.probes import Probe

__all__: list[str] = []

_TOLERANCE = 0.01

Behaviour = Literal["linear", "capacity", "free bits", "capped", "nonlinear"]


@dataclass(frozen=True)
class Form:
    """A formula per latent: what it is called, its finding, and what it takes its argument for."""

    name: str
    term: Callable[[Tensor, Tensor], Tensor]
    code: str | None = None
    sentence: str = ""
    scale: Parametrisation | None = None


@dataclass(frozen=True)
class Divergence:
    """What was found of the KL term.

    Attributes:
        form: The formula; None for none of the known ones.
        weight: Of one latent's KL; of its part in the mean, m^2/2, where the form is no closed one.
        behaviour: How the weight follows the size of the KL.
        sampled: The term draws noise, whose average is the form.
        clamped: The scale argument stops mattering somewhere below 30.
    """

    form: Form | None
    weight: float | None
    behaviour: Behaviour = "linear"
    sampled: bool = False
    clamped: bool = False


def _mistake(
    code: str, formula: Callable[[Tensor, Tensor], Tensor], name: str, sentence: str
) -> Form:
    return Form(name, formula, code, sentence)


FORMS: tuple[Form, ...] = (
    Form("closed form", lambda m, s: (m**2 + s.exp() - 1 - s) / 2, scale="log-variance"),
    Form("closed form", lambda m, s: (m**2 + (2 * s).exp() - 1 - 2 * s) / 2, scale="log-std"),
    Form("closed form", lambda m, s: (m**2 + s - 1 - s.abs().log()) / 2, scale="variance"),
    Form("closed form", lambda m, s: (m**2 + s**2 - 1 - (s**2).log()) / 2, scale="std"),
    _mistake(
        "kl-scale-ignored", lambda m, s: m**2 / 2, "no part in the variance",
        "The KL does not depend on log_var: either its exponential is missing (log_var then "
        "cancels) or its terms are; no probe can tell which. Write log_var.exp() - log_var.",
    ),
    _mistake(
        "kl-missing-log-var", lambda m, s: (m**2 + s.exp()) / 2, "log_var missing",
        "The KL lacks its - log_var: the variance is driven to 0. Subtract log_var.",
    ),
    _mistake(
        "kl-missing-exp-term", lambda m, s: (m**2 - s) / 2, "exp(log_var) missing",
        "The KL lacks its log_var.exp(): the variance grows without limit. Add it.",
    ),
    _mistake(
        "kl-mean-not-squared", lambda m, s: (m + s.exp() - 1 - s) / 2, "mean not squared",
        "The KL takes the mean itself where its square belongs. Write mean.pow(2).",
    ),
    _mistake(
        "kl-takes-mean-absolute", lambda m, s: (m.abs() + s.exp() - 1 - s) / 2,
        "absolute mean",
        "The KL takes the mean's absolute value where its square belongs. Write mean.pow(2).",
    ),
    _mistake(
        "kl-missing-mean", lambda m, s: (s.exp() - 1 - s) / 2, "no part in the mean",
        "The KL has no term in the mean: codes may lie anywhere. Add mean.pow(2).",
    ),
    _mistake(
        "kl-std-for-variance", lambda m, s: (m**2 + (s / 2).exp() - 1 - s) / 2,
        "std taken for the variance",
        "The KL takes the standard deviation exp(log_var / 2) where the variance belongs. Write "
        "log_var.exp().",
    ),
    _mistake(
        "kl-variance-squared", lambda m, s: (m**2 + (2 * s).exp() - 1 - s) / 2,
        "variance squared",
        "The KL squares the variance: either exp(log_var) was taken for the standard deviation, "
        "or log std is meant and its last term lacks the factor 2; no probe can tell which. For a "
        "log-variance write log_var.exp() - log_var.",
    ),
    _mistake(
        "kl-mean-sign", lambda m, s: (-(m**2) + s.exp() - 1 - s) / 2, "wrong sign of the mean",
        "mean.pow(2) has the wrong sign: codes are driven apart without limit. Add it.",
    ),
    _mistake(
        "kl-log-var-sign", lambda m, s: (m**2 + s.exp() - 1 + s) / 2, "wrong sign of log_var",
        "log_var has the wrong sign in the KL: the variance is driven to 0. Subtract it.",
    ),
    _mistake(
        "kl-exp-sign", lambda m, s: (m**2 - s.exp() - 1 - s) / 2, "wrong sign of exp(log_var)",
        "log_var.exp() has the wrong sign in the KL: the variance grows without limit. Add it.",
    ),
    _mistake(
        "kl-exp-sign", lambda m, s: (m**2 - s.exp() - 1 + s) / 2, "wrong sign of the variance",
        "log_var.exp() - log_var has the wrong sign in the KL: the variance runs away. Add it.",
    ),
    _mistake(
        "kl-half-misplaced", lambda m, s: m**2 + s.exp() - (1 + s) / 2, "half misplaced",
        "The factor 1/2 reaches only a part of the KL. Put brackets around the whole sum.",
    ),
    _mistake(
        "kl-reversed", lambda m, s: ((1 + m**2) * (-s).exp() - 1 + s) / 2, "reversed",
        "This is KL(prior || posterior); the ELBO has KL(posterior || prior). Swap the two.",
    ),
)  # fmt: skip


def recognise(probe: Probe) -> Divergence:
    """Name the formula behind the gradients with respect to mean and log_var."""
    base, large = probe.read(probe.point), probe.read_large(probe.point.sizes)
    if not any(float(part.norm()) for part in (base.mean, base.scale, large.mean, large.scale)):
        return Divergence(Form("none", lambda m, s: 0 * m), 0.0)
    tolerance = 0.15 if probe.noisy else _TOLERANCE
    form, weight, residual = _best(base, probe.point.latents)
    if residual > tolerance:
        form, weight, residual = _best(large, probe.large.latents)
    if residual > tolerance:
        factor, rest = fit(base.mean, _columns(probe.point.latents)[0])
        return Divergence(None, factor if rest < tolerance else None, sampled=_sampled(probe))
    found, behaviour = _behaviour(probe, form, weight, large)
    if form.code is not None:
        factor, rest = fit(base.mean, _columns(probe.point.latents)[0])
        weight_in_mean = factor if rest < tolerance and factor else None
        return Divergence(form, weight_in_mean, behaviour, _sampled(probe))
    clamped = form.scale == "log-variance" and found is not None and _clamped(probe, found)
    return Divergence(form, found, behaviour, _sampled(probe), clamped)


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


def _best(reading: Reading, latents: Pairs) -> tuple[Form, float, float]:
    fits = [(*_fit(form, reading, latents), form) for form in FORMS]
    factor, residual, form = min(fits, key=lambda found: (round(found[1], 6), found[0] < 0))
    return form, factor, residual


def _behaviour(
    probe: Probe, form: Form, weight: float, large: Reading
) -> tuple[float | None, Behaviour]:
    """Compare the weight in small, usual and large KL: a capacity or free bits change it."""
    small_point = probe.point.scaled(means=0.1, scales=0.1)
    in_large, _ = _fit(form, large, probe.large.latents)
    if probe.noisy and form.code is None:
        # Far out the mean outweighs the noise by far.
        return fit(large.mean, _columns(probe.large.latents)[0])[0], "linear"
    if form.scale in ("variance", "std") or form.code:
        return weight, "linear"  # these are not small near zero
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
    if probe.noisy:
        return False
    extreme = Point(probe.point.sizes, probe.point.pixels, ((0.0, -30.0), (0.0, 30.0)))
    try:
        low, high = probe.read(extreme).scale.tolist()
    except Exception:
        return False
    return bool(abs(low + weight / 2) > 0.1 * abs(weight) or abs(high) < 1e6 * abs(weight))


def _sampled(probe: Probe) -> bool:
    return probe.noisy and probe.latent_noise
