"""The table of losses that nobody here wrote: how a case is entered, and what it says.

Each loss is our own minimal version of what a public source does. Its truth is derived by hand;
the tests compare it with the loss's own values, without the audit's code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Loss = Callable[..., Any]
Pair = Callable[[Tensor, Tensor], Any]

IMAGES: dict[str, Any] = {"data_shape": (3, 16, 16), "latent_dim": 12, "batch_size": 32}
VECTORS: dict[str, Any] = {"data_shape": (40,), "latent_dim": 12, "batch_size": 32}
ROWS: dict[str, Any] = {"data_shape": (20, 15), "latent_dim": 12, "batch_size": 32}
DIGITS: dict[str, Any] = {"data_shape": (1, 28, 28), "latent_dim": 2, "batch_size": 32}
EQUAL: dict[str, Any] = {"data_shape": (12,), "latent_dim": 12, "batch_size": 32}


@dataclass(frozen=True)
class Case:
    """A loss and its truth.

    Attributes:
        loss: As it was written.
        source: Where, or what it is a variant of.
        sizes: Of the audit.
        beta: Weight of the KL per image against ``term`` per image; None where there is none.
        codes: Of the findings, exactly.
        term: The reconstruction term by value, of (x_hat, x).
        kl: The right KL by latent, of (mean, last argument); None where the loss has another.
        call: The loss as a function of (x, x_hat, mean, last argument).
        prints: "same", "mended" or "nothing".
        mended: The loss, of the same four, with exactly its mistakes mended.
        says: Words that the report has.
    """

    loss: Loss
    source: str
    sizes: dict[str, Any]
    beta: float | None
    codes: frozenset[str]
    term: Pair | None
    kl: Pair | None
    call: Loss
    prints: str
    mended: Loss | None
    says: tuple[str, ...]


TABLE: dict[str, Case] = {}


def squared(x_hat: Tensor, x: Tensor) -> Any:
    return (x_hat - x).square()


def absolute(x_hat: Tensor, x: Tensor) -> Any:
    return (x_hat - x).abs()


def entropy(x_hat: Tensor, x: Tensor) -> Any:
    return -x * x_hat.log() - (1 - x) * (1 - x_hat).log()


def logits(x_hat: Tensor, x: Tensor) -> Any:
    return entropy(x_hat.sigmoid(), x)


def of_log_var(mean: Tensor, log_var: Tensor) -> Any:
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var)


def of_log_std(mean: Tensor, log_std: Tensor) -> Any:
    return 0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std


def of_std(mean: Tensor, std: Tensor) -> Any:
    return 0.5 * (mean**2 + std**2 - 1 - (std**2).log())


def per_image(term: Tensor) -> Any:
    """Summed within an image, averaged over the batch."""
    return term.reshape(len(term), -1).sum(1).mean()


def right(x_hat: Tensor, x: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    """A squared error and a KL that are both right."""
    return per_image(squared(x_hat, x)) + per_image(of_log_var(mean, log_var))


def case(
    source: str,
    beta: float | None = 1.0,
    *codes: str,
    sizes: dict[str, Any] = IMAGES,
    term: Pair | None = squared,
    kl: Pair | None = of_log_var,
    call: str | Loss = "x_hat x mean last",
    prints: str = "same",
    mended: Loss | None = None,
    says: Collection[str] = (),
    name: str | None = None,
) -> Callable[[Any], Any]:
    """Enter a loss.

    Args:
        call: Its arguments in order, or how to call it with (x, x_hat, mean, last).
    """

    def enter(loss: Any) -> Any:
        called: Any = call
        if isinstance(call, str):
            order = call.split()

            def called(x: Tensor, x_hat: Tensor, mean: Tensor, last: Tensor) -> Any:
                given = {"x": x, "x_hat": x_hat, "mean": mean, "last": last}
                return loss(*(given[key] for key in order))

        key = name or getattr(loss, "__name__", type(loss).__name__)
        assert key not in TABLE
        TABLE[key] = Case(
            loss, source, sizes, beta, frozenset(codes), term, kl, called, prints, mended,
            tuple(says),
        )  # fmt: skip
        return loss

    return enter


def rand(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)
