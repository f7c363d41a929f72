"""The report checks itself: what it says, and what it prints, against values of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.loss_audit import kinds
from pyro_vae.loss_audit.corrected import corrected_source
from pyro_vae.loss_audit.evidence import Evidence
from pyro_vae.loss_audit.mending import Plan, plan
from pyro_vae.loss_audit.points import POSITIVE
from pyro_vae.loss_audit.reconstruction import fresh_image, shares_of
from pyro_vae.loss_audit.wording import ROLES, Role

__all__: list[str] = []

_TOLERANCE = 2e-3
_NOISY = 0.1

Tensors = dict[Role, Tensor]


@dataclass(frozen=True)
class Printed:
    """A function to paste that was checked, or what of the loss is not understood.

    Attributes:
        source: Empty where nothing is printed.
        unclear: What is not understood.
        remarks: What was mended, and what the loss is in terms of the function.
    """

    source: str
    unclear: tuple[str, ...]
    remarks: tuple[str, ...]


def printed(evidence: Evidence, found: Collection[str]) -> Printed:
    """Write the function to paste, unless its values turn out to be something else.

    The loss has to be, at fresh points, what was read of it: its terms add up, each follows its
    formula. The function has to be that with the named mistakes mended, and finite.
    """
    planned, unclear = plan(evidence, found)
    unclear += [
        f"what {name} does, which a function of the four does not have"
        for name in evidence.binding.beside
        if evidence.probe.depends_on(name)
    ]
    if planned is None or unclear:
        return Printed("", tuple(unclear), ())
    try:
        points = _Points(evidence, planned)
        unclear = _reading(evidence, planned, points)
    except Exception as error:  # whatever other people's code raises
        unclear = [f"its values at fresh points ({type(error).__name__})"]
    if unclear:
        return Printed("", tuple(unclear), ())
    indices = evidence.probe.classes is not None
    source = corrected_source(evidence.binding, planned, indices)
    told = _compare(evidence, planned, points, source)
    if told is None:
        return Printed("", ("why the function written for it gives other values",), ())
    return Printed(source, (), (*planned.remarks, *([told] if told else [])))


class _Points:
    """Fresh inputs, and the values of the loss there.

    Three images and three codes, one of each combined with all of the others; a fourth image has
    outputs far from the data, where the term is defined there.
    """

    def __init__(self, evidence: Evidence, planned: Plan) -> None:
        self._evidence = evidence
        probe = evidence.probe
        self.images = [fresh_image(probe, seed) for seed in range(3)]
        if _unbounded(planned.kind) and evidence.term.kind is planned.kind:
            self.images.append(fresh_image(probe, 4, far=True))
        spread = 12.0 if planned.clamp else 1.0
        self._positive = probe.point.latents[0] == POSITIVE[0]
        if not math.isfinite(probe.value_at({**self.images[0], **self._code(0, 1.0)})):
            self._positive = True
        self.codes = [self._code(seed, spread if seed == 2 else 1.0) for seed in range(3)]
        self.pairs = [(i, 0) for i in range(len(self.images))] + [(0, 1), (0, 2), (1, 1)]
        self.values = {
            (i, j): probe.value_at({**self.images[i], **self.codes[j]}) for i, j in self.pairs
        }

    def _code(self, seed: int, spread: float) -> Tensors:
        probe, sizes = self._evidence.probe, self._evidence.probe.point.sizes
        generator = torch.Generator().manual_seed(201 + seed)
        shape = (sizes.batch, *sizes.codes)
        mean = torch.randn(shape, generator=generator, dtype=torch.float64)
        scale = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
        if self._positive:
            scale = 0.2 + scale.abs()
        return {"mean": mean.to(probe.dtype), "log_var": scale.to(probe.dtype)}

    def image_terms(self, term: Callable[[Tensor, Tensor], Tensor], shares: Tensor) -> list[float]:
        """A reconstruction term of each image, summed over an image and weighed over the batch."""
        sums = []
        for image in self.images:
            x_hat, x = image["x_hat"].double(), image["x"]
            x = x.reshape(x_hat.shape).double() if self._evidence.probe.classes is None else x
            each = term(x_hat, x).reshape(len(x_hat), -1).sum(1)
            sums.append(float((shares * each).sum()))
        return sums

    def code_terms(self, planned: Plan, term: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
        """The KL of each code, per image, with what is done to it."""
        sums = []
        for code in self.codes:
            scale = code["log_var"].double()
            if planned.clamp is not None:
                scale = scale.clamp(*planned.clamp)
            sums.append(float(planned.shape.total(term(code["mean"].double(), scale))))
        return sums


def _unbounded(kind: kinds.Kind) -> bool:
    """Whether the term is defined for any x_hat."""
    return bool(kind.norm) or kind.name in (
        kinds.LOGITS, kinds.HUBER, kinds.LOG_COSH.name, "continuous Bernoulli with logits"
    ) or "with logits" in kind.name  # fmt: skip


def _far(values: list[float], wanted: list[float], tolerance: float) -> bool:
    """Whether differences between values are other than wanted ones."""
    found = [value - values[0] for value in values[1:]]
    right = [value - wanted[0] for value in wanted[1:]]
    if not all(map(math.isfinite, found + right)):
        return True
    # What rounding of the whole leaves of a difference; and what two sums have in common.
    slack = 1e-9 * max(map(abs, values))
    return any(
        abs(a - b)
        > tolerance * (abs(b) + (0.5 if tolerance == _NOISY else 0.02) * abs(whole)) + slack
        for a, b, whole in zip(found, right, wanted[1:], strict=True)
    )


def _reading(evidence: Evidence, planned: Plan, points: _Points) -> list[str]:
    """What of the loss its values contradict."""
    probe, term, kl = evidence.probe, evidence.term, evidence.kl
    tolerance = _NOISY if probe.noisy else _TOLERANCE
    if probe.dtype is torch.float32:
        tolerance = max(tolerance, 5e-3)
    values, unclear = points.values, []
    if term.kind is not None and term.weight:
        shares, masked = shares_of(probe, term.kind)
        wanted = points.image_terms(_masked(term.kind.term, masked), shares)
        wanted = [term.weight * value for value in wanted]
        if _far([values[i, 0] for i in range(len(wanted))], wanted, tolerance):
            unclear.append(f"the reconstruction term: near {term.name}, but its values are others")
        elif bool((masked == 0).any()):
            unclear.append("which values of an image are left out, and why")
    known = kl.form is not None and kl.form.name != "none" and kl.behaviour != "nonlinear"
    if known and kl.form is not None and kl.factor:
        batch = probe.point.sizes.batch
        wanted = [kl.factor * batch * value for value in points.code_terms(planned, kl.form.term)]
        if _far([values[0, j] for j in range(3)], wanted, tolerance):
            unclear.append(
                f"the KL: its gradients fit a formula ({kl.form.name}), its values do not"
            )
    moved = [values[1, 0] - values[0, 0], values[0, 1] - values[0, 0]]
    joint = values[1, 1] - values[0, 0] - sum(moved)
    if abs(joint) > tolerance * max(map(abs, moved)) + 1e-9 * abs(values[0, 0]):
        unclear.append("how the two terms meet: their values do not add up")
    return unclear


def _masked(
    term: Callable[[Tensor, Tensor], Tensor], positions: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    if bool((positions != 0).all()):
        return term

    def counted(x_hat: Tensor, x: Tensor) -> Tensor:
        return term(x_hat, x).flatten(1) * (positions != 0)

    return counted


def _compare(evidence: Evidence, planned: Plan, points: _Points, source: str) -> str | None:
    """Run the function; None if its values are not the plan's, else what the loss is in terms of
    it, or nothing where it is no multiple of it, as where mistakes were mended.
    """
    scope: dict[str, Any] = {}
    roles = [what for _, what in evidence.binding.order if what in ROLES]
    order = [*roles, *(role for role in ROLES if role not in roles)]
    try:
        exec(source, scope)
        run = scope["loss_function"]
        with torch.no_grad():
            values = {
                (i, j): float(run(*({**points.images[i], **points.codes[j]}[r] for r in order)))
                for i, j in points.pairs
            }
    except Exception:
        return None
    if not all(map(math.isfinite, values.values())):
        return None
    batch = evidence.probe.point.sizes.batch
    shares = torch.full((batch,), 1 / batch, dtype=torch.float64)
    images = points.image_terms(planned.kind.term, shares)
    codes = points.code_terms(planned, planned.form.right)
    weight = planned.multiplier * planned.weight
    wanted = {(i, j): planned.constant * images[i] + weight * codes[j] for i, j in points.pairs}
    blocks = [[p for p in points.pairs if p[1] == 0], [(0, 0), (0, 1), (0, 2)], [(0, 0), (1, 1)]]
    for block in blocks:
        if _far([values[p] for p in block], [wanted[p] for p in block], 1e-3):
            return None
    return _relation(evidence, points, values)


def _relation(evidence: Evidence, points: _Points, values: dict[tuple[int, int], float]) -> str:
    """The loss as a factor times the function plus a constant, if it is that."""
    own = points.values
    factors = [(own[p] - own[0, 0]) / (values[p] - values[0, 0]) for p in ((1, 0), (0, 1), (0, 2))]
    factor = factors[0]
    if evidence.probe.noisy or any(abs(f - factor) > _TOLERANCE * abs(factor) for f in factors):
        return ""
    constant = own[0, 0] - factor * values[0, 0]
    if abs(constant) < 1e-5 * abs(own[0, 0]):
        constant = 0.0
    if constant == 0 and abs(factor - 1) < 1e-6:
        return "The function below has the very values of your loss."
    added = "" if constant == 0 else f" {'+' if constant > 0 else '-'} {abs(constant):,.6g}"
    batch = evidence.probe.point.sizes.batch
    return (
        f"Your loss is {factor:.6g} times the function below{added}, at these sizes and {batch} "
        "images."
    )
