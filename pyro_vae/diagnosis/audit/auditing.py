"""The audit: what a loss that people wrote themselves really is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pyro_vae.data import as_images
from pyro_vae.diagnosis.audit import kl as kl_forms
from pyro_vae.diagnosis.audit import reconstruction as terms
from pyro_vae.diagnosis.audit.calling import bind
from pyro_vae.diagnosis.audit.corrected import corrected_source
from pyro_vae.diagnosis.audit.evidence import Evidence, gather
from pyro_vae.diagnosis.audit.findings import find, weigh_arguments
from pyro_vae.diagnosis.audit.isolation import isolated
from pyro_vae.diagnosis.audit.points import Sizes, fit
from pyro_vae.diagnosis.audit.probes import Probe
from pyro_vae.diagnosis.audit.ranges import check_ranges
from pyro_vae.diagnosis.audit.reductions import measure
from pyro_vae.diagnosis.audit.remarks import remark, undecidable, wide
from pyro_vae.diagnosis.audit.report import AuditReport, Finding
from pyro_vae.diagnosis.audit.sampling import audit_sampling
from pyro_vae.measures import Forecast, forecast_gaussian

__all__ = ["audit"]

_ATTRIBUTE = re.compile(r"^(beta|kld?_(coeff?|weight|beta|scale|lambda)|(beta|lambda)_kld?)$")


def audit(
    loss_fn: Callable[..., Any],
    *,
    data_shape: Sequence[int],
    latent_dim: int,
    batch_size: int = 128,
    sample_fn: Callable[..., Any] | None = None,
    data: Any = None,
    x: Any = None,
    x_hat: Any = None,
) -> AuditReport:
    r"""Find out by probing what a loss function is: its terms, their reductions, their balance.

    A loss is read as

    .. math:: w_R \sum_{b,d} r(x_{bd}, \hat x_{bd}) + w_K \sum_{b,l} \mathrm{KL}_{bl}

    with one weight per pixel and one per latent, both told from gradients at chosen inputs;
    :math:`\beta = w_K / w_R`. A squared error with :math:`\beta` is a Gaussian decoder of variance
    :math:`\sigma^2 = \beta / 2`; where that exceeds the largest eigenvalue of the data's covariance
    the codes collapse (Lucas, Tucker, Grosse and Norouzi, 2019, "Don't blame the ELBO!").

    The function runs with your rights, on copies of its state; seeds, gradients and output stay as
    they were.

    Args:
        loss_fn: Takes (x, x_hat, mean, log_var) by position or by the usual names and returns the
            loss, or the loss with its parts, or the two parts.
        data_shape: Shape of one image or vector, channels first.
        latent_dim: Dimensions of the code.
        batch_size: Images in a batch of training.
        sample_fn: Takes (mean, log_var) and returns a sample, to be audited too.
        data: Training images, for a forecast.
        x: A batch of data as the loss gets it, to check its range.
        x_hat: Output of the decoder for it.

    Raises:
        ValueError: If a function cannot be called, with what was tried, or a size is no size.
        TypeError: If ``loss_fn`` is no function.

    Example:
        >>> def loss(x, x_hat, mean, log_var):
        ...     kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
        ...     return torch.nn.functional.mse_loss(x_hat, x) + kl
        >>> report = audit(loss, data_shape=(1, 28, 28), latent_dim=20, batch_size=128)
        >>> round(report.effective_beta), round(report.implied_sigma)
        (100352, 224)
        >>> [code for code, _ in report.findings]
        ['balance-depends-on-batch', 'pixels-averaged']
    """
    sizes = _sizes(data_shape, latent_dim, batch_size)
    binding = bind(loss_fn)
    probe = Probe(loss_fn, binding, sizes)
    evidence = gather(
        binding, probe, terms.recognise(probe), kl_forms.recognise(probe), measure(probe)
    )
    kind, constant_note = _with_constants(evidence)
    findings = [*find(evidence), *weigh_arguments(evidence), *_attributes(loss_fn, evidence)]
    findings += check_ranges(kind, data if x is None else x, x_hat)
    if sample_fn is not None:
        meaning = _meaning(evidence)
        findings += audit_sampling(sample_fn, sizes.batch, sizes.latents, meaning)
    gaussian = kind in (terms.SQUARED, terms.GAUSSIAN)
    beta = evidence.beta
    sigma = math.sqrt(beta / 2) if gaussian and beta is not None and beta > 0 else None
    notes = [f"Called as {binding.describe()}{_way(probe)}.", *probe.notes, *remark(evidence)]
    notes += [constant_note, undecidable(kind, data if x is None else x, x_hat)]
    if sigma is not None and sigma > 1 and not findings:
        notes.append(wide(sigma))
    forecast = None
    if data is not None:
        forecast = None if sigma is None else _forecast(data, sigma, sizes)
        notes += (
            []
            if sigma is not None
            else ["No forecast: it needs a squared error and a positive effective beta."]
        )
    shape = " x ".join(map(str, sizes.data))
    return AuditReport(
        effective_beta=beta,
        implied_sigma=sigma,
        reconstruction=kind,
        reductions=evidence.reductions(),
        kl=_kl_name(evidence, findings),
        findings=tuple(findings),
        notes=tuple(note for note in notes if note),
        forecast=forecast,
        corrected=_corrected(evidence, kind, bool(findings)),
        subject=f"{binding.name}: images {shape}, {sizes.latents} latents, batch {sizes.batch}",
    )


def _sizes(data_shape: Sequence[int], latent_dim: int, batch_size: int) -> Sizes:
    shape = (data_shape,) if isinstance(data_shape, int) else tuple(data_shape)
    given = {"data_shape": shape, "latent_dim": (latent_dim,), "batch_size": (batch_size,)}
    for name, numbers in given.items():
        if not numbers or any(not isinstance(n, int) or n < 1 for n in numbers):
            raise ValueError(f"{name} is {numbers}; positive whole numbers are accepted")
    return Sizes(batch_size, shape, latent_dim)


def _forecast(data: Any, sigma: float, sizes: Sizes) -> Forecast:
    """For the decoder that the loss amounts to: the implied σ at β = 1."""
    images = as_images(torch.as_tensor(data).flatten(1))
    return forecast_gaussian(images, variance=sigma**2, latent_dim=sizes.latents)


def _with_constants(evidence: Evidence) -> tuple[str, str]:
    """The kind of the term with or without its constants, whatever the KL adds at the prior."""
    term, form = evidence.term, evidence.kl.form
    if not term.weight:
        return term.kind, ""
    scale = term.weight / evidence.pixel_constant
    origin = 1.0 if form is not None and form.scale in ("variance", "std") else 0.0
    at_prior = 0.0
    if form is not None and evidence.kl.weight:
        latents = math.prod(evidence.latent_axes.values())
        zero = torch.tensor(0.0, dtype=torch.float64)
        at_prior = float(form.term(zero, zero + origin)) * evidence.kl.weight * latents
    return terms.constants(evidence.probe, term, scale, at_prior, origin)


def _attributes(loss_fn: Callable[..., Any], evidence: Evidence) -> list[Finding]:
    """A weight kept by the object that a method belongs to, and never used."""
    owner = getattr(loss_fn, "__self__", loss_fn)
    probe = evidence.probe
    findings = []
    for name, value in getattr(owner, "__dict__", {}).items():
        if not _ATTRIBUTE.match(name) or type(value) not in (int, float):
            continue
        twin = isolated(loss_fn)
        setattr(getattr(twin, "__self__", twin), name, 2 * value or 1.0)
        other = Probe(twin, evidence.binding, probe.point.sizes)
        before, after = probe.read(probe.point), other.read(other.point)
        same = [fit(getattr(after, part), getattr(before, part)) for part in ("x_hat", "mean")]
        if all(abs(factor - 1) < 1e-4 and rest < 1e-4 for factor, rest in same):
            findings.append(
                Finding(
                    "beta-ignored",
                    f"The attribute {name} changes nothing: the loss is the same at {value:g} and "
                    f"at {2 * value or 1:g}. Multiply the KL by it.",
                )
            )
    return findings


def _meaning(evidence: Evidence) -> Any:
    form = evidence.kl.form
    known = form is not None and form.scale is not None and evidence.binding.scale is not None
    return evidence.declared if known or form is None or form.scale is None else form.scale


def _kl_name(evidence: Evidence, findings: Sequence[Finding]) -> str:
    form, kl = evidence.kl.form, evidence.kl
    codes = {code for code, _ in findings}
    if form is None:
        return "unknown"
    name = f"sampled, on average the {form.name}" if kl.sampled else form.name
    if form.scale is not None and form.scale != "log-variance":
        name += f" of a {form.scale}"
    name += {"capacity": ", |KL - C|", "free bits": ", free bits", "capped": ", capped"}.get(
        kl.behaviour, ""
    )
    remarks = {"kl-wrong-sign": ", wrong sign", "kl-missing-half": ", doubled (1/2 missing?)"}
    return name + "".join(text for code, text in remarks.items() if code in codes)


def _way(probe: Probe) -> str:
    flat = [name for name, is_flat in (("x", probe.x_flat), ("x_hat", probe.x_hat_flat)) if is_flat]
    text = f" with {' and '.join(flat)} flattened" if flat else ""
    if probe.dtype is torch.float32:
        text += ", in float32"
    return text + (", with x of 0 and 1" if probe.point.pixels[0][0] == 0 else "")


def _corrected(evidence: Evidence, kind: str, wrong: bool) -> str:
    """Keep what is right of the loss: its kind, the spread it was written with, its beta."""
    constant = abs(evidence.pixel_constant)
    usual = math.isfinite(constant) and 1e-3 < constant < 1e6
    absolute = kind in (terms.ABSOLUTE, terms.LAPLACE)
    constant = constant if usual else (1.0 if absolute else 0.5)
    weight = next(iter(evidence.binding.weights.values()), 1.0)
    beta = evidence.beta
    if wrong or beta is None or beta <= 0:
        weight = 1.0
    elif kind in (terms.SQUARED, terms.GAUSSIAN, terms.ABSOLUTE, terms.LAPLACE, terms.HUBER):
        constant = weight / beta
    else:
        weight = beta
    return corrected_source(
        evidence.binding,
        kind,
        evidence.declared,
        spread=1 / constant if absolute else math.sqrt(0.5 / constant),
        weight=weight,
        threshold=evidence.term.threshold,
    )
