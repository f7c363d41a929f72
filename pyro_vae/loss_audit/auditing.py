"""The audit: what a loss that people wrote themselves really is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from pyro_vae.data import as_images
from pyro_vae.forecasting import Forecast, forecast_gaussian
from pyro_vae.loss_audit import kinds
from pyro_vae.loss_audit import kl as kl_forms
from pyro_vae.loss_audit import reconstruction as terms
from pyro_vae.loss_audit.checking import printed
from pyro_vae.loss_audit.evidence import Evidence, gather
from pyro_vae.loss_audit.findings import find, weigh_arguments
from pyro_vae.loss_audit.isolation import isolated
from pyro_vae.loss_audit.points import Sizes, fit
from pyro_vae.loss_audit.probes import Probe
from pyro_vae.loss_audit.ranges import check_ranges
from pyro_vae.loss_audit.reductions import measure
from pyro_vae.loss_audit.remarks import remark, undecidable, wide
from pyro_vae.loss_audit.report import AuditReport, Finding
from pyro_vae.loss_audit.sampling import audit_sampling
from pyro_vae.loss_audit.settling import effects, function_of, settle

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
    loss_fn = function_of(loss_fn)
    binding, probe, notes = settle(loss_fn, _sizes(data_shape, latent_dim, batch_size))
    sizes = probe.point.sizes
    term = terms.recognise(probe)
    divergence = kl_forms.recognise(probe, binding.scale, lambda *at: _is_zero(probe, term, *at))
    scaling = measure(probe, term.kind, divergence.behaviour == "capped")
    evidence = gather(binding, probe, term, divergence, scaling, effects(binding, probe))
    kind, constant_note = _with_constants(evidence)
    findings = [*find(evidence), *weigh_arguments(evidence), *_attributes(loss_fn, evidence)]
    paste = printed(evidence, {code for code, _ in findings})
    findings += check_ranges(kind, data if x is None else x, x_hat)
    if sample_fn is not None:
        meaning = _meaning(evidence)
        findings += audit_sampling(sample_fn, sizes.batch, sizes.latents, meaning)
    gaussian = kind in (kinds.SQUARED, kinds.GAUSSIAN)
    beta = evidence.beta
    sigma = math.sqrt(beta / 2) if gaussian and beta is not None and beta > 0 else None
    called = [f"Called as {binding.describe()}{_way(probe)}.", *notes, *probe.notes]
    notes = [*called, *remark(evidence), *paste.remarks]
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
        corrected=paste.source,
        subject=f"{binding.name}: images {shape}, {sizes.latents} latents, batch {sizes.batch}",
        unclear=paste.unclear,
    )


def _sizes(data_shape: Sequence[int], latent_dim: int, batch_size: int) -> Sizes:
    shape = (data_shape,) if isinstance(data_shape, int) else tuple(data_shape)
    given = {"data_shape": shape, "latent_dim": (latent_dim,), "batch_size": (batch_size,)}
    for name, numbers in given.items():
        if not numbers or any(not isinstance(n, int) or n < 1 for n in numbers):
            raise ValueError(f"{name} is {numbers}; positive whole numbers are accepted")
    return Sizes(batch_size, shape, (latent_dim,))


def _forecast(data: Any, sigma: float, sizes: Sizes) -> Forecast:
    """For the decoder that the loss amounts to: the implied σ at β = 1."""
    images = as_images(torch.as_tensor(data).flatten(1))
    return forecast_gaussian(images, variance=sigma**2, latent_dim=sizes.latents)


def _is_zero(
    probe: Probe, term: terms.Reconstruction, mean: float, scale: float, weight: float
) -> bool:
    """Whether nothing but the reconstruction term, with its constants, is left there."""
    if term.kind is None or not term.weight or probe.noisy or term.axis is not None:
        return False
    exact = tuple((x, x) for x, _ in probe.point.pixels)
    error = term.kind.norm > 0 and term.kind.target == "{x}" and term.kind.output == "{x_hat}"
    pixels = exact if error else probe.point.pixels
    point = replace(probe.point, pixels=pixels, latents=((mean, scale),))
    tensors = probe.tensors(point)
    x_hat, x = tensors["x_hat"].double(), tensors["x"].double()
    rest = probe.value(point) - term.weight * float(
        term.kind.term(x_hat, x.reshape(x_hat.shape)).sum()
    )
    sizes = probe.point.sizes
    # Constants of a Gaussian or a Laplace, if it has them.
    count = sizes.batch * math.prod(sizes.data)
    latents = sizes.batch * sizes.latents
    return any(
        abs(rest - constant) < 1e-4 * abs(weight) * latents
        for constant in (0.0, *terms.whole_constants(probe, term, count))
    )


def _with_constants(evidence: Evidence) -> tuple[str, str]:
    """The kind of the term with or without its constants, whatever the KL adds at the prior."""
    term, form = evidence.term, evidence.kl.form
    if not term.weight:
        return term.name, ""
    scale = term.weight / evidence.pixel_constant
    prior = (0.0, 0.0)
    at_prior = 0.0
    if form is not None:
        center, variance = form.prior
        prior = (center, form.of.argument(variance))
    if form is not None and evidence.kl.factor:
        latents = math.prod(evidence.latent_axes.values())
        mean, last = (torch.tensor(value, dtype=torch.float64) for value in prior)
        at_prior = float(form.term(mean, last)) * evidence.kl.factor * latents
    return terms.constants(evidence.probe, term, scale, at_prior, prior)


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
    if form is None or form.code is not None or not form.of.plain:
        return evidence.declared
    return evidence.declared if evidence.binding.scale is not None else form.of.name


def _kl_name(evidence: Evidence, findings: Sequence[Finding]) -> str:
    form, kl = evidence.kl.form, evidence.kl
    codes = {code for code, _ in findings}
    if form is None:
        return "a term of another kind" if kl.joint else "unknown"
    name = f"sampled, on average the {form.name}" if kl.sampled else form.name
    if form.code is None and form.of.name != "log-variance" and form.name != "none":
        name += f" of a {form.of.name}"
    name += {"capacity": ", |KL - C|", "free bits": ", free bits", "capped": ", capped"}.get(
        kl.behaviour, ""
    )
    remarks = {"kl-wrong-sign": ", wrong sign", "kl-missing-half": ", doubled (1/2 missing?)"}
    return name + "".join(text for code, text in remarks.items() if code in codes)


def _way(probe: Probe) -> str:
    flat = [name for name, is_flat in (("x", probe.x_flat), ("x_hat", probe.x_hat_flat)) if is_flat]
    text = f" with {' and '.join(flat)} flattened" if flat else ""
    if len(probe.point.sizes.codes) > 1:
        shape = " x ".join(map(str, probe.point.sizes.codes))
        text += f", with mean and log_var of shape batch x {shape}"
    if probe.classes is not None:
        text += f", with x the index of one of {probe.point.sizes.data[probe.classes]} classes"
    if probe.dtype is torch.float32:
        text += ", in float32"
    return text + (", with x of 0 and 1" if probe.point.pixels[0][0] == 0 else "")
