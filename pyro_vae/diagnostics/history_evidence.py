"""What a run's records say of how training went."""

from __future__ import annotations

import math

from pyro_vae import schedules, warning_signs
from pyro_vae.history import History, Record, value_of
from pyro_vae.types import JSON, Fields

__all__: list[str] = []

EPOCHS = 8
"""Held-out scores from which on they tell how training goes on."""
_TARGETS = ("target_kl", "target_reconstruction")
"""Options under which β is adapted instead of given."""


def betas_of(history: History, settings: Fields) -> tuple[float, float]:
    """β at the end, and the β that its schedule ends at."""
    adapted = any(settings.get(name) is not None for name in _TARGETS)
    try:
        final = schedules.parse(str(settings.get("beta", "1"))).final
    except ValueError:
        final = None
    wanted = math.nan if final is None or adapted else float(final)
    last = [record["beta"] for record in history.epochs()]
    beta = float(last[-1]) if last else (1.0 if math.isnan(wanted) else wanted)
    return beta, beta if math.isnan(wanted) else wanted


def course_of(history: History, settings: Fields) -> JSON:
    """The fields of :class:`~pyro_vae.diagnostics.evidence.Evidence` that records decide."""
    keep_best = settings.get("keep_best")
    if keep_best is None:  # as training decides where nobody does
        keep_best = history.part == "validation"
    return {**_of_steps(history), **_of_epochs(history, keep_best)}


def finite(history: History) -> bool:
    """Whether all losses are."""
    return all(math.isfinite(record["loss"]) for record in history.steps)


def _of_steps(history: History) -> JSON:
    steps = history.steps
    if not steps:
        names = ("kl_peak", "rising", "doubled", "gain_per_epoch", "steps", "steps_per_epoch")
        return dict.fromkeys((*names, "gradient_norm"))
    tenth = max(1, len(steps) // 10)
    per_epoch = sum(record["epoch"] == steps[0]["epoch"] for record in steps)
    scores = _at_last_beta(steps)
    norms = sorted(record["gradient_norm"] or 0.0 for record in steps[-tenth:])
    return {
        "kl_peak": max(record["kl"] for record in steps[: warning_signs.FIRST]),
        "steps": len(steps),
        "steps_per_epoch": per_epoch,
        "rising": _rising(scores, tenth),
        **_gains(history, scores, per_epoch),
        "gradient_norm": norms[len(norms) // 2],
    }


def _gains(history: History, steps: list[float], per_epoch: int) -> JSON:
    """Of held-out images where they were scored often enough, else of the training steps."""
    key, held_out = history.objective, history.epochs("held-out")
    beta = history.steps[-1]["beta"]
    epochs = [value_of(record, key) + (1 - beta) * record["kl"] for record in held_out]
    scores, each = (epochs, 1) if len(epochs) >= EPOCHS else (steps, per_epoch)
    tenth = max(1, len(scores) // 10)
    return {
        "doubled": _mean(scores[-tenth:]) - _mean(_around(scores, tenth)),
        "gain_per_epoch": _last_gain(scores, tenth) * each / tenth,
    }


def _at_last_beta(steps: list[Record]) -> list[float]:
    """Each step's score at the last one's β, nats per image."""
    beta = steps[-1]["beta"]
    return [(record["beta"] - beta) * record["kl"] - record["loss"] for record in steps]


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)


def _around(scores: list[float], tenth: int) -> list[float]:
    """A tenth of the steps about their middle."""
    start = (len(scores) - tenth) // 2
    return scores[start : start + tenth]


def _last_gain(scores: list[float], tenth: int) -> float:
    """From the last tenth but one to the last."""
    return _mean(scores[-tenth:]) - _mean(scores[-2 * tenth : -tenth] or scores)


def _rising(scores: list[float], tenth: int) -> float | None:
    """Gain of the last tenth as a share of all gain."""
    first, last = _mean(scores[:tenth]), _mean(scores[-tenth:])
    return _last_gain(scores, tenth) / (last - first) if last > first else None


def _of_epochs(history: History, keep_best: bool) -> JSON:
    """How the held-out score stands at the weights that training ended with."""
    key = history.objective
    held_out, training = history.epochs("held-out"), history.epochs()
    known = min(len(held_out), len(training))
    if not known:
        return {"fallen": None, "gap": None}
    scores = [value_of(record, key) for record in held_out[:known]]
    ended = history.ended(keep_best)
    end = next((i for i in range(known) if held_out[i] is ended), known - 1)
    best = max(scores[: end + 1])
    return {
        "fallen": (best - scores[end]) / max(best - scores[0], 1e-9),
        "gap": value_of(training[end], key) - scores[end],
    }
