"""What goes on while a function is traced: what a graph could not tell is refused."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

__all__: list[str] = []

_READS = {
    "numpy", "tolist", "__array__", "data_ptr", "untyped_storage", "storage", "__dlpack__",
    "__deepcopy__", "__reduce_ex__", "__repr__", "__format__", "_typed_storage",
}  # fmt: skip
"""Methods of tensors that hand values to Python, or copy them, where no tracer sees it."""


_DATA: Any = torch.Tensor.data
_GRAD: Any = torch.Tensor.grad


class NotCapturedError(RuntimeError):
    """A program cannot be traced or compiled; it says why in one line."""


class NoReading(TorchFunctionMode):
    """Refuses what takes a tensor's values out of the tracer's sight.

    What is ``item()`` in the end is refused by the tracer itself. Whole numbers from outside, such
    as a permutation, may be read: they are kept, to be compared at each call of the graph.

    Args:
        inside: Whether a tensor is one of the inputs, or was computed meanwhile.

    Attributes:
        read: What was read, and its values.
    """

    def __init__(self, inside: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self._inside = inside
        self.read: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        name, owner = getattr(func, "__name__", ""), getattr(func, "__self__", None)
        if name == "tolist" and not args[0].is_floating_point() and not self._inside(args[0]):
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                self.read.append((args[0], args[0].clone()))
                return args[0].tolist()
        if name in _READS and owner is None:
            raise NotCapturedError(f"the program reads values of a tensor by {name}")
        if owner is _DATA and name == "__get__":
            return args[0].detach()
        if owner in (_DATA, _GRAD):
            raise NotCapturedError("the program reads gradients or sets a tensor's data")
        return func(*args, **(kwargs or {}))


class Restored(TorchDispatchMode):
    """Gives tensors from outside this context, such as buffers, their values back at its end.

    Not every operator that writes to its arguments declares it (batch normalisation does not).

    Args:
        strict: Whether to refuse operators whose results a graph could not tell: sizes that depend
            on values, and noise from another state than the operator before left.
    """

    def __init__(self, strict: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made, self._before = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()
        self._strict, self._noise = strict, _noise() if strict else b""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and value not in self._made:
                self._before.setdefault(value, value.detach().clone())
        draws = self._strict and self._refuse(func, args, kwargs or {})
        outputs = func(*args, **(kwargs or {}))
        if draws:
            self._noise = _noise()
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor):
                self._made[output] = True
        return outputs

    def _refuse(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, object]
    ) -> bool:
        """Refuse what cannot be told; returns whether it draws."""
        if torch.Tag.data_dependent_output in func.tags:
            raise NotCapturedError(f"the program depends on values of tensors ({func})")
        if torch.Tag.dynamic_output_shape in func.tags:
            indices = args[1] if func is torch.ops.aten.index.Tensor else ()
            chosen = [i for i in indices if i is not None and i.dtype in (torch.bool, torch.uint8)]
            if chosen or not indices:
                raise NotCapturedError(f"sizes depend on values of tensors ({func})")
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if draws:
            self.check_noise()
            if kwargs.get("generator") is not None:
                raise NotCapturedError("the program draws from a generator of its own")
        return draws

    def made(self, tensor: Tensor) -> bool:
        """Whether an operator made it in this context."""
        return tensor in self._made

    def check_noise(self) -> None:
        """Refuse programs that set the state of torch's generator.

        Raises:
            NotCapturedError: If it is not the one that the operator before left.
        """
        if self._strict and self._noise != _noise():
            raise NotCapturedError("the program sets the state of the noise")

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for tensor, value in self._before.items():
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


class Snapshot:
    """Values of tensors, and the states of torch's generators, to be gone back to.

    Args:
        tensors: Whose values.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._values = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self._noise = torch.get_rng_state()
        started = torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state_all() if started else []

    def restore(self) -> None:
        """Set them back."""
        torch.set_rng_state(self._noise)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        with torch.no_grad():
            for tensor, value in self._values:
                if not same(tensor, value):
                    tensor.copy_(value)


@contextmanager
def traceable() -> Iterator[None]:
    """No checks that read a tensor's values, no noise used up, and no garbage collected.

    torch's tracer knows tensors by weak references: one that autograd alone still holds on to, of a
    cycle that is collected, becomes a constant to it, and gradients through it are lost in silence.
    So would autocast's copies of weights, which it keeps from the pass before.
    """
    collects, caches = gc.isenabled(), torch.is_autocast_cache_enabled()
    gc.disable()
    torch.set_autocast_cache_enabled(False)
    try:
        with pyro.validation_enabled(False), torch.random.fork_rng():
            yield
    finally:
        torch.set_autocast_cache_enabled(caches)
        if collects:
            gc.enable()


@contextmanager
def plain_arithmetic(device: str) -> Iterator[None]:
    """Without autocast, which a graph has in it, and which derivatives are taken outside of."""
    if not torch.is_autocast_enabled(device):
        yield
        return
    with torch.autocast(device, enabled=False):
        yield


def _noise() -> bytes:
    """The state of torch's generator, read past all modes."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        state: bytes = torch.default_generator.get_state().numpy().tobytes()
    return state


def line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    first = lines[0] if lines else "no reason given"
    return first if isinstance(error, NotCapturedError) else f"{type(error).__name__}: {first}"


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN for NaN."""
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


def difference(
    found: Sequence[Tensor], wanted: Sequence[Tensor], computed_in: torch.dtype | None = None
) -> str | None:
    """How a loss and gradients differ from the right ones by more than rounding, or None.

    Args:
        found: The loss, then gradients.
        wanted: The right ones.
        computed_in: The coarsest dtype that was computed in, where it is not the loss's own.
    """
    tolerance: float = torch.finfo(computed_in or wanted[0].dtype).eps ** 0.5
    loss, right = found[0].double(), wanted[0].double()
    if not torch.allclose(loss, right, rtol=tolerance, atol=tolerance, equal_nan=True):
        return f"the graph's loss is {float(loss):.6g}, the program's {float(right):.6g}"
    norms = [float(gradient.double().norm()) for gradient in wanted[1:]]
    whole = sum(norm**2 for norm in norms) ** 0.5
    for ours, theirs, norm in zip(found[1:], wanted[1:], norms, strict=True):
        apart = float((ours.double() - theirs.double()).norm())
        if apart > tolerance * (10 * norm + whole) or (apart != apart and norm == norm):
            return "a gradient of the graph is not the program's"
    return None
