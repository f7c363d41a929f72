"""What a program depends on besides its arguments, and whether that is as it was."""

from __future__ import annotations

import functools
import random
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSet
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__: list[str] = []

_MANY = 20_000
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_LIBRARIES = {
    "torch", "pyro", "pyro_vae", "numpy", "scipy", "builtins", "functools", "collections", "types",
    "enum", "dataclasses", "typing", "abc", "contextlib", "itertools", "operator", "math",
}  # fmt: skip
"""Their functions and classes are taken as they are; what their objects hold is looked at."""
_OPAQUE = {
    "logging", "threading", "_thread", "io", "_io", "os", "posixpath", "sys", "re", "importlib",
    "typing", "abc", "_abc", "inspect", "warnings", "pathlib", "enum",
}  # fmt: skip
"""Objects of these are not looked into."""
_DRAWS = (random.Random, np.random.Generator, np.random.RandomState)
_MISSING = object()


class Watched:
    """Everything that can be reached from some roots, and how it was when it was looked at.

    Followed are attributes, items, closures, defaults, the globals that a function's code names and
    the classes of users' objects; of tensors the identity and kind, as their values may change.

    Args:
        *roots: Objectives, programs, arguments that are no tensors.

    Attributes:
        tensors: Those that were reached, by ``id``.
        obstacle: What cannot be followed, in words, or None.
    """

    def __init__(self, *roots: object) -> None:
        self.tensors: dict[int, tuple[Tensor, tuple[object, ...]]] = {}
        self.obstacle: str | None = None
        self._holders: list[_Holder] = []
        self._empty: list[Any] = []  # most of a module's: hooks that there are none of
        self._arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self._generators: list[torch.Generator] = []
        self._left: deque[Any] = deque(roots)
        self._seen: dict[int, Any] = {}
        while self._left and self.obstacle is None:
            self._visit(self._left.popleft())
            if len(self._seen) > _MANY:
                self.obstacle = f"the program holds more than {_MANY} objects"
        self._left.clear()
        self._seen.clear()

    def current(self) -> bool:
        """Whether all is as it was."""
        return (
            not any(self._empty)
            and all(_kind(tensor) == kind for tensor, kind in self.tensors.values())
            and all(holder.current() for holder in self._holders)
            and all(_same_array(array, copy) for array, copy in self._arrays)
        )

    def restore(self) -> None:
        """Give all that is no tensor its contents back."""
        for holder in self._holders:
            if not holder.current():
                holder.restore()
        for container in self._empty:
            container.clear()
        for array, copy in self._arrays:
            if not _same_array(array, copy):
                array[...] = copy

    def noise(self) -> Callable[[], bool]:
        """The states of all generators of random numbers but torch's own.

        Returns:
            What sets them back, and tells whether one had moved on.
        """
        own = [generator.get_state() for generator in self._generators]
        before: Any = random.getstate(), np.random.get_state(), own

        def back() -> bool:
            moved = random.getstate() != before[0]
            now: Any = np.random.get_state()
            moved |= now[2] != before[1][2] or not np.array_equal(now[1], before[1][1])
            random.setstate(before[0])
            np.random.set_state(before[1])
            for generator, state in zip(self._generators, before[2], strict=True):
                moved |= not torch.equal(generator.get_state(), state)
                generator.set_state(state)
            return bool(moved)

        return back

    def _visit(self, one: object) -> None:
        skipped = isinstance(one, _PLAIN) or getattr(type(one), "unwatched", False)
        if skipped or id(one) in self._seen:
            return
        self._seen[id(one)] = one
        root = type(one).__module__.partition(".")[0]
        if isinstance(one, Tensor):
            self._tensor(one)
        elif isinstance(one, torch.Generator):
            self._generators.append(one)
        elif isinstance(one, np.ndarray):
            self._array(one)
        elif isinstance(one, _DRAWS):
            self.obstacle = f"the program holds a {type(one).__name__} of its own"
        elif isinstance(one, types.ModuleType) or root in _OPAQUE:
            pass
        elif isinstance(one, Iterator):
            self.obstacle = f"the program holds an iterator ({type(one).__name__})"
        elif isinstance(one, types.FunctionType):
            self._function(one)
        elif isinstance(one, types.CodeType | types.BuiltinFunctionType):
            pass
        elif isinstance(one, types.MethodType):
            self._left += [one.__self__, one.__func__]
        elif isinstance(one, functools.partial):
            self._left += [one.func, *one.args, *one.keywords.values()]
        elif isinstance(one, type):
            self._class(one)
        elif isinstance(one, weakref.ref):
            self._left.append(one())
        else:
            self._object(one)

    def _tensor(self, tensor: Tensor) -> None:
        if tensor.grad_fn is not None:
            self.obstacle = "the program holds a tensor that was computed from parameters"
        else:
            self.tensors[id(tensor)] = tensor, _kind(tensor)

    def _array(self, array: NDArray[np.generic]) -> None:
        if array.dtype == object or array.nbytes > 1 << 20:
            self.obstacle = "the program holds a large array of numpy's: make it a tensor"
        else:
            self._arrays.append((array, array.copy()))

    def _function(self, function: types.FunctionType) -> None:
        self._left += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        for cell in function.__closure__ or ():
            self._hold(_Cell(cell))
        if function.__dict__:
            self._hold(_Items(function.__dict__))
        if function.__module__.partition(".")[0] not in _LIBRARIES:
            names = sorted(_names(function.__code__))
            self._hold(_Named(function.__globals__, tuple(names)))
            for name in names:  # constants of a module of the user's own
                value = function.__globals__.get(name)
                if isinstance(value, types.ModuleType) and _users(value.__name__):
                    self._hold(_Named(vars(value), tuple(names)))

    def _class(self, cls: type) -> None:
        if _users(cls.__module__):
            self._hold(_Attributes(cls))
            self._left += cls.__bases__

    def _object(self, one: object) -> None:
        self._left.append(type(one))
        if isinstance(one, MutableMapping):
            self._hold(_Items(one))
        elif isinstance(one, Mapping):
            self._left += [*one.keys(), *one.values()]
        elif isinstance(one, list | deque):
            self._hold(_Sequence(one))
        elif isinstance(one, MutableSet):
            self._hold(_Set(one))
        elif isinstance(one, tuple | frozenset):
            self._left += one
        if isinstance(getattr(one, "__dict__", None), dict):
            self._hold(_Items(one.__dict__))
        slots = [getattr(c, "__slots__", ()) for c in type(one).__mro__ if _users(c.__module__)]
        if names := [n for s in slots for n in ((s,) if isinstance(s, str) else s)]:
            self._hold(_Slots(one, tuple(n for n in names if not n.startswith("__"))))

    def _hold(self, holder: _Holder) -> None:
        if isinstance(holder, _Items | _Sequence | _Set) and not holder.where:
            self._empty.append(holder.where)
            return
        self._holders.append(holder)
        self._left += holder.values


class _Holder:
    """Something with places for values, as it was."""

    def __init__(self, where: Any, names: tuple[str, ...] = ()) -> None:
        self.where, self.names = where, names
        self.values = self.now()

    def now(self) -> tuple[object, ...]:
        raise NotImplementedError

    def restore(self) -> None:
        raise NotImplementedError

    def current(self) -> bool:
        now = self.now()
        if len(now) != len(self.values):
            return False
        if all(map(is_, now, self.values)):
            return True
        return all(map(_same, now, self.values))


class _Items(_Holder):
    """A mapping."""

    def now(self) -> tuple[object, ...]:
        return tuple(chain(self.where, self.where.values()))

    def restore(self) -> None:
        half = len(self.values) // 2
        self.where.clear()
        self.where.update(zip(self.values[:half], self.values[half:], strict=True))


class _Sequence(_Holder):
    def now(self) -> tuple[object, ...]:
        return tuple(self.where)

    def restore(self) -> None:
        self.where.clear()
        self.where.extend(self.values)


class _Set(_Holder):
    def now(self) -> tuple[object, ...]:
        return (frozenset(self.where),)

    def restore(self) -> None:
        self.where.clear()
        self.where |= self.values[0]


class _Cell(_Holder):
    """A variable of a closure."""

    def now(self) -> tuple[object, ...]:
        try:
            return (self.where.cell_contents,)
        except ValueError:  # not set yet
            return ()

    def restore(self) -> None:
        if self.values:
            (self.where.cell_contents,) = self.values


class _Named(_Holder):
    """Some names of a module."""

    def now(self) -> tuple[object, ...]:
        get = self.where.get
        return tuple([get(name, _MISSING) for name in self.names])

    def restore(self) -> None:
        for name, value in zip(self.names, self.values, strict=True):
            if value is not _MISSING:
                self.where[name] = value
            elif name in self.where:
                del self.where[name]


class _Slots(_Holder):
    """Attributes that are in no dictionary."""

    def now(self) -> tuple[object, ...]:
        return tuple([getattr(self.where, name, _MISSING) for name in self.names])

    def restore(self) -> None:
        for name, value in zip(self.names, self.values, strict=True):
            if value is not _MISSING:
                object.__setattr__(self.where, name, value)


class _Attributes(_Holder):
    """A class's own."""

    def now(self) -> tuple[object, ...]:
        skipped = ("__dict__", "__weakref__", "__doc__", "_abc_impl")
        items = [(n, v) for n, v in vars(self.where).items() if n not in skipped]
        names, values = [n for n, _ in items], [v for _, v in items]
        plain = [getattr(v, "__func__", getattr(v, "fget", None) or v) for v in values]
        return (*names, *plain)

    def restore(self) -> None:
        half = len(self.values) // 2
        for name, value in zip(self.values[:half], self.values[half:], strict=True):
            if isinstance(value, _PLAIN):
                setattr(self.where, str(name), value)


def constant(leaf: object) -> object:
    """What tells an argument that is no tensor from others: its value, or which object it is."""
    if type(leaf) in (float, complex):  # 0 and -0 are equal
        return type(leaf), repr(leaf)
    return type(leaf), leaf if type(leaf) in _PLAIN else id(leaf)


def _users(module: str) -> bool:
    return module.partition(".")[0] not in _LIBRARIES | _OPAQUE


def _names(code: types.CodeType) -> set[str]:
    """The names that a function and those inside it look up."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _kind(tensor: Tensor) -> tuple[object, ...]:
    stride = tensor.stride() if tensor.layout is torch.strided else None
    return tensor.requires_grad, tensor.dtype, tensor.device, tensor.shape, stride


def _same(a: object, b: object) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, types.MethodType | frozenset):
        return bool(a == b)
    return isinstance(a, _PLAIN) and constant(a) == constant(b)


def _same_array(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    return bool(a.shape == b.shape and a.tobytes() == b.tobytes())
