"""Whether a sampling function is the reparameterisation trick."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.loss_audit.isolation import isolated, undisturbed
from pyro_vae.loss_audit.report import Finding
from pyro_vae.loss_audit.wording import Parametrisation, role_of

__all__: list[str] = []

_PAIRS = ((0.5, -2.0), (-1.0, -1.0), (2.0, -0.5), (-0.5, 0.6), (1.5, 1.5), (0.0, 2.0))
_DRAWS = 8192

#: log of the variance, by what the scale argument is.
_EXPECTED: dict[Parametrisation, Callable[[Tensor], Tensor]] = {
    "log-variance": lambda s: s,
    "log-std": lambda s: 2 * s,
    "variance": lambda s: s.log(),
    "std": lambda s: 2 * s.abs().log(),
}

_MISTAKES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sample-exp-log-var-as-std": (
        lambda s: 2 * s,
        "The samples' standard deviation is exp(log_var), which is the variance. Write "
        "std = torch.exp(0.5 * log_var).",
    ),
    "sample-log-var-as-std": (
        lambda s: 2 * s.abs().log(),
        "The samples' standard deviation is log_var itself. Write std = torch.exp(0.5 * log_var).",
    ),
    "sample-std-halved": (
        lambda s: s / 2,
        "The samples' standard deviation is exp(log_var / 4). Write "
        "std = torch.exp(0.5 * log_var).",
    ),
    "sample-unscaled-noise": (
        torch.zeros_like,
        "The noise has variance 1 whatever log_var is. Multiply it by "
        "std = torch.exp(0.5 * log_var).",
    ),
    "sample-uniform-noise": (
        lambda s: s - math.log(12),
        "The noise is uniform (torch.rand), not normal. Use torch.randn_like(std).",
    ),
    "sample-other-scale": (
        lambda s: s,
        "The samples' variance is exp of the scale argument, which is no log-variance here. Take "
        "one meaning for it everywhere.",
    ),
}


@dataclass(frozen=True)
class _Draws:
    """Statistics by pair, and shares of the noise that whole batches or codes have in common."""

    mean: Tensor
    variance: Tensor
    shared_by_batch: bool
    shared_by_latents: bool


def audit_sampling(
    sample_fn: Callable[..., Any], batch: int, latents: int, scale: Parametrisation
) -> list[Finding]:
    """Test sample_fn(mean, log_var) by the mean and variance of its samples and by its gradient.

    Args:
        sample_fn: The function; it is run on a copy in training mode.
        batch: Images.
        latents: Dimensions of the code.
        scale: What the loss takes its last argument for.

    Returns:
        Findings, each a code and a sentence. At 8192 draws per pair and 6 pairs a right function
        gets one with a probability below 1e-7.

    Raises:
        ValueError: If the function cannot be called or returns no tensor of the mean's shape.
    """
    pairs = torch.tensor(_PAIRS, dtype=torch.float64)
    if scale in ("variance", "std"):
        pairs[:, 1] = (0.5 * pairs[:, 1]).exp()
    index = (torch.arange(batch)[:, None] + torch.arange(latents)[None]) % len(pairs)
    sampler = _Sampler(sample_fn, pairs[index])
    draws = _statistics(sampler, pairs, index)
    findings = _moments(draws, pairs, scale)
    if not any(code == "sample-no-noise" for code, _ in findings):
        findings += _gradient(sampler)
    return findings


class _Sampler:
    def __init__(self, sample_fn: Callable[..., Any], inputs: Tensor) -> None:
        self._function = sample_fn
        self.name = getattr(sample_fn, "__name__", "sample_fn")
        self._inputs = inputs
        self._dtype = torch.float64
        try:
            names = list(inspect.signature(sample_fn).parameters)
        except (TypeError, ValueError):
            names = ["mean", "log_var"]
        #: Keras' Lambda layers take one list of both.
        self._together = len(names) == 1
        self._scale_first = [role_of(name) for name in names[:2]] == ["log_var", "mean"]
        try:
            self.draw(0)
        except ValueError:
            self._dtype = torch.float32
            self.draw(0)

    def _order(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        given = mean.clone(), scale.clone()
        return (given[1], given[0]) if self._scale_first else given

    def draw(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (sample, mean, scale) with a graph from the first to the others."""
        mean, scale = (
            self._inputs[..., side].to(self._dtype).clone().requires_grad_() for side in (0, 1)
        )
        try:
            with undisturbed(seed), torch.enable_grad():
                given = self._order(mean, scale)
                function = isolated(self._function, training=True)
                result = function(list(given)) if self._together else function(*given)
        except Exception as error:  # whatever other people's code raises
            message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ValueError(
                f"{self.name} was tried as {self.name}(mean, log_var) with shapes "
                f"{tuple(mean.shape)}; it raised {message}"
            ) from None
        results = result if isinstance(result, tuple | list) else (result,)
        sample = next((r for r in results if isinstance(r, Tensor) and r.shape == mean.shape), None)
        if sample is None:
            raise ValueError(
                f"{self.name}(mean, log_var) returned no tensor of the mean's shape "
                f"{tuple(mean.shape)}"
            )
        return sample, mean, scale


def _statistics(sampler: _Sampler, pairs: Tensor, index: Tensor) -> _Draws:
    calls = math.ceil(_DRAWS * len(pairs) / index.numel())
    calls = min(max(calls, 8), 4000)
    samples = torch.stack([sampler.draw(seed)[0].detach().double() for seed in range(calls)])
    flat = samples.reshape(calls, -1)
    mean, variance = torch.zeros(len(pairs)).double(), torch.zeros(len(pairs)).double()
    for pair in range(len(pairs)):
        values = flat[:, index.flatten() == pair]
        mean[pair], variance[pair] = values.mean(), values.var()
    noise = (samples - mean[index]) / variance[index].sqrt().clamp(min=1e-12)

    def shared(axis: int) -> bool:
        # The mean over n independent units has variance 1/n; over equal ones it has 1.
        units = noise.shape[axis]
        return units > 1 and float(noise.mean(axis).var()) > 0.5 + 0.5 / units

    return _Draws(mean, variance, shared(1), shared(2))


def _moments(draws: _Draws, pairs: Tensor, scale: Parametrisation) -> list[Finding]:
    if float(draws.variance.max()) < 1e-10:
        return [
            Finding(
                "sample-no-noise",
                "The sample is the same every time: there is no noise, the model is an autoencoder "
                "with a penalty. Return mean + std * torch.randn_like(std).",
            )
        ]
    findings = []
    measured = draws.variance.log()
    wanted = _EXPECTED[scale](pairs[:, 1])
    right = float((measured - wanted).abs().max()) < 0.2
    if not right:
        named = {
            code: float((measured - formula(pairs[:, 1])).abs().max())
            for code, (formula, _) in _MISTAKES.items()
        }
        code = min(named, key=lambda key: named[key] if math.isfinite(named[key]) else math.inf)
        sentence = _MISTAKES[code][1]
        if not named[code] < 0.2:
            code, sentence = (
                "sample-wrong-variance",
                (
                    "The samples' variance does not follow log_var in any known way. Use "
                    "std = torch.exp(0.5 * log_var)."
                ),
            )
        findings.append(Finding(code, sentence))
    shared = draws.shared_by_batch or draws.shared_by_latents
    uniform = any(code == "sample-uniform-noise" for code, _ in findings)
    # Six standard errors of a mean over 8192 draws.
    spread = 6 * draws.variance.sqrt() / math.sqrt(_DRAWS)
    if not (uniform or shared) and bool(((draws.mean - pairs[:, 0]).abs() > spread + 1e-6).any()):
        findings.append(
            Finding(
                "sample-wrong-mean",
                "The samples' mean is not the mean given. Return mean + std * noise.",
            )
        )
    if shared:
        what = "images of a batch" if draws.shared_by_batch else "latents of an image"
        findings.append(
            Finding(
                "sample-shared-noise",
                f"All {what} get the same noise. Draw it in the shape of the std: "
                "torch.randn_like(std).",
            )
        )
    return findings


def _gradient(sampler: _Sampler) -> list[Finding]:
    sample, mean, log_var = sampler.draw(0)
    missing: list[str] = ["mean", "log_var"]
    if sample.requires_grad:
        grads = torch.autograd.grad(sample.sum(), (mean, log_var), allow_unused=True)
        missing = [
            name
            for name, grad in zip(missing, grads, strict=True)
            if grad is None or float(grad.nan_to_num().norm()) == 0
        ]
    if not missing:
        return []
    return [
        Finding(
            "sample-detached",
            f"No gradient reaches {' and '.join(missing)} through the sample: the encoder cannot "
            "learn it. Use rsample() or mean + std * torch.randn_like(std), without no_grad, "
            "detach or torch.normal.",
        )
    ]
