"""The ways of a loss, and how far apart they are."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pyro
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyro_vae import objectives
from pyro_vae.objectives import CapturedELBO
from pyro_vae.objectives.surroundings import arithmetic, obstacle

from .copies import Noise, Program

EXACT, GRADIENTS, SINGLE = 1e-9, 1e-8, 2e-5
"""Relative differences that are rounding: of losses and gradients in double precision, and of
losses in single precision."""
TRACED = 2
"""Losses of one kind that graphs are made for in each test."""
ALL, EVERY = 50, 20
"""Of one kind in a test every loss is computed anew up to here; then one of so many."""


class Ledger:
    """What was compared, and what differed."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.differences: list[str] = []
        self.test = ""
        self._traced: Counter[object] = Counter()
        self._seen: Counter[object] = Counter()

    def starts(self, test: str) -> None:
        self.test = test
        self._traced.clear()
        self._seen.clear()

    def count(self, what: str, why: str = "") -> None:
        self.counts[what, why[:100]] += 1

    def compare(self, what: str, found: Any, right: Any, tolerance: float) -> None:
        values = [v.detach() if isinstance(v, Tensor) else v for v in (found, right)]
        a, b = (torch.as_tensor(v, dtype=torch.float64, device="cpu") for v in values)
        close = torch.isclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, norm(b)))
        if not bool((close | (a.isnan() & b.isnan())).all()):
            said = f"{float(a):.12g} for {float(b):.12g}" if a.dim() == 0 else ""
            self.differences.append(f"{self.test}: {what} {said}")

    def skips(self, kind: object) -> bool:
        """Whether to leave out a loss, which is counted: there have been many of its kind."""
        self._seen[kind] += 1
        skipped = self._seen[kind] > ALL and self._seen[kind] % EVERY > 0
        if skipped:
            self.count("not computed anew", f"after {ALL} of its kind one of {EVERY} is")
        return skipped

    def traces(self, kind: object) -> bool:
        self._traced[kind] += 1
        return self._traced[kind] <= TRACED


def norm(value: Tensor) -> float:
    return float(value.norm()) if value.dim() else 0.0


def around() -> str | None:
    """What keeps a loss from being computed anew here, in words, or None."""
    if torch.is_inference_mode_enabled():
        return "inference mode"
    said = obstacle()
    return None if said is not None and "module_local_params" in said else said


def peer(objective: Any) -> Any:
    """Pyro's class of the same bound, with the same noise, or None."""
    K = objective.num_particles
    options = {
        "num_particles": K,
        "vectorize_particles": K > 1,
        "max_plate_nesting": objective.max_plate_nesting,
    }
    kind = type(objective)
    if kind is objectives.TraceELBO:
        return Trace_ELBO(**options)
    if kind is objectives.MeanFieldELBO:
        return TraceMeanField_ELBO(**options)
    if kind is objectives.RenyiELBO:
        return RenyiELBO(objective.alpha, **options)
    if kind in (objectives.ImportanceWeightedELBO, objectives.DoublyReparameterizedELBO):
        return RenyiELBO(0.0, **options)
    return None


def shadow(ledger: Ledger, program: Program, noise: Noise, value: Tensor, backend: str) -> None:
    """Hold a loss that has just been computed against the other ways."""
    ledger.count("losses")
    coarse = arithmetic("cpu")
    tolerance = SINGLE if value.dtype is torch.float32 else EXACT
    if coarse is not None or value.dtype in (torch.float16, torch.bfloat16):
        tolerance = torch.finfo(coarse or value.dtype).eps ** 0.5
    try:
        own = Program(program.parts)
        eager = own.run(own.objective, noise).detach()
    except Exception as error:
        ledger.count("not computed anew", _line(error))
        return
    ledger.compare(f"{program.objective} of the test is another one's,", value, eager, tolerance)
    _by_pyro(ledger, program, noise, value, tolerance, double=False)
    try:
        again = Program(program.parts, double=True)
        eager = again.run(again.objective, noise)
        if eager.dtype is not torch.float64:
            raise TypeError(f"the loss of doubles is {eager.dtype}")
    except Exception as error:
        ledger.count("not in double precision", _line(error))
        return
    ledger.count("compared")
    gradients = _gradients(eager, again)
    found = _by_pyro(ledger, program, noise, eager, EXACT, double=True)
    if found is not None:
        _compare_gradients(ledger, "Pyro's", gradients, found)
    if ledger.traces((str(program.objective), tuple(t.shape for t in program.tensors))):
        _by_graph(ledger, program, noise, backend)


def _by_pyro(
    ledger: Ledger, program: Program, noise: Noise, value: Tensor, tolerance: float, double: bool
) -> list[Tensor | None] | None:
    """Compare with Pyro's class; its gradients, where it has some of its own."""
    own = Program(program.parts, double)
    own.run(own.objective, noise, "prepare")  # Pyro's own would use up noise to find the plates
    if (theirs := peer(own.objective)) is None:
        if double:
            ledger.count("no peer", type(own.objective).__name__)
        return None
    renyi = isinstance(theirs, RenyiELBO)
    if renyi and _subsampled(program, noise, double):
        ledger.count("no peer", "Pyro's bounds have a subsample's factor within their weights")
        return None
    try:
        # Under validation Pyro says where its analytic KL would be biased.
        with warnings.catch_warnings(), pyro.validation_enabled():
            warnings.simplefilter("error", UserWarning)
            found = own.run(theirs, noise, "loss" if renyi else "differentiable_loss")
    except Exception as error:
        if double:
            ledger.count("no peer", f"{type(own.objective).__name__}: {_line(error)}")
        return None
    what = f"{own.objective} is not Pyro's in {'double' if double else 'its own'} precision,"
    ledger.compare(what, value, found, tolerance)
    if double:
        ledger.count("by Pyro", type(theirs).__name__)
    return _gradients(found, own) if double and not renyi else None


def _subsampled(program: Program, noise: Noise, double: bool) -> bool:
    """Whether the sum over the data is scaled up: Pyro's classes do that within the weights."""
    own = Program(program.parts, double)
    factor = objectives.log_weights(*own.run(own.objective, noise, "traces"))[2]
    return bool(factor != 1)


def _by_graph(
    ledger: Ledger,
    program: Program,
    noise: Noise,
    backend: str,
) -> None:
    own = Program(program.parts, double=True)
    captured = CapturedELBO(own.objective, backend=backend)
    try:
        for _ in range(3):  # Pyro's own, held against the graph, the graph's
            found = own.run(captured, noise)
            if captured.reason is not None:
                ledger.count("fell back", captured.reason)
                if "the graph" in captured.reason:
                    ledger.differences.append(f"{ledger.test}: {captured.reason}")
                return
    except Exception as error:
        ledger.differences.append(f"{ledger.test}: a captured {program.objective} {_line(error)}")
        return
    ledger.count("by graphs", backend)
    whose, given = f"{program.objective}'s graph", _gradients(found, own)
    eager = own.run(own.objective, noise)
    ledger.compare(whose, found, eager, EXACT)
    _compare_gradients(ledger, f"{whose}'s", given, _gradients(eager, own))


def _gradients(loss: Tensor, program: Program) -> list[Tensor | None]:
    leaves = program.leaves
    if not leaves or not loss.requires_grad:
        return [None] * len(leaves)
    return list(torch.autograd.grad(loss, leaves, allow_unused=True))


def _compare_gradients(
    ledger: Ledger, whose: str, found: list[Tensor | None], right: list[Tensor | None]
) -> None:
    for a, b in zip(found, right, strict=True):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        ledger.compare(f"{whose} gradient", norm(a), norm(b), GRADIENTS)
        if a.shape == b.shape:
            ledger.compare(f"{whose} gradient", a, b, GRADIENTS)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
