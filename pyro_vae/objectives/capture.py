"""A function and its gradients as one graph, traced once and compiled."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pyro
import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

__all__: list[str] = []

BACKENDS = ("inductor", "aten")
"""Inductor's kernels, which need a C++ compiler, or torch's own operators one after the other."""

Outputs = tuple[Tensor, ...]


class NotCapturedError(RuntimeError):
    """A program cannot be traced or compiled; it says why in one line."""


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

    Raises:
        NotCapturedError: If the function cannot be traced: it depends on values of tensors, or has
            an operator of its own.
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

        def with_gradients(*given: Tensor) -> list[Tensor]:
            outputs = fn(*given)
            found = torch.autograd.grad(outputs[0], list(leaves), allow_unused=True)
            pairs = [(p, g) for p, g in zip(leaves, found, strict=True) if g is not None]
            used[:] = [p for p, _ in pairs]
            gradients = [g for _, g in pairs]
            norms = [torch.nn.utils.get_total_norm(gradients, foreach=False)] if norm else []
            return [*(output.detach() for output in outputs), *norms, *gradients]

        with _traceable(), _Restored():
            try:
                traced = make_fx(with_gradients)(*inputs)
            except Exception as error:  # whatever a program does may not be traceable
                raise NotCapturedError(_line(error)) from error
        self.leaves = used
        self._held = _lift(traced)
        self._run: Callable[..., Any] = traced
        self._first = backend == "inductor"
        if self._first:
            self._run = _compiled(traced, inputs[0].device)

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
        with torch.no_grad(), _compiling() if self._first else nullcontext():
            found = tuple(self._run(*inputs, *self._held))
        self._first = False
        cut = len(found) - len(self.leaves)
        return found[:cut], found[cut:]


class _Restored(TorchDispatchMode):
    """Gives tensors from outside this context, such as buffers, their values back at its end.

    Not every operator that writes to its arguments declares it (batch normalisation does not).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made, self._before = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and value not in self._made:
                self._before.setdefault(value, value.detach().clone())
        outputs = func(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor):
                self._made[output] = True
        return outputs

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for tensor, value in self._before.items():
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


def leaves_of(loss: Tensor) -> list[Tensor]:
    """The leaves of autograd's graph that a loss depends on."""
    found: dict[int, Tensor] = {}
    seen, left = set(), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found[id(leaf)] = leaf
        left += [following for following, _ in node.next_functions]
    return list(found.values())


def _lift(traced: fx.GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that a graph holds, and return them in the inputs' order.

    A compiler takes what a graph holds for constants.
    """
    graph = traced.graph
    held: dict[str, tuple[fx.Node, Tensor]] = {}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        if not node.users:
            pass
        elif node.target in held:
            node.replace_all_uses_with(held[node.target][0])
        else:
            with graph.inserting_after(last):
                last = graph.placeholder(f"held_{len(held)}")
            last.meta.update(node.meta)
            node.replace_all_uses_with(last)
            held[node.target] = last, getattr(traced, node.target)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    traced.recompile()
    return [tensor for _, tensor in held.values()]


def _compiled(traced: fx.GraphModule, device: torch.device) -> Callable[..., Any]:
    # Noise by torch's generators: a compiled step draws what an eager one draws.
    options: dict[str, Any] = {"fallback_random": True}
    if device.type == "cuda":
        options["triton.cudagraphs"] = True
    compiled: Callable[..., Any] = torch.compile(
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
        raise NotCapturedError(_line(error)) from error
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _traceable() -> Iterator[None]:
    """No checks that read a tensor's values, no noise used up, and no garbage collected.

    torch's tracer knows tensors by weak references: one that autograd alone still holds on to, of a
    cycle that is collected, becomes a constant to it, and gradients through it are lost in silence.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with pyro.validation_enabled(False), torch.random.fork_rng():
            yield
    finally:
        if collects:
            gc.enable()


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
