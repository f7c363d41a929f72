"""Whether a decoder's output and the data lie where the reconstruction term expects them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyro_vae.loss_audit.kinds import CROSS_ENTROPY, LOGITS
from pyro_vae.loss_audit.report import Finding

__all__: list[str] = []

_SLACK = 1e-4
_ON_UNIT = (CROSS_ENTROPY, LOGITS, "continuous Bernoulli", "continuous Bernoulli with logits")


def check_ranges(kind: str, x: Any, x_hat: Any) -> list[Finding]:
    """Compare the ranges of the user's own x and x_hat with each other and with the term.

    Args:
        kind: The reconstruction term.
        x: Data, or None.
        x_hat: Output of the decoder, or None.

    Returns:
        Findings, each a code and a sentence.
    """
    findings: list[Finding] = []
    data = _bounds(x)
    output = _bounds(x_hat)
    if data is not None:
        findings += _data(kind, *data)
    if output is not None:
        findings += _output(kind, *output, data)
    if x is not None and x_hat is not None:
        shapes = tuple(torch.as_tensor(x).shape), tuple(torch.as_tensor(x_hat).shape)
        if shapes[0] != shapes[1] and _size(x) != _size(x_hat):
            findings.append(
                Finding(
                    "shapes-differ",
                    f"x has shape {shapes[0]} and x_hat {shapes[1]}: an error between them is "
                    "broadcast or meaningless. Give them one shape.",
                )
            )
    return findings


def _data(kind: str, low: float, high: float) -> list[Finding]:
    span = f"x runs from {low:.3g} to {high:.3g}"
    if high > 1.5 and low >= 0 and high <= 255:
        return [
            Finding(
                "data-0-255",
                f"{span}: 8-bit levels as they are. An error in these units counts 65,025 times as "
                "much against the KL, and networks saturate. Divide by 255.",
            )
        ]
    if kind in _ON_UNIT and (low < -_SLACK or high > 1 + _SLACK):
        return [
            Finding(
                "data-outside-unit-interval",
                f"{span}, but {kind} is defined on [0, 1] only and has no minimum elsewhere. Bring "
                "x to [0, 1].",
            )
        ]
    return []


def _output(kind: str, low: float, high: float, data: tuple[float, float] | None) -> list[Finding]:
    span = f"x_hat runs from {low:.3g} to {high:.3g}"
    inside = low >= 0 and high <= 1
    if kind in (CROSS_ENTROPY, "continuous Bernoulli"):
        if inside:
            return []
        return [
            Finding(
                "x-hat-outside-unit-interval",
                f"{span}, but {kind} needs probabilities. Put a sigmoid last, or use the form with "
                "logits.",
            )
        ]
    if kind == LOGITS or kind.endswith("with logits"):
        if not inside:
            return []
        return [
            Finding(
                "sigmoid-twice",
                f"{span}, so it looks like probabilities, but the loss takes logits and applies a "
                "sigmoid of its own. Drop the sigmoid of the decoder.",
            )
        ]
    if data is None or data[1] > 1.5:
        return []
    if data[0] >= 0 and low < -0.05 and low >= -1 and high <= 1:
        return [
            Finding(
                "tanh-against-unit-data",
                f"{span} and x from {data[0]:.3g} to {data[1]:.3g}: a tanh against data on [0, 1]. "
                "Half of its range is never right; put a sigmoid last.",
            )
        ]
    if data[0] < -0.05 and inside:
        return [
            Finding(
                "sigmoid-against-signed-data",
                f"{span} and x from {data[0]:.3g} to {data[1]:.3g}: it cannot reach the negative "
                "half. Put a tanh last, or bring x to [0, 1].",
            )
        ]
    return []


def _bounds(values: Any) -> tuple[float, float] | None:
    if values is None:
        return None
    tensor: Tensor = torch.as_tensor(values).detach().double()
    return float(tensor.min()), float(tensor.max())


def _size(values: Any) -> int:
    return int(torch.as_tensor(values).numel())
