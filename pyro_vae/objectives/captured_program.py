"""One program of a captured objective: what a call of it is, and its graph."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten

from .base import Objective, Program
from .capture import Graph, leaves_of
from .surroundings import arithmetic, obstacle, surroundings
from .tracing import NotCapturedError, difference, line
from .watched import Watched, constant

__all__: list[str] = []


class Call:
    """One call: its tensors, and what makes calls of one kind.

    Raises:
        NotCapturedError: If it cannot be a graph's, whatever the program is.
    """

    def __init__(
        self,
        objective: Objective,
        model: Program,
        guide: Program,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> None:
        if (said := obstacle()) is not None:
            raise NotCapturedError(said)
        self.objective, self.model, self.guide = objective, model, guide
        self.leaves, self.structure = tree_flatten((args, kwargs))
        self.inputs = [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]
        self.others = [leaf for leaf in self.leaves if not isinstance(leaf, Tensor)]
        self.key = (
            *_identity(model),
            *_identity(guide),
            repr(self.structure),  # older versions of torch cannot hash it
            tuple([_tensor(x) if isinstance(x, Tensor) else constant(x) for x in self.leaves]),
            surroundings(),
        )

    def loss(self, *given: Tensor) -> tuple[Tensor]:
        """The objective's loss with these tensors among the arguments."""
        filled = iter(given)
        own = [next(filled) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        args, kwargs = self.structure.unflatten(own)
        # Tracing is no step of training: SVI is not to see parameters go by once more.
        with poutine.block():
            found = self.objective.differentiable_loss(self.model, self.guide, *args, **kwargs)
        return (found,)


class Captured:
    """One program under arguments of one kind: its parameters, then its graph.

    Args:
        call: The first of them.
    """

    def __init__(self, call: Call) -> None:
        self._key, self._others = call.key, call.others
        self._owners = [ref for p in (call.model, call.guide) for ref in _references(p)]
        self._graph: Graph | None = None
        self._calls, self._refused = 0, False
        self._leaves: list[Tensor] = []
        self._names: dict[str, Tensor] = {}
        self._watched = Watched()
        self.reason: str | None = None

    def alive(self) -> bool:
        """Whether model and guide are still somebody's."""
        return all(owner() is not None for owner in self._owners)

    def fits(self, call: Call) -> bool:
        """Whether it is of this kind, and all that it depends on is as it was.

        What has been refused once is not tried again, whatever it holds by then.
        """
        same = self._key == call.key and self.alive()
        return same and (self._refused or self._current())

    def first(self, call: Call, eager: Callable[[], Tensor]) -> Tensor:
        """The wrapped objective's loss; finds out what it depends on."""
        with poutine.trace(param_only=True) as sites:
            loss = eager()
        self._leaves = leaves_of(loss)
        self._names = {
            name: site["value"].unconstrained() for name, site in sites.trace.nodes.items()
        }
        self._watched = Watched(call.objective, call.model, call.guide, *self._others)
        self.reason = self._watched.obstacle
        if not self._leaves:
            self.reason = "the loss depends on no parameter"
        return loss

    def _current(self) -> bool:
        """Whether Pyro's parameters and what the program holds are still those that were found."""
        store = pyro.get_param_store()
        return self._watched.current() and all(
            name in store and store._params[name] is leaf and leaf.requires_grad
            for name, leaf in self._names.items()
        )

    def __call__(
        self,
        call: Call,
        eager: Callable[[], Tensor],
        backend: str,
        check_every: int | None,
    ) -> Tensor:
        """The graph's loss, at a check the program's own, which then is the graph's as well.

        Raises:
            NotCapturedError: If there is no graph of it.
        """
        if self.reason is not None:
            raise NotCapturedError(self.reason)
        try:
            if self._graph is None:
                self._graph = self._traced(call, backend)
            graph, step = self._graph, self._calls
            self._calls += 1
            if step == 0 or (check_every is not None and step % check_every == 0):
                return self._checked(graph, call, eager)
            for name in self._names:  # SVI updates the parameters that it sees go by
                pyro.param(name)
            noise = torch.get_rng_state()
            try:
                loss: Tensor = _Loss.apply(graph, call.inputs, *graph.leaves)
            except Exception as error:  # whatever operators and compilers raise
                torch.set_rng_state(noise)
                raise NotCapturedError(line(error)) from error
        except NotCapturedError as error:
            self.reason, self._graph, self._refused = str(error), None, True
            raise
        return loss

    def _traced(self, call: Call, backend: str) -> Graph:
        """The graph.

        Raises:
            NotCapturedError: If there is none, or what it depends on could not be watched.
        """
        back = self._watched.noise()
        try:
            graph = Graph(call.loss, call.inputs, self._leaves, backend)
        finally:
            drawn, changed = back(), not self._watched.current()
            self._watched.restore()
        if drawn:
            raise NotCapturedError("the program draws noise that is not of torch's generator")
        if changed:
            raise NotCapturedError("the program changes what it holds: numbers, lists or modules")
        known = {*self._watched.tensors, *map(id, self._leaves), *map(id, self._names.values())}
        if any(id(tensor) not in known for tensor in graph.outside):
            raise NotCapturedError("the program reads a tensor whose origin is not known")
        return graph

    def _checked(self, graph: Graph, call: Call, eager: Callable[[], Tensor]) -> Tensor:
        """The program's own loss; the reason is set where the graph's is another."""
        before = graph.snapshot()
        try:
            (value,), gradients = graph(*call.inputs)
        except Exception as error:
            before.restore()
            raise NotCapturedError(line(error)) from error
        before.restore()
        loss = eager()
        self.reason = _apart(graph, value, gradients, loss)
        self._refused = self.reason is not None
        if self._refused:
            self._graph = None
        return loss


def _apart(graph: Graph, value: Tensor, gradients: Sequence[Tensor], loss: Tensor) -> str | None:
    """How a graph's loss and gradients differ from the program's own, or None."""
    leaves = leaves_of(loss)
    if not {id(leaf) for leaf in graph.leaves} <= {id(leaf) for leaf in leaves}:
        return "the graph depends on other parameters than the program"
    wanted = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    right = {id(p): g for p, g in zip(leaves, wanted, strict=True) if g is not None}
    if {id(leaf) for leaf in graph.leaves} != set(right):
        return "the graph depends on other parameters than the program"
    ordered = [right[id(leaf)] for leaf in graph.leaves]
    coarse = arithmetic(loss.device.type)
    return difference([value, *gradients], [loss.detach(), *ordered], coarse)


class _Loss(torch.autograd.Function):
    """A graph's loss, with the gradients that it has computed already."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, inputs: list[Tensor], *leaves: Tensor) -> Tensor:
        (loss,), ctx.gradients = graph(*inputs)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(upstream * gradient for gradient in ctx.gradients)


def _identity(program: Program) -> tuple[int, int]:
    """Which object a program is; a bound method is made anew each time that it is asked for."""
    if isinstance(program, types.MethodType):
        return id(program.__self__), id(program.__func__)
    return id(program), 0


def _references(program: Program) -> list[Callable[[], object]]:
    """What says whether a program is still somebody's."""
    owner = program.__self__ if isinstance(program, types.MethodType) else program
    try:
        return [weakref.ref(owner)]
    except TypeError:
        return [lambda: owner]


def _tensor(leaf: Tensor) -> tuple[object, ...]:
    """What a graph takes for constant of a tensor among the arguments."""
    if type(leaf) not in (Tensor, nn.Parameter):
        raise NotCapturedError(f"an argument is a tensor of a class of its own, {type(leaf)}")
    if leaf.requires_grad:
        raise NotCapturedError("an argument needs a gradient: a graph has those of parameters")
    if leaf.layout is not torch.strided or leaf.is_meta or leaf.is_conj() or leaf.is_neg():
        raise NotCapturedError("an argument is not a plain tensor in memory")
    return leaf.shape, leaf.stride(), leaf.dtype, leaf.device
