"""Run other people's functions without a trace: copies of state, restored seeds, silence.

The copier is ours and not cloudpickle, which stops at a lock or an open file anywhere in what a
function holds: here such things are shared.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import random
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__: list[str] = []

_MUTABLE = (nn.Module, Tensor, np.ndarray, torch.Generator, list, dict, set)


def isolated(function: Callable[..., Any], training: bool | None = None) -> Callable[..., Any]:
    """Return a copy of a callable whose state can change without anybody noticing.

    The object behind a bound method, the closure of a function and what it reads or rebinds among
    the globals of its own module are copied; helpers of the same module are followed. Something
    that cannot be copied is shared.

    Args:
        function: A function, method, partial or callable object.
        training: The mode to put copied modules in; None keeps theirs.
    """
    copier = _Copier(function)
    copied: Callable[..., Any] = copier.callable(function)
    if training is not None:
        for module in copier.modules:
            module.train(training)
    return copied


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[list[warnings.WarningMessage]]:
    """Seed all generators, swallow output and warnings inside; put everything back after.

    Yields:
        The warnings that were raised so far.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            yield caught
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


class _Copier:
    """One consistent copy: whatever is shared in the original is shared in the copy."""

    def __init__(self, root: Callable[..., Any]) -> None:
        self.module = getattr(root, "__module__", None)
        self.modules: list[nn.Module] = []
        self._memo: dict[int, Any] = {}
        self._functions: dict[int, types.FunctionType] = {}
        self._globals: dict[int, dict[str, Any]] = {}

    def callable(self, function: Any) -> Any:
        function = getattr(function, "_torchdynamo_orig_callable", function)
        if isinstance(function, functools.partial):
            args = [self.value(argument) for argument in function.args]
            named = {name: self.value(value) for name, value in function.keywords.items()}
            return functools.partial(self.callable(function.func), *args, **named)
        if isinstance(function, types.MethodType):
            owner = function.__self__
            owner = owner if isinstance(owner, type) else self._copy(owner)
            return types.MethodType(self.callable(function.__func__), owner)
        if isinstance(function, types.FunctionType):
            return self._function(function)
        if isinstance(function, type | types.BuiltinFunctionType | torch.jit.ScriptFunction):
            return function
        return self._copy(function)

    def value(self, value: Any) -> Any:
        if isinstance(value, types.FunctionType):
            return self._function(value) if value.__module__ == self.module else value
        if isinstance(value, types.MethodType | functools.partial):
            return self.callable(value)
        own = not isinstance(value, type) and type(value).__module__ == self.module
        return self._copy(value) if own or isinstance(value, _MUTABLE) else value

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        if id(function) in self._functions:
            return self._functions[id(function)]
        scope = self._globals.get(id(function.__globals__))
        if scope is None:
            scope = self._globals[id(function.__globals__)] = dict(function.__globals__)
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        twin = types.FunctionType(function.__code__, scope, function.__name__, None, cells or None)
        self._functions[id(function)] = twin
        twin.__dict__.update(function.__dict__)
        twin.__module__ = function.__module__
        twin.__defaults__ = self._copy(function.__defaults__)
        twin.__kwdefaults__ = self._copy(function.__kwdefaults__)
        for cell, original in zip(cells, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell stays empty
                cell.cell_contents = self.value(original.cell_contents)
        for name in _names(function.__code__):
            if name in function.__globals__ and not name.startswith("__"):
                scope[name] = self.value(function.__globals__[name])
        return twin

    def _copy(self, value: Any) -> Any:
        for holder in value.modules() if isinstance(value, nn.Module) else [value]:
            for item in [holder, *getattr(holder, "__dict__", {}).values()]:
                self._remember(item)
        try:
            copied = copy.deepcopy(value, self._memo)
        except Exception:  # locks, open files, loggers: shared with the original
            return value
        if isinstance(copied, nn.Module):
            self.modules.append(copied)
        return copied

    def _remember(self, item: object) -> None:
        """Copy what `deepcopy` refuses: generators, and tensors inside a graph."""
        if isinstance(item, Tensor) and not item.is_leaf:
            self._memo.setdefault(id(item), item.detach().clone())
        elif isinstance(item, torch.Generator) and id(item) not in self._memo:
            twin = torch.Generator(device=item.device)
            twin.set_state(item.get_state())
            self._memo[id(item)] = twin


def _names(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*(_names(constant) for constant in inner))
