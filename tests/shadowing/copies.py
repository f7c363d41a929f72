"""Copies of all that a loss is computed from, in the same or in double precision."""

from __future__ import annotations

import copy
import random
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn

from pyro_vae.objectives.tracing import same

LIBRARIES = {"torch", "pyro", "pyro_vae", "numpy", "scipy", "builtins", "functools", "contextlib"}


class Noise:
    """The states of the generators of random numbers, as they are."""

    def __init__(self) -> None:
        self._states = torch.get_rng_state(), random.getstate(), np.random.get_state()

    def restore(self) -> None:
        torch.set_rng_state(self._states[0])
        random.setstate(self._states[1])
        np.random.set_state(self._states[2])


class Program:
    """An objective, its programs, their arguments and Pyro's parameters, all of them copies.

    Args:
        double: Whether tensors, and whatever is made by default, are in double precision.
    """

    def __init__(self, parts: tuple[Any, ...], double: bool = False) -> None:
        memo: dict[int, Any] = {}
        with _functions_as_well():
            self.parts = copy.deepcopy(parts, memo)
        self.tensors = [one for one in memo.values() if isinstance(one, Tensor)]
        self.double = double
        if double:
            for tensor in self.tensors:
                if tensor.is_floating_point():
                    tensor.data = tensor.data.double()
        self._values = [tensor.detach().clone() for tensor in self.tensors]

    @classmethod
    def of(
        cls, objective: Any, model: Any, guide: Any, args: Any, kwargs: Mapping[str, Any]
    ) -> Program:
        store = pyro.get_param_store()
        state = {"params": dict(store._params), "constraints": dict(store._constraints)}
        return cls((objective, model, guide, args, dict(kwargs), state))

    @property
    def objective(self) -> Any:
        return self.parts[0]

    @property
    def leaves(self) -> list[Tensor]:
        return [tensor for tensor in self.tensors if tensor.requires_grad and tensor.is_leaf]

    def run(self, objective: Any, noise: Noise, call: str = "differentiable_loss") -> Any:
        """What a loss of any class says of it; the world is as before afterwards."""
        _, model, guide, args, kwargs, state = self.parts
        with torch.no_grad():
            for tensor, value in zip(self.tensors, self._values, strict=True):
                if not same(tensor, value):
                    tensor.copy_(value)
        with _alone(noise, state, self.double):
            return getattr(objective, call)(model, guide, *args, **kwargs)


@contextmanager
def _alone(noise: Noise, state: Any, double: bool) -> Iterator[None]:
    before, dtype = Noise(), torch.get_default_dtype()
    handlers, _PYRO_STACK[:] = list(_PYRO_STACK), []  # an SVI's, which records parameters
    store = pyro.get_param_store()
    kept = store._params, store._param_to_name, store._constraints
    store._params, store._param_to_name, store._constraints = {}, {}, {}
    store.set_state(state)
    noise.restore()
    if double:
        torch.set_default_dtype(torch.float64)
    try:
        with (
            torch.enable_grad(),
            pyro.settings.context(module_local_params=False),
        ):
            yield
    finally:
        _PYRO_STACK[:] = handlers
        store._params, store._param_to_name, store._constraints = kept
        torch.set_default_dtype(dtype)
        before.restore()


@contextmanager
def _functions_as_well() -> Iterator[None]:
    """``copy.deepcopy`` takes functions as they are: here their closures are copied."""
    table: dict[Any, Callable[..., Any]] = copy._deepcopy_dispatch  # type: ignore[attr-defined]
    plain = table[types.FunctionType]
    table[types.FunctionType] = _function
    try:
        with pytest.MonkeyPatch.context() as patch:  # Pyro's loses the model of what is copied
            patch.setattr(AutoGuide, "__getstate__", lambda guide: {**vars(guide), "master": None})
            yield
    finally:
        table[types.FunctionType] = plain


def _function(function: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    names = set(function.__code__.co_names)
    held = {name: function.__globals__[name] for name in names & function.__globals__.keys()}
    mine = str(function.__module__).partition(".")[0] not in LIBRARIES
    held = {name: value for name, value in held.items() if mine and _state(value)}
    if not held and not function.__closure__:
        return function
    found = types.FunctionType(
        function.__code__,
        {**function.__globals__} if held else function.__globals__,
        function.__name__,
        closure=tuple(types.CellType() for _ in function.__closure__ or ()),
    )
    memo[id(function)] = found
    found.__module__, found.__qualname__ = function.__module__, function.__qualname__
    found.__defaults__ = copy.deepcopy(function.__defaults__, memo)
    found.__kwdefaults__ = copy.deepcopy(function.__kwdefaults__, memo)
    found.__dict__.update(copy.deepcopy(function.__dict__, memo))
    for cell, old in zip(found.__closure__ or (), function.__closure__ or (), strict=True):
        try:
            cell.cell_contents = copy.deepcopy(old.cell_contents, memo)
        except ValueError:  # a variable that is not set yet
            continue
    found.__globals__.update(copy.deepcopy(held, memo))
    return found


def _state(value: object) -> bool:
    """Whether a global is something that a program could change."""
    mine = str(getattr(value, "__module__", "")).partition(".")[0] not in LIBRARIES
    function = isinstance(value, types.FunctionType) and mine
    return function or isinstance(value, Tensor | nn.Module | dict | list | np.ndarray)
