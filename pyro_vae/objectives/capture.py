"""A function and its gradients as one graph, traced once and compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx

from .sampled import CUT
from .tracing import (
    NoReading,
    Restored,
    Snapshot,
    difference,
    line,
    plain_arithmetic,
    traceable,
)
from .tracing import NotCapturedError as NotCapturedError

__all__: list[str] = []

BACKENDS = ("inductor", "aten")
"""Inductor's kernels, which need a C++ compiler, or torch's own operators one after the other."""

Outputs = tuple[Tensor, ...]


class Graph:
    """A function of tensors, whose first output is a loss, as a graph with the loss's gradients.

    Tensors that the function does not take as inputs (parameters, buffers) are read and written
    anew at each call, wherever they come from; Python's own values and branches are those of the
    time of tracing. Random numbers are drawn from torch's generators as the function itself would.

    Args:
        fn: Inputs → (loss, other outputs).
        inputs: Tensors of the shapes and dtypes that it will be called with.
        leaves: Parameters whose gradients are wanted.
        backend: One of ``BACKENDS``.
        norm: Whether the gradients' common norm is one more output.

    Attributes:
        leaves: The parameters that the loss depends on.
        outside: The tensors that it reads besides its inputs.

    Raises:
        NotCapturedError: If the function cannot be traced: it depends on values of tensors, sets
            the state of the noise, writes to its arguments, or has an operator of its own.
    """

    def __init__(
        self,
        fn: Callable[..., Outputs],
        inputs: Sequence[Tensor],
        leaves: Sequence[Tensor],
        backend: str = "inductor",
        norm: bool = False,
    ) -> None:
        from torch.fx.experimental.proxy_tensor import make_fx  # here: it takes a second to import

        self.check(backend)
        used: list[Tensor] = []
        at = [*inputs, *leaves]
        self._device = at[0].device if at else torch.get_default_device()
        if any(leaf._backward_hooks for leaf in leaves):  # it would be called twice
            raise NotCapturedError("a parameter has a hook on its gradient")

        def with_gradients(*given: Tensor) -> list[Tensor]:
            mine = {id(tensor) for tensor in given}
            with NoReading(lambda tensor: id(tensor) in mine or watch.made(tensor)) as reading:
                outputs = fn(*given)
                with plain_arithmetic(self._device.type):
                    found = torch.autograd.grad(outputs[0], list(leaves), allow_unused=True)
            watch.check_noise()
            self._read = reading.read
            pairs = [(p, g) for p, g in zip(leaves, found, strict=True) if g is not None]
            used[:] = [p for p, _ in pairs]
            gradients = [g for _, g in pairs]
            norms = [torch.nn.utils.get_total_norm(gradients, foreach=False)] if norm else []
            return [*(output.detach() for output in outputs), *norms, *gradients]

        # Each input is a tensor of its own, whatever else is the same tensor at this time.
        given = [tensor.detach() for tensor in inputs]
        versions = [tensor._version for tensor in given]
        with traceable(), Restored(strict=True) as watch:
            try:
                traced = make_fx(with_gradients)(*given)
            except Exception as error:  # whatever a program does may not be traceable
                raise NotCapturedError(line(error)) from error
            if [tensor._version for tensor in given] != versions:
                raise NotCapturedError("the program writes to its arguments")
        self.leaves = used
        self._held, self.outside = _lift(traced)
        self._run: Callable[..., Any] = traced
        self._first = backend == "inductor"
        if self._first:
            self._run = _compiled(traced, self._device)

    @staticmethod
    def check(backend: str) -> None:
        """Refuse a backend that there is not.

        Raises:
            ValueError: If there is none of that name.
        """
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")

    def __call__(self, *inputs: Tensor) -> tuple[Outputs, Outputs]:
        """The function's outputs, without graphs of their own, and the gradients of its loss.

        Raises:
            NotCapturedError: If the graph cannot be compiled, at the first call.
        """
        if not all(torch.equal(tensor, values) for tensor, values in self._read):
            raise NotCapturedError("a tensor whose values were read has changed")
        with (
            torch.no_grad(),
            plain_arithmetic(self._device.type),
            _compiling() if self._first else nullcontext(),
        ):
            found = tuple(self._run(*inputs, *self._held))
        self._first = False
        cut = len(found) - len(self.leaves)
        return found[:cut], found[cut:]

    def snapshot(self) -> Snapshot:
        """What a call may change, as it is: the tensors that it reads, and torch's noise."""
        return Snapshot(self._held)

    def checked(
        self,
        fn: Callable[..., Outputs],
        inputs: Sequence[Tensor],
        computed_in: torch.dtype | None = None,
    ) -> tuple[Outputs, Outputs]:
        """As a call; the function itself is run before on the same noise, without a trace of it.

        Args:
            fn: The function.
            inputs: As of a call.
            computed_in: The coarsest dtype that is computed in, where it is not the loss's own.

        Raises:
            NotCapturedError: If loss or gradients differ; nothing has been drawn or written then.
        """
        with traceable(), Restored():
            outputs = fn(*inputs)
            with plain_arithmetic(self._device.type):
                wanted = torch.autograd.grad(outputs[0], self.leaves, allow_unused=True)
        if any(gradient is None for gradient in wanted):
            raise NotCapturedError("the loss no longer depends on a parameter")
        before = self.snapshot()
        found, gradients = self(*inputs)
        said = difference([found[0], *gradients], [outputs[0].detach(), *wanted], computed_in)
        if said is not None:
            before.restore()
            raise NotCapturedError(said)
        return found, gradients


def leaves_of(loss: Tensor) -> list[Tensor]:
    """The leaves of autograd's graph that a loss depends on, but for draws cut off by the pass."""
    found: dict[int, Tensor] = {}
    seen, left = set(), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and not hasattr(leaf, CUT):
            found[id(leaf)] = leaf
        left += [following for following, _ in node.next_functions]
    return list(found.values())


def _lift(traced: fx.GraphModule) -> tuple[list[Tensor], list[Tensor]]:
    """Make inputs of the tensors that a graph holds.

    A compiler takes what a graph holds for constants.

    Returns:
        They in the inputs' order, and those of them that are no constants of the code.
    """
    graph = traced.graph
    held: dict[str, tuple[fx.Node, Tensor]] = {}
    outside: dict[int, Tensor] = {}
    graph.eliminate_dead_code()
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        tensor = getattr(traced, node.target)
        # torch.normal has an empty tensor to write to.
        if tensor.numel() and any("lift_fresh" not in str(user.target) for user in node.users):
            outside[id(tensor)] = tensor
        if not node.users:
            pass
        elif node.target in held:
            node.replace_all_uses_with(held[node.target][0])
        else:
            last = [node for node in graph.nodes if node.op == "placeholder"][-1:]
            first = next(iter(graph.nodes))
            with graph.inserting_after(last[0]) if last else graph.inserting_before(first):
                given = graph.placeholder(f"held_{len(held)}")
            given.meta.update(node.meta)
            node.replace_all_uses_with(given)
            held[node.target] = given, tensor
        graph.erase_node(node)
    traced.recompile()
    return [tensor for _, tensor in held.values()], list(outside.values())


def _compiled(traced: fx.GraphModule, device: torch.device) -> Callable[..., object]:
    # Noise by torch's generators: a compiled step draws what an eager one draws.
    options: dict[str, Any] = {"fallback_random": True}
    if device.type == "cuda":
        options["triton.cudagraphs"] = True
    compiled: Callable[..., object] = torch.compile(
        traced, fullgraph=True, dynamic=False, options=options
    )
    return compiled


@contextmanager
def _compiling() -> Iterator[None]:
    """What a compiler says of the machine is of no use to who asked for none."""
    logging.disable(logging.WARNING)
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        raise NotCapturedError(line(error)) from error
    finally:
        logging.disable(logging.NOTSET)
