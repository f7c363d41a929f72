"""The formulas that KL terms are told by: right ones, and right ones with a named mistake."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

__all__: list[str] = []

Formula = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Scale:
    """What an argument is to the variance.

    Attributes:
        name: In words; one of the four parametrisations, or a formula.
        log_var: The log-variance that it stands for.
        source: The same as Python, of ``{s}``.
        log_var_text: How a sentence writes the log-variance; ``variance_text`` the variance.
        plain: One of the four that a name can say.
    """

    name: str
    log_var: Callable[[Tensor], Tensor]
    source: str
    log_var_text: str
    variance_text: str
    plain: bool = True

    def variance(self, argument: Tensor) -> Tensor:
        """The variance that it stands for; where it is negative, what a formula makes of it."""
        return argument if self.name == "variance" else self.log_var(argument).exp()

    def argument(self, variance: float) -> float:
        """The argument that stands for a variance, by bisection where it is no formula."""
        wanted = math.log(variance)
        low, high = (-40.0, 40.0) if self.name.startswith("log") or not self.plain else (1e-9, 1e4)
        if not self.plain and self._at(low) > self._at(high):
            low, high = high, low
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self._at(middle) < wanted else (low, middle)
        return (low + high) / 2

    def _at(self, argument: float) -> float:
        return float(self.log_var(torch.tensor(argument, dtype=torch.float64)))


LOG_VARIANCE = Scale("log-variance", lambda s: s, "{s}", "log_var", "log_var.exp()")
LOG_STD = Scale("log-std", lambda s: 2 * s, "2 * {s}", "2 * log_std", "(2 * log_std).exp()")
VARIANCE = Scale("variance", lambda s: s.abs().log(), "{s}.log()", "variance.log()", "variance")
STD = Scale("std", lambda s: (s**2).log(), "{s}.pow(2).log()", "std.pow(2).log()", "std.pow(2)")
SCALES = (LOG_VARIANCE, LOG_STD, VARIANCE, STD)

_MADE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "softplus": (F.softplus, "F.softplus({s})"),
    "sigmoid": (torch.sigmoid, "{s}.sigmoid()"),
    "exp": (torch.exp, "{s}.exp()"),
    "exp of a half": (lambda s: (0.5 * s).exp(), "(0.5 * {s}).exp()"),
    "elu": (lambda s: F.elu(s) + 1, "(F.elu({s}) + 1)"),
    "square": (lambda s: s**2, "{s}.pow(2)"),
    "exp of minus": (lambda s: (-s).exp(), "(-{s}).exp()"),
    "exp of minus a half": (lambda s: (-0.5 * s).exp(), "(-0.5 * {s}).exp()"),
    "itself": (lambda s: s, "{s}"),
}
"""Positive functions that people make a standard deviation or a variance of a network's output."""


def made(name: str, of_variance: bool, floor: float, factor: float) -> Scale:
    """The scale whose standard deviation, or variance, is floor + factor * one of these."""
    function, source = _MADE[name]
    power = 1 if of_variance else 2
    text = source if factor == 1 else f"{factor:.6g} * {source}"
    text = text if floor == 0 else f"({floor:.6g} + {text})"
    text = f"({text})" if factor != 1 and floor == 0 else text
    shown = f"{'variance' if of_variance else 'std'} of {text.format(s='s')}".replace("F.", "")
    return Scale(
        shown,
        lambda s: power * (floor + factor * function(s)).log(),
        f"{power} * {text}.log()" if power == 2 else f"{text}.log()",
        "the log-variance", "the variance", plain=False,
    )  # fmt: skip


MADE = tuple(_MADE)


@dataclass(frozen=True)
class Form:
    """A formula per latent: what it is called, its finding, and what it takes its argument for.

    Attributes:
        term: Of the mean and the argument; 1 of it is 1 of the right KL, mistakes apart.
        of: What the argument is.
        prior: Mean and variance of the Gaussian that codes are compared with.
    """

    name: str
    term: Formula
    code: str | None = None
    sentence: str = ""
    of: Scale = field(default=LOG_VARIANCE)
    prior: tuple[float, float] = (0.0, 1.0)

    @property
    def right(self) -> Formula:
        """The formula with its mistake mended."""
        return self.term if self.code is None else closed(self.of).term


def closed(scale: Scale, mean: float = 0.0, variance: float = 1.0) -> Form:
    """KL(N(m, v) || N(mean, variance))."""

    def term(m: Tensor, s: Tensor) -> Tensor:
        log_var = scale.log_var(s)
        square = (m - mean) ** 2 if mean else m**2
        ratio = torch.tensor(variance, dtype=log_var.dtype).log()
        return ((square + scale.variance(s)) / variance - 1 - log_var + ratio) / 2

    usual = (mean, variance) == (0.0, 1.0)
    name = "closed form" if usual else f"closed form to N({mean:.4g}, {variance:.4g})"
    return Form(name, term, of=scale, prior=(mean, variance))


Parts = Callable[[Tensor, Tensor, Tensor], Tensor]

#: code, what it is called, half of it from m, v and log v, what to say.
_MISTAKES: tuple[tuple[str, str, Parts, str], ...] = (
    ("kl-scale-ignored", "no part in the variance", lambda m, v, lv: m**2 + 0 * lv,
     "The KL does not depend on {name}: either its exponential is missing ({name} then cancels) or "
     "its terms are; no probe can tell which. Write {v} - {lv}."),
    ("kl-missing-log-var", "{lv} missing", lambda m, v, lv: m**2 + v,
     "The KL lacks its - {lv}: the variance is driven to 0. Subtract it."),
    ("kl-missing-exp-term", "{v} missing", lambda m, v, lv: m**2 - lv,
     "The KL lacks its {v}: the variance grows without limit. Add it."),
    ("kl-mean-not-squared", "mean not squared", lambda m, v, lv: m + v - 1 - lv,
     "The KL takes the mean itself where its square belongs. Write mean.pow(2)."),
    ("kl-takes-mean-absolute", "absolute mean", lambda m, v, lv: m.abs() + v - 1 - lv,
     "The KL takes the mean's absolute value where its square belongs. Write mean.pow(2)."),
    ("kl-missing-mean", "no part in the mean", lambda m, v, lv: v - 1 - lv + 0 * m,
     "The KL has no term in the mean: codes may lie anywhere. Add mean.pow(2)."),
    ("kl-std-for-variance", "std taken for the variance",
     lambda m, v, lv: m**2 + (lv / 2).exp() - 1 - lv,
     "The KL takes the standard deviation where the variance belongs: its exponential is not "
     "squared. Write {v}."),
    ("kl-variance-squared", "variance squared", lambda m, v, lv: m**2 + v**2 - 1 - lv,
     "The KL squares the variance: either exp(log_var) was taken for the standard deviation, "
     "or log std is meant and its last term lacks the factor 2; no probe can tell which. For a "
     "{kind} write {v} - {lv}."),
    ("kl-mean-sign", "wrong sign of the mean", lambda m, v, lv: -(m**2) + v - 1 - lv,
     "mean.pow(2) has the wrong sign: codes are driven apart without limit. Add it."),
    ("kl-log-var-sign", "wrong sign of {lv}", lambda m, v, lv: m**2 + v - 1 + lv,
     "{lv} has the wrong sign in the KL: the variance is driven to 0. Subtract it."),
    ("kl-exp-sign", "wrong sign of {v}", lambda m, v, lv: m**2 - v - 1 - lv,
     "{v} has the wrong sign in the KL: the variance grows without limit. Add it."),
    ("kl-exp-sign", "wrong sign of the variance", lambda m, v, lv: m**2 - v - 1 + lv,
     "{v} - {lv} has the wrong sign in the KL: the variance runs away. Add it."),
    ("kl-half-misplaced", "half misplaced", lambda m, v, lv: 2 * m**2 + 2 * v - (1 + lv),
     "The factor 1/2 reaches only a part of the KL. Put brackets around the whole sum."),
    ("kl-half-misplaced", "half on a part of the scale", lambda m, v, lv: m**2 + v - 1 - lv / 2,
     "{lv} enters with half of its weight: a log-std was taken for a log-variance, or a factor 1/2 "
     "was lost on its way. Write {v} - {lv}."),
    ("kl-reversed", "reversed", lambda m, v, lv: (1 + m**2) / v - 1 + lv,
     "This is KL(prior || posterior); the ELBO has KL(posterior || prior). Swap the two."),
)  # fmt: skip


def _mistakes(scale: Scale) -> list[Form]:
    made_of = {
        "lv": scale.log_var_text, "v": scale.variance_text, "kind": scale.name,
        "name": "log_var" if scale is LOG_VARIANCE else scale.name,
    }  # fmt: skip

    def term(parts: Parts) -> Formula:
        def formula(m: Tensor, s: Tensor) -> Tensor:
            log_var = scale.log_var(s)
            return parts(m, scale.variance(s), log_var) / 2

        return formula

    return [
        Form(name.format(**made_of), term(parts), code, sentence.format(**made_of), scale)
        for code, name, parts, sentence in _MISTAKES
    ]


def forms(declared: str | None) -> list[Form]:
    """Right ones first, then mistakes, those in the declared scale before others."""
    ordered = sorted(SCALES, key=lambda scale: scale.name != (declared or "log-variance"))
    return [closed(scale) for scale in SCALES] + [
        form for scale in ordered for form in _mistakes(scale)
    ]
