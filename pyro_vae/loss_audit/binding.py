"""One way of calling a loss: which of its parameters gets what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from pyro_vae.loss_audit.standins import Posterior, Whole, draw, mask
from pyro_vae.loss_audit.wording import ROLES, Parametrisation, Role

__all__: list[str] = []


_OTHER = "other than "


def _other_than(tensor: torch.Tensor) -> torch.Tensor:
    """Every second value changed."""
    odd = (torch.arange(tensor.numel()) % 2).reshape(tensor.shape).bool()
    if tensor.dtype is torch.bool:
        return tensor ^ odd
    return torch.where(odd, tensor + 1 if tensor.dtype is torch.long else 1.5 - tensor, tensor)


@dataclass(frozen=True)
class Binding:
    """The parameters of a loss, matched with what an audit can give.

    Attributes:
        order: Each parameter that gets something: its name, None for one of ``*args``, and what it
            gets: a role, "z", "batch", "posterior", "zeros" or "ones" of the code's shape or
            "of x_hat", "labels", a kind of mask, or roles joined by commas.
        keywords: Those of them that are accepted by name only.
        weights: Numbers among the parameters, and the value that they are audited at.
        assumed: Those of the numbers whose value is the audit's.
        scale: What the name of the last argument says it is; None if it says nothing.
        standing: How well the names fit.
    """

    name: str
    order: tuple[tuple[str | None, str], ...]
    keywords: frozenset[str]
    weights: Mapping[str, float]
    assumed: frozenset[str]
    scale: Parametrisation | None
    standing: int = 0

    def call(
        self,
        function: Callable[..., Any],
        tensors: Mapping[Role, Any],
        weights: Mapping[str, float],
    ) -> Any:
        """Call the function with what each parameter gets."""
        given = [(name, self._given(what, tensors)) for name, what in self.order]
        positional = [value for name, value in given if name not in self.keywords]
        named = {str(name): value for name, value in given if name in self.keywords}
        return function(*positional, **named, **weights)

    def _given(self, what: str, tensors: Mapping[Role, Any]) -> Any:
        plain: Mapping[str, Any] = {str(role): tensor for role, tensor in tensors.items()}
        if what.startswith(_OTHER):
            return _other_than(self._given(what.removeprefix(_OTHER), tensors))
        if what in plain:
            return plain[what]
        if what.startswith("mask"):
            return mask(what, plain["x_hat"])
        if what == "batch":
            return len(plain["x_hat"])
        if what == "z":
            return draw(plain["mean"], plain["log_var"], self.scale)
        if what == "posterior":
            return Posterior(plain["mean"], plain["log_var"])
        if what == "labels":
            return torch.zeros(len(plain["x_hat"]), dtype=torch.long)
        if what.endswith("of x_hat"):
            like = plain["x_hat"].detach()
            return torch.zeros_like(like) if what.startswith("zeros") else torch.ones_like(like)
        if what in ("zeros", "ones"):
            like = plain["mean"].detach()
            return torch.zeros_like(like) if what == "zeros" else torch.ones_like(like)
        return Whole.of(plain, [role for role in what.split(",") if role])

    @property
    def beside(self) -> dict[str, str]:
        """Tensors that are no role, and what they get."""
        plain = ("z", "batch", "posterior", *ROLES)
        return {str(n): what for n, what in self.order if what not in plain and "," not in what}

    def with_other(self, name: str) -> Binding:
        """The same with another tensor for one of these."""
        order = ((n, _OTHER + what if n == name else what) for n, what in self.order)
        return replace(self, order=tuple(order))

    def argument(self, role: Role) -> str:
        """The function's own name for a role."""
        return next((name for name, found in self.order if found == role and name), role)

    def describe(self) -> str:
        """The mapping in words, as Python would write the call."""
        parts = [
            text if name is None else f"{name}={text}"
            for name, what in self.order
            for text in [f"({what.replace(',', ', ')})" if "," in what else what]
        ]
        parts += [f"{name}={value:g}" for name, value in self.weights.items()]
        return f"{self.name}({', '.join(parts)})"
