"""The same loss, right: PyTorch source to paste."""

from __future__ import annotations

from pyro_vae.diagnosis.audit.calling import Binding, Parametrisation
from pyro_vae.diagnosis.audit.reconstruction import ABSOLUTE, CROSS_ENTROPY, HUBER, LAPLACE, LOGITS

__all__: list[str] = []

_KL_SCALE: dict[Parametrisation, str] = {
    "log-variance": "{s}",
    "log-std": "2 * {s}",
    "variance": "{s}.log()",
    "std": "2 * {s}.log()",
}
_FUNCTIONAL = "from torch.nn import functional as F"
_CONTINUOUS = "from torch.distributions import ContinuousBernoulli"
_TERMS = {
    CROSS_ENTROPY: ('F.binary_cross_entropy({x_hat}, {x}, reduction="none")', _FUNCTIONAL),
    LOGITS: ('F.binary_cross_entropy_with_logits({x_hat}, {x}, reduction="none")', _FUNCTIONAL),
    "continuous Bernoulli": ("-ContinuousBernoulli(probs={x_hat}).log_prob({x})", _CONTINUOUS),
    "continuous Bernoulli with logits": (
        "-ContinuousBernoulli(logits={x_hat}).log_prob({x})",
        _CONTINUOUS,
    ),
    "Poisson": (
        'F.poisson_nll_loss({x_hat}, {x}, log_input=False, full=True, reduction="none")',
        _FUNCTIONAL,
    ),
    "Poisson with log rate": (
        'F.poisson_nll_loss({x_hat}, {x}, full=True, reduction="none")',
        _FUNCTIONAL,
    ),
}
"""Of a kind of term: its source, and the import that it needs."""


def corrected_source(
    binding: Binding,
    kind: str,
    scale: Parametrisation,
    *,
    spread: float,
    weight: float,
    threshold: float | None = None,
) -> str:
    """Write -ELBO per image: summed over pixels and latents, averaged over images.

    Args:
        binding: Names and order of the arguments.
        kind: The reconstruction term to keep.
        scale: What the last argument is.
        spread: Standard deviation of a Gaussian, or b of a Laplace.
        weight: Default of beta.
        threshold: Of a Huber loss.
    """
    x, x_hat, mean, last = (binding.argument(r) for r in ("x", "x_hat", "mean", "log_var"))
    beta = next(iter(binding.weights), "beta")
    order = [binding.argument(role) for _, role in binding.order]
    setup, term, imports = _term(kind, x, x_hat, spread, threshold)
    log_var = _KL_SCALE[scale].format(s=last)
    derived = [] if log_var == last else [f"    log_var = {log_var}"]
    name = "log_var" if derived else last
    lines = [
        *imports,
        "",
        "",
        f"def loss_function({', '.join(order)}, {beta}={weight:g}):",
        '    """-ELBO per image: summed over pixels and latents, averaged over images."""',
        f"    {x} = {x}.reshape({x_hat}.shape)",
        *setup,
        *derived,
        f"    nll = {term}",
        f"    divergence = 0.5 * ({mean}.pow(2) + {name}.exp() - 1 - {name})",
        f"    loss = nll.flatten(1).sum(1) + {beta} * divergence.flatten(1).sum(1)",
        "    return loss.mean()",
    ]
    return "\n".join(lines) + "\n"


def _term(
    kind: str, x: str, x_hat: str, spread: float, threshold: float | None
) -> tuple[list[str], str, list[str]]:
    if kind in _TERMS:
        source, needed = _TERMS[kind]
        return [], source.format(x=x, x_hat=x_hat), [needed]
    if kind == HUBER and threshold is not None:
        call = f'F.huber_loss({x_hat}, {x}, reduction="none", delta={threshold:.4g})'
        return [f"    pixel_variance = {spread**2:.6g}"], f"{call} / pixel_variance", [_FUNCTIONAL]
    if kind in (ABSOLUTE, LAPLACE):
        setup = [f"    pixel_b = {spread:.6g}  # best: your reconstructions' mean absolute error"]
        return setup, f"({x_hat} - {x}).abs() / pixel_b + math.log(2 * pixel_b)", ["import math"]
    output = f"{x_hat}.sigmoid()" if kind == "squared error of sigmoid(x_hat)" else x_hat
    return (
        [
            f"    pixel_sigma = {spread:.6g}  # best: the RMSE of your reconstructions",
            f"    residual = ({output} - {x}) / pixel_sigma",
        ],
        "residual.pow(2) / 2 + math.log(pixel_sigma * math.sqrt(2 * math.pi))",
        ["import math"],
    )
