"""An objective whose model and guide are traced once into one graph."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.utils._pytree import tree_flatten

from .base import Objective, Program
from .capture import Graph, NotCapturedError, leaves_of
from .sampled import TraceELBO
from .terms import Trace

__all__ = ["CapturedELBO"]

_GRAPHS = 8


class CapturedELBO(Objective):
    """An objective as one compiled graph: its pass, gradients and noise, without Pyro's Python.

    The first call with arguments of a shape is Pyro's own. From the second on, model and guide are
    a graph that was traced once, and the loss is an ordinary one: ``SVI`` and any torch optimiser
    train with it. It is meant for programs of static structure: branches and numbers of Python are
    what they were when the graph was traced, so β and whatever else changes from step to step must
    be a tensor among the arguments. Parameters, buffers and random states are always the present
    ones; on the same noise values agree with the wrapped objective's up to rounding. A program that
    cannot be traced or compiled runs as ever, and ``reason`` says why.

    Args:
        objective: What to compute; :class:`TraceELBO` by default.
        backend: ``"inductor"`` compiles, which takes seconds and needs a C++ compiler; ``"aten"``
            runs torch's operators one after the other.

    Attributes:
        reason: Why the last call was not a graph's, or None.

    Raises:
        ValueError: If there is no such backend.

    Example:
        >>> import pyro, pyro.distributions as dist
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

    def __init__(self, objective: Objective | None = None, *, backend: str = "inductor") -> None:
        self.objective = objective or TraceELBO()
        super().__init__(
            self.objective.num_particles, max_plate_nesting=self.objective.max_plate_nesting
        )
        Graph.check(backend)
        self.backend, self.reason = backend, None
        self._programs: dict[object, _Captured] = {}

    reason: str | None

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
        """The loss, a 0-dim tensor whose gradient is the objective's estimator.

        Gradients flow to parameters, not to the arguments.
        """
        if not torch.is_grad_enabled():
            return self.objective.differentiable_loss(model, guide, *args, **kwargs)
        leaves, structure = tree_flatten((args, kwargs))
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        rest = tuple(_constant(leaf) for leaf in leaves)
        key = model, guide, repr(structure), rest  # older versions of torch cannot hash it
        if (known := self._programs.get(key)) is None or not known.current():
            if len(self._programs) >= _GRAPHS:
                self.reason = f"more than {_GRAPHS} kinds of arguments: make tensors of numbers"
                return self.objective.differentiable_loss(model, guide, *args, **kwargs)
            self._programs[key] = known = _Captured(self.objective, model, guide)
            return known.first(args, kwargs)
        if known.reason is None:
            try:
                loss = known(self.backend, inputs, leaves, structure)
            except NotCapturedError as error:
                known.reason = str(error)
            else:
                self.reason = None
                return loss
        self.reason = known.reason
        return self.objective.differentiable_loss(model, guide, *args, **kwargs)


class _Captured:
    """One program under arguments of one kind: its parameters, then its graph."""

    def __init__(self, objective: Objective, model: Program, guide: Program) -> None:
        self._objective, self._model, self._guide = objective, model, guide
        self._graph: Graph | None = None
        self._leaves: list[Tensor] = []
        self._names: dict[str, Tensor] = {}
        self.reason: str | None = None

    def first(self, args: Any, kwargs: Any) -> Tensor:
        """The wrapped objective's loss; finds out what it depends on."""
        with poutine.trace(param_only=True) as sites:
            loss = self._objective.differentiable_loss(self._model, self._guide, *args, **kwargs)
        self._leaves = leaves_of(loss)
        self._names = {
            name: site["value"].unconstrained() for name, site in sites.trace.nodes.items()
        }
        if not self._leaves:
            self.reason = "the loss depends on no parameter"
        return loss

    def current(self) -> bool:
        """Whether Pyro's parameters are still those that were found."""
        store = pyro.get_param_store()
        return all(
            name in store and store[name].unconstrained() is leaf
            for name, leaf in self._names.items()
        )

    def __call__(
        self, backend: str, inputs: list[Tensor], leaves: list[Any], structure: Any
    ) -> Tensor:
        for name in self._names:  # SVI updates the parameters that it sees go by
            pyro.param(name)
        if self._graph is None:
            fixed = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            tensors = [isinstance(leaf, Tensor) for leaf in leaves]

            def loss(*given: Tensor) -> tuple[Tensor]:
                filled = iter(given)
                own = [next(filled) if t else f for t, f in zip(tensors, fixed, strict=True)]
                args, kwargs = structure.unflatten(own)
                # Tracing is no step of training: SVI is not to see parameters go by once more.
                with poutine.block():
                    found = self._objective.differentiable_loss(
                        self._model, self._guide, *args, **kwargs
                    )
                return (found,)

            self._graph = Graph(loss, inputs, self._leaves, backend)
        value: Tensor = _Loss.apply(self._graph, inputs, *self._graph.leaves)
        return value


class _Loss(torch.autograd.Function):
    """A graph's loss, with the gradients that it has computed already."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, inputs: list[Tensor], *leaves: Tensor) -> Tensor:
        (loss,), ctx.gradients = graph(*inputs)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(upstream * gradient for gradient in ctx.gradients)


def _constant(leaf: Any) -> object:
    """What a graph takes for constant of an argument."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype, leaf.device
    return type(leaf), leaf
