"""An objective whose model and guide are traced once into one graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor

from .base import Objective, Program
from .capture import Graph
from .captured_program import Call, Captured
from .sampled import TraceELBO
from .tracing import NotCapturedError

__all__ = ["CapturedELBO"]

_GRAPHS = 8


class CapturedELBO(Objective):
    """An objective as one compiled graph: its pass, gradients and noise, without Pyro's Python.

    The first call with arguments of a kind is Pyro's own. From the second on, model and guide are
    a graph that was traced once, and the loss is an ordinary one: ``SVI`` and any torch optimiser
    train with it. It is meant for programs of static structure: β and whatever else changes from
    step to step is best a tensor among the arguments. Parameters, buffers and random states are
    always the present ones; on the same noise values agree with the wrapped objective's up to
    rounding. What a graph has for constant is watched: numbers, modules and tensors that the
    program holds, and Pyro's and torch's settings; where one has changed, the graph is made anew.

    A program that cannot be traced, compiled or watched runs as ever, and ``reason`` says why: if
    it reads values of tensors, changes what it holds, draws from Python's noise, or stands inside
    of Pyro's handlers. The first step of a graph is Pyro's as well, on the graph's noise: one that
    gives another loss or gradient is not used.

    The loss can be differentiated once.

    Args:
        objective: What to compute; :class:`TraceELBO` by default.
        backend: ``"inductor"`` compiles, which takes seconds and needs a C++ compiler; ``"aten"``
            runs torch's operators one after the other.
        check_every: Every so many steps of a graph Pyro's own pass is held against it, as at its
            first; by default never again.

    Attributes:
        reason: Why the last call was not a graph's, or None, as at a first call.

    Raises:
        ValueError: If there is no such backend, or ``check_every`` is no positive integer.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro import poutine
        >>> def model(x, beta):
        ...     with pyro.plate("data", len(x)):
        ...         with poutine.scale(scale=beta):
        ...             z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x, beta):
        ...     slope = pyro.param("slope", torch.tensor(0.1))
        ...     with pyro.plate("data", len(x)), poutine.scale(scale=beta):
        ...         pyro.sample("z", dist.Normal(slope * x, 0.5**0.5))
        >>> elbo = CapturedELBO(backend="aten")
        >>> svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), elbo)
        >>> for step in range(300):  # to the exact posterior's slope, ½
        ...     _ = svi.step(torch.linspace(-2.0, 2.0, 200), torch.tensor(1.0))
        >>> bool((pyro.param("slope") - 0.5).abs() < 0.05), elbo.reason
        (True, None)
    """

    unwatched = True

    def __init__(
        self,
        objective: Objective | None = None,
        *,
        backend: str = "inductor",
        check_every: int | None = None,
    ) -> None:
        self.objective = objective or TraceELBO()
        super().__init__(
            self.objective.num_particles, max_plate_nesting=self.objective.max_plate_nesting
        )
        Graph.check(backend)
        if check_every is not None and (not isinstance(check_every, int) or check_every < 1):
            raise ValueError(f"check_every must be a positive integer, got {check_every!r}")
        self.backend, self.check_every, self.reason = backend, check_every, None
        self._programs: list[Captured] = []

    reason: str | None

    def __getstate__(self) -> dict[str, Any]:
        """A copy starts anew: graphs are of the tensors that they were traced with."""
        return {**self.__dict__, "_programs": [], "reason": None}

    @property
    def spec(self) -> str:
        """The wrapped objective's."""
        return self.objective.spec

    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The wrapped objective's."""
        return self.objective.surrogate(model_trace, guide_trace)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss, a 0-dim tensor whose gradient is the objective's estimator."""
        eager = partial(self.objective.differentiable_loss, model, guide, *args, **kwargs)
        if not torch.is_grad_enabled():
            return eager()
        try:
            call = Call(self.objective, model, guide, args, kwargs)
            if (known := self._found(call)) is None:
                return self._first(call, eager)
            loss = known(call, eager, self.backend, self.check_every)
        except NotCapturedError as error:
            self.reason = str(error)
            return eager()
        self.reason = known.reason
        return loss

    def _found(self, call: Call) -> Captured | None:
        """The program of such a call, if all that it depends on is as it was."""
        for known in reversed(self._programs):
            if known.fits(call):
                self._programs.remove(known)
                self._programs.append(known)
                return known
        return None

    def _first(self, call: Call, eager: Callable[[], Tensor]) -> Tensor:
        """A first call: Pyro's own. The program that was longest out of use makes room."""
        self._programs = [known for known in self._programs if known.alive()]
        self.reason = None
        if len(self._programs) >= _GRAPHS:
            self.reason = f"more than {_GRAPHS} kinds of arguments: make tensors of numbers"
            del self._programs[0]
        known = Captured(call)
        loss = known.first(call, eager)
        self._programs.append(known)
        return loss
