"""What a call stands in: handlers, transforms, modes and settings of Pyro's and torch's."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro.poutine.runtime import _PYRO_STACK
from pyro.poutine.trace_messenger import TraceMessenger
from torch.jit._trace import is_tracing
from torch.utils._device import DeviceContext

__all__: list[str] = []


def obstacle() -> str | None:
    """What stands around a call that a graph would not see, in words, or None."""
    for handler in _PYRO_STACK:
        if not (type(handler) is TraceMessenger and handler.param_only):
            return f"a handler is around the loss: {type(handler).__name__}"
    if pyro.settings.get("module_local_params"):
        return "Pyro's module_local_params are on"
    if torch._C._functorch.maybe_current_level() is not None:
        return "a transform of torch.func is around the loss"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode derivatives are on"
    if torch.compiler.is_compiling() or is_tracing():
        return "the loss is being traced"
    modes = torch.overrides._get_current_function_mode_stack()
    modes = [mode for mode in modes if not isinstance(mode, DeviceContext)]
    modes += torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return f"a mode of torch's is on: {type(modes[0]).__name__}" if modes else None


def surroundings() -> tuple[Any, ...]:
    """Settings of torch and Pyro that a program is computed under."""
    hooks = torch.nn.modules.module
    return (
        torch.get_default_dtype(),
        tuple([str(m.device) for m in torch.overrides._get_current_function_mode_stack()]),
        tuple([(name, arithmetic(name)) for name in ("cpu", "cuda", "mps")]),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        (*hooks._global_forward_pre_hooks, None, *hooks._global_forward_hooks),
        tuple(sorted((name, repr(value)) for name, value in pyro.settings.get().items())),
    )


def arithmetic(device: str) -> torch.dtype | None:
    """What autocast computes in on a kind of device, None where it is off."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
