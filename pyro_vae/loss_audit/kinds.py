"""The kinds of reconstruction terms: each a formula of (x_hat, x), and its Python to print."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli
from torch.nn import functional as F

__all__: list[str] = []

SQUARED = "squared error"
ABSOLUTE = "absolute error"
GAUSSIAN = "Gaussian log-density"
LAPLACE = "Laplace log-density"
CROSS_ENTROPY = "cross-entropy"
LOGITS = "cross-entropy with logits"
HUBER = "Huber"
RMSE = "root mean squared error"
OPTIMAL = "log of the squared error"
SQUARED_SUM = "square of the summed error"
SWAPPED = "cross-entropy with x and x_hat swapped"
CATEGORICAL = "categorical log-likelihood"
UNKNOWN = "unknown"
NONE = "none"

_F = "from torch.nn import functional as F"
_CONTINUOUS = "from torch.distributions import ContinuousBernoulli"


@dataclass(frozen=True)
class Kind:
    """A term.

    Attributes:
        name: In words.
        term: Of x_hat and x, each batch first; summed over an image it is what weights count.
        output: For errors: how the source writes the prediction; ``target`` what it is held to.
        source: For others: the whole term as Python of ``{x}`` and ``{x_hat}``.
        needs: The import that the source needs.
        axis: Of x_hat, over which a softmax couples values; None where none does.
        norm: 2 for squared errors, 1 for absolute ones, 0 for others.
        robust: It is twice its source, to count like the squared error that it is near zero.
    """

    name: str
    term: Callable[[Tensor, Tensor], Tensor]
    output: str = "{x_hat}"
    target: str = "{x}"
    source: str = ""
    needs: str = ""
    axis: int | None = None
    norm: int = 0
    robust: bool = False


def _swapped(x_hat: Tensor, x: Tensor) -> Tensor:
    return -x_hat * x.log().clamp(-100) - (1 - x_hat) * (-x).log1p().clamp(-100)


def _error(norm: int, change: Callable[[Tensor], Tensor], target: Callable[[Tensor], Tensor]) -> (
    Callable[[Tensor, Tensor], Tensor]
):  # fmt: skip
    def term(x_hat: Tensor, x: Tensor) -> Tensor:
        error = change(x_hat) - target(x)
        return error.square() if norm == 2 else error.abs()

    return term


def _same(values: Tensor) -> Tensor:
    return values


def _errors() -> list[Kind]:
    """Errors of the output, or of a function of it, against the data, or a function of that."""
    changes: list[tuple[str, str, str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
        ("", "{x_hat}", "{x}", _same, _same),
        (" of sigmoid(x_hat)", "{x_hat}.sigmoid()", "{x}", torch.sigmoid, _same),
        (" of tanh(x_hat)", "{x_hat}.tanh()", "{x}", torch.tanh, _same),
        (" against 2 x - 1", "{x_hat}", "(2 * {x} - 1)", _same, lambda x: 2 * x - 1),
        (" of tanh(x_hat) against 2 x - 1", "{x_hat}.tanh()", "(2 * {x} - 1)", torch.tanh,
         lambda x: 2 * x - 1),
        (" of (x_hat + 1) / 2", "({x_hat} + 1) / 2", "{x}", lambda x_hat: (x_hat + 1) / 2, _same),
        (" against log(1 + x)", "{x_hat}", "{x}.log1p()", _same, torch.log1p),
        (" of exp(x_hat)", "{x_hat}.exp()", "{x}", torch.exp, _same),
        (" of relu(x_hat)", "{x_hat}.relu()", "{x}", torch.relu, _same),
    ]  # fmt: skip
    made = []
    for norm, name in ((2, SQUARED), (1, ABSOLUTE)):
        for words, output, target, change, goal in changes:
            made.append(Kind(name + words, _error(norm, change, goal), output, target, norm=norm))
    return made


KINDS: tuple[Kind, ...] = (
    *_errors(),
    Kind(CROSS_ENTROPY, lambda x_hat, x: F.binary_cross_entropy(x_hat, x, reduction="none"),
         source='F.binary_cross_entropy({x_hat}, {x}, reduction="none")', needs=_F),
    Kind(LOGITS, lambda x_hat, x: F.binary_cross_entropy_with_logits(x_hat, x, reduction="none"),
         source='F.binary_cross_entropy_with_logits({x_hat}, {x}, reduction="none")', needs=_F),
    Kind(SWAPPED, _swapped,
         source='F.binary_cross_entropy({x}, {x_hat}, reduction="none")', needs=_F),
    Kind("continuous Bernoulli",
         lambda x_hat, x: -ContinuousBernoulli(probs=x_hat, validate_args=False).log_prob(x),
         source="-ContinuousBernoulli(probs={x_hat}).log_prob({x})", needs=_CONTINUOUS),
    Kind("continuous Bernoulli with logits",
         lambda x_hat, x: -ContinuousBernoulli(logits=x_hat, validate_args=False).log_prob(x),
         source="-ContinuousBernoulli(logits={x_hat}).log_prob({x})", needs=_CONTINUOUS),
    Kind("Poisson", lambda x_hat, x: x_hat - x * x_hat.log(),
         source="F.poisson_nll_loss({x_hat}, {x}, log_input=False, eps=0, reduction=\"none\")",
         needs=_F),
    Kind("Poisson with log rate", lambda x_hat, x: x_hat.exp() - x * x_hat,
         source='F.poisson_nll_loss({x_hat}, {x}, reduction="none")', needs=_F),
    Kind(CATEGORICAL, lambda x_hat, x: -x * x_hat.clamp(min=1e-30).log(),
         source="-{x} * {x_hat}.clamp(min=1e-30).log()"),
    Kind(f"{CATEGORICAL} of log-probabilities", lambda x_hat, x: -x * x_hat,
         source="-{x} * {x_hat}"),
)  # fmt: skip
"""Terms by value: each depends on one value of x_hat and one of x."""

SQUARED_KIND, ABSOLUTE_KIND = KINDS[0], next(kind for kind in KINDS if kind.name == ABSOLUTE)
BERNOULLI_KIND = next(kind for kind in KINDS if kind.name == CROSS_ENTROPY)


def coupled(rank: int, classes: int | None) -> list[Kind]:
    """Terms whose values are coupled by a softmax along an axis of x_hat.

    Args:
        rank: Of x_hat, the batch included.
        classes: The axis of one image that holds classes where x is their index; None where x has
            the shape of x_hat.
    """
    found = []
    for axis in range(rank - 1, 0, -1):
        if classes is not None and axis != classes + 1:
            continue
        found += _along(axis, classes is not None)
    return found


def _along(axis: int, index: bool) -> list[Kind]:
    def one_hot(x_hat: Tensor, x: Tensor) -> Tensor:
        if not index:
            return x
        hot = F.one_hot(x, x_hat.shape[axis]).to(x_hat.dtype)
        return hot.movedim(-1, axis)

    def with_logits(x_hat: Tensor, x: Tensor) -> Tensor:
        return -(one_hot(x_hat, x) * x_hat.log_softmax(axis)).sum(axis)

    def normalised(x_hat: Tensor, x: Tensor) -> Tensor:
        shares = x_hat / x_hat.sum(axis, keepdim=True)
        return -(one_hot(x_hat, x) * shares.clamp(min=1e-30).log()).sum(axis)

    def plain(x_hat: Tensor, x: Tensor) -> Tensor:
        return -(one_hot(x_hat, x) * x_hat.clamp(min=1e-30).log()).sum(axis)

    def logs(x_hat: Tensor, x: Tensor) -> Tensor:
        return -(one_hot(x_hat, x) * x_hat).sum(axis)

    def largest(term: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        def of_index(x_hat: Tensor, x: Tensor) -> Tensor:
            best = F.one_hot(x.argmax(axis), x_hat.shape[axis]).to(x_hat.dtype)
            return term(x_hat, best.movedim(-1, axis))

        return of_index

    places = f"{{x_hat}}.movedim({axis}, 1), {{x}}"
    call = f'F.cross_entropy({places}, reduction="none")'
    told = f" over axis {axis}"
    if index:
        taken = f".gather({axis}, {{x}}.unsqueeze({axis})).squeeze({axis})"
        shares = f"({{x_hat}} / {{x_hat}}.sum({axis}, keepdim=True))"
        sources = (
            call,
            f"-{shares}{taken}.log()",
            f"-{{x_hat}}{taken}.log()",
            f"-{{x_hat}}{taken}",
        )
    else:
        sources = (
            f"-({{x}} * {{x_hat}}.log_softmax({axis})).sum({axis})",
            f"-({{x}} * ({{x_hat}} / {{x_hat}}.sum({axis}, keepdim=True)).log()).sum({axis})",
            "", "",
        )  # fmt: skip
    names = ("(multinomial) with logits", "of normalised values", "of probabilities",
             "of log-probabilities")  # fmt: skip
    terms: list[Callable[[Tensor, Tensor], Tensor]] = [with_logits, normalised, plain, logs]
    if not index:
        # Rows of a one-hot table, turned into the index of their largest value.
        names = (*names[:2], "with logits, of the largest of x", "of probabilities, of the largest")
        terms[2:] = [largest(with_logits), largest(plain)]
        best = f"{{x}}.argmax({axis})"
        taken = f"{{x_hat}}.gather({axis}, {best}.unsqueeze({axis})).squeeze({axis})"
        sources = (*sources[:2], call.replace("{x},", f"{best},"), f"-{taken}.log()")
    return [
        Kind(f"{CATEGORICAL} {name}{told}", term, source=source, needs=_F, axis=axis)
        for name, term, source in zip(names, terms, sources, strict=True)
        if source
    ]


def huber(threshold: float) -> Kind:
    """Huber's error, counted like the squared error it is near zero."""
    call = f'F.huber_loss({{x_hat}}, {{x}}, reduction="none", delta={threshold:.6g})'
    delta = float(f"{threshold:.6g}")

    def term(x_hat: Tensor, x: Tensor) -> Tensor:
        return 2 * F.huber_loss(x_hat, x, reduction="none", delta=delta)

    return Kind(HUBER, term, source=call, needs=_F, robust=True)


def log_cosh(x_hat: Tensor, x: Tensor) -> Tensor:
    """Take log cosh of the error, without overflow, counted like the squared error near zero."""
    error = (x_hat - x).abs()
    return 2 * (error + F.softplus(-2 * error) - math.log(2))


LOG_COSH = Kind(
    "log-cosh", log_cosh,
    source="(({x_hat} - {x}).abs() + F.softplus(-2 * ({x_hat} - {x}).abs()) - math.log(2))",
    needs=f"import math\n\n{_F}", robust=True,
)  # fmt: skip

#: Terms of a whole batch that are no sum over values, by kind: of the error, batch first.
WHOLES: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    RMSE: (
        lambda error: error.square().flatten(1).sum(1).sqrt().sum(),
        lambda error: error.square().sum().sqrt(),
    ),
    OPTIMAL: (
        lambda error: error.square().sum().log(),
        lambda error: error.square().flatten(1).sum(1).log().sum(),
    ),
    SQUARED_SUM: (
        lambda error: error.sum().square(),
        lambda error: error.flatten(1).sum(1).square().sum(),
        lambda error: error.sum().abs(),
    ),
}
