"""What a loss returned, and which of its numbers is the one that is minimised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__: list[str] = []

_TOTALS = ("loss", "total_loss", "total", "objective", "vae_loss", "nelbo", "neg_elbo", "elbo")


@dataclasses.dataclass(frozen=True)
class Choice:
    """The returned parts whose sum is the loss, and what had to be assumed for that."""

    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def numbers(result: Any) -> dict[str, Tensor]:
    """Every number in a returned value, by key, field or position; other things are skipped."""
    if isinstance(result, Mapping):
        items = [(str(key), value) for key, value in result.items()]
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        items = [(f.name, getattr(result, f.name)) for f in dataclasses.fields(result)]
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        items = list(zip(result._fields, result, strict=True))
    elif isinstance(result, tuple | list):
        items = [(str(index), value) for index, value in enumerate(result)]
    else:
        items = [("0", result)]
    found = {}
    for label, value in items:
        if isinstance(value, np.generic | np.ndarray | float | int):
            value = torch.from_numpy(np.asarray(value, dtype=np.float64))
        if isinstance(value, Tensor) and value.numel():
            found[label] = value
    return found


def total(parts: Mapping[str, Tensor], choice: Choice) -> Tensor:
    """The loss as one float64 number; a vector or a map is averaged."""
    missing = [label for label in choice.labels if label not in parts]
    if missing:
        raise ValueError(f"the returned part {missing[0]!r} is there in some calls only")
    return torch.stack([parts[label].to(torch.float64).mean() for label in choice.labels]).sum()


def choose(evaluate: Callable[[bool, bool], Mapping[str, Tensor]]) -> Choice:
    """Find the loss among the returned parts by moving the inputs.

    Args:
        evaluate: Takes (move x_hat, move mean and log_var) and returns the parts.

    Raises:
        ValueError: If nothing that was returned is a number.
    """
    base = {label: _mean(part) for label, part in evaluate(False, False).items()}
    if not base:
        raise ValueError("it returned no number, no tensor and no collection of them")
    labels = tuple(base)
    shapes = {label: tuple(part.shape) for label, part in evaluate(False, False).items()}
    lowered = {label.lower(): label for label in labels}
    named = next((lowered[name] for name in _TOTALS if name in lowered), None)
    if len(labels) == 1 or named is not None:
        return Choice((named or labels[0],), _averaged(shapes, (named or labels[0],)))
    moved_image = _moved(base, evaluate(True, False))
    moved_latent = _moved(base, evaluate(False, True))
    whole = [label for label in labels if label in moved_image and label in moved_latent]
    repeated = any(base[labels[0]] == base[label] for label in labels[1:])
    if whole or repeated:
        label = whole[0] if whole else labels[0]
        return Choice((label,), _averaged(shapes, (label,)))
    pair = (*_first(labels, moved_image), *_first(labels, moved_latent))
    pair = pair or labels[:1]
    others = [label for label in labels if label not in pair]
    left = f"; {' and '.join(others)} left out" if others else ""
    note = (
        f"The returned parts {' and '.join(pair)} were added{left}."
        if len(pair) > 1
        else f"Of the {len(labels)} returned parts, {pair[0]} was taken for the loss."
    )
    return Choice(pair, (note, *_averaged(shapes, pair)))


def _averaged(shapes: Mapping[str, tuple[int, ...]], labels: Sequence[str]) -> tuple[str, ...]:
    wide = [shapes[label] for label in labels if np.prod(shapes[label], dtype=int) > 1]
    if not wide:
        return ()
    text = " and ".join(str(shape).replace(",)", ")") for shape in wide)
    return (f"The function returns values of shape {text}, not a number: they were averaged.",)


def _mean(part: Tensor) -> float:
    return float(part.detach().to(torch.float64).mean())


def _moved(base: Mapping[str, float], parts: Mapping[str, Tensor]) -> set[str]:
    return {
        label
        for label, part in parts.items()
        if label in base and not abs(_mean(part) - base[label]) <= 1e-9 * abs(base[label])
    }


def _first(labels: Sequence[str], moved: set[str]) -> tuple[str, ...]:
    return next(((label,) for label in labels if label in moved), ())
