"""Weights that share memory: which ones do, how they are put back, and their moving average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__: list[str] = []


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer under all its names, parameters first."""
    found: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    return found | dict(module.named_buffers(remove_duplicate=False))


def _extent(size: Sequence[int], stride: Sequence[int]) -> int:
    """Numbers in memory from a tensor's first to its last."""
    return 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))


def _start(tensor: Tensor) -> int:
    return int(tensor.storage_offset())


class Tied(TypedDict):
    """A tensor that shares memory with others: its names, several where they are one object, and
    where it lies in the memory of all.
    """

    names: list[str]
    size: list[int]
    stride: list[int]
    offset: int


def ties(module: nn.Module) -> list[list[Tied]]:
    """Which of a module's parameters and buffers overlap in memory.

    Returns:
        Groups of them. Plain data.
    """
    places: dict[tuple[Any, ...], dict[int, list[str]]] = {}
    live = _tensors(module)
    for name, tensor in live.items():
        if tensor.numel():
            place = (tensor.untyped_storage().data_ptr(), tensor.dtype, tensor.device)
            places.setdefault(place, {}).setdefault(id(tensor), []).append(name)
    found = []
    for objects in places.values():
        for group in _overlapping([(names, live[names[0]]) for names in objects.values()]):
            if len(group) > 1 or len(group[0][0]) > 1:
                start = min(_start(tensor) for _, tensor in group)
                found.append([_described(names, tensor, start) for names, tensor in group])
    return found


_Named = tuple[list[str], Tensor]


def _overlapping(tensors: list[_Named]) -> Iterator[list[_Named]]:
    """Tensors of one memory, those together whose stretches of it overlap."""
    group: list[_Named] = []
    end = 0
    for names, tensor in sorted(tensors, key=lambda named: _start(named[1])):
        if group and _start(tensor) >= end:
            yield group
            group = []
        group.append((names, tensor))
        end = max(end, _start(tensor) + _extent(tensor.shape, tensor.stride()))
    yield group


def _described(names: list[str], tensor: Tensor, start: int) -> Tied:
    return {
        "names": names,
        "size": list(tensor.shape),
        "stride": list(tensor.stride()),
        "offset": _start(tensor) - start,
    }


@torch.no_grad()
def tie(module: nn.Module, wanted: Sequence[Sequence[Tied]]) -> None:
    """Let a module's tensors share memory as :func:`ties` found another's do.

    Raises:
        KeyError: If it has no tensor of a name, or a description lacks a part.
        RuntimeError: If a tensor does not fit the memory.
    """
    if ties(module) == wanted:
        return
    live = _tensors(module)
    for group in wanted:
        for part in group:
            for name in part["names"][1:]:
                _replace(module, name, live[part["names"][0]])
        tensors = [live[part["names"][0]] for part in group]
        size = max(part["offset"] + _extent(part["size"], part["stride"]) for part in group)
        memory = tensors[0].new_zeros(size)
        for part, tensor in zip(group, tensors, strict=True):
            view = memory.as_strided(part["size"], part["stride"], part["offset"])
            _once(view).copy_(_like(view, tensor))
            tensor.data = view


def _replace(module: nn.Module, name: str, tensor: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    inside = module.get_submodule(owner)
    own: dict[str, Any] = inside._parameters if leaf in inside._parameters else inside._buffers
    if leaf not in own:
        raise KeyError(name)
    own[leaf] = tensor


def _once(tensor: Tensor) -> Tensor:
    """A view of an expanded tensor in which no number is there several times."""
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and stride == 0:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def _like(view: Tensor, tensor: Tensor) -> Tensor:
    """The part of a tensor of the view's shape that goes into what :func:`_once` gives of it."""
    if view.shape != tensor.shape:
        raise RuntimeError(f"a tensor has shape {tuple(tensor.shape)}, not {tuple(view.shape)}")
    for dim, size in enumerate(_once(view).shape):
        tensor = tensor.narrow(dim, 0, size)
    return tensor


@torch.no_grad()
def put(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a module its weights, into the memory that it has.

    Args:
        module: The module; it gets the weights' dtype.
        weights: Of all its tensors, and no others.

    Raises:
        RuntimeError: If names or shapes are not the module's, or tensors that share memory in it
            are to have different values.
    """
    _cast(module, weights)
    live = module.state_dict(keep_vars=True)
    wide = {key: live[key] for key in live if _once(live[key]) is not live[key]}
    rest = {key: value for key, value in weights.items() if key not in wide}
    found = nn.Module.load_state_dict(module, rest, strict=not wide)
    lacking = [*({*found.missing_keys} - {*wide}), *found.unexpected_keys, *(wide - weights.keys())]
    if lacking:
        raise RuntimeError(f"these weights are there or here only: {', '.join(sorted(lacking))}")
    for key, tensor in wide.items():
        _once(tensor).copy_(_like(tensor, weights[key]))
    shared = {name for group in ties(module) for part in group for name in part["names"]}
    for key in (shared | wide.keys()) & weights.keys():
        if not torch.allclose(live[key], weights[key].to(live[key]), 0, 0, equal_nan=True):
            raise RuntimeError(f"{key} shares its memory with other weights, which differ from it")


def _cast(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a module the dtypes of its weights, where it has others."""
    live = module.state_dict(keep_vars=True)
    wanted = {k: w.dtype for k, w in weights.items() if k in live and w.is_floating_point()}
    other = {key: dtype for key, dtype in wanted.items() if live[key].dtype != dtype}
    if other and len(set(wanted.values())) == 1:
        module.to(next(iter(wanted.values())))  # with the buffers that are not saved
        return
    for key, dtype in other.items():
        live[key].data = live[key].data.to(dtype)


class Averaged(AveragedModel):
    """An exponential moving average of a model's weights, which share memory as the model's do.

    Args:
        model: The model.
        decay: Of the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)
        super().__init__(model, multi_avg_fn=average)
        # A deep copy keeps one object that has two names, but not two views of one memory.
        wanted = ties(model)
        tie(self.module, wanted)
        self._average = average
        self._plain = not wanted and all(_once(t) is t for t in _tensors(model).values())

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the model's present weights into the average, each number of its memory once."""
        if self._plain:
            super().update_parameters(model)
            return
        pairs = zip(_memories(self.module), _memories(model), strict=True)
        first = bool(self.n_averaged == 0)
        for (ours, learned), (theirs, _) in pairs:
            if learned and not first:
                self._average([ours], [theirs], self.n_averaged)
            else:
                ours.copy_(theirs)
        self.n_averaged += 1

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> None:
        """Take up the state that ``state_dict`` gave, into the memory that there is."""
        put(self, state_dict)


def _memories(module: nn.Module) -> Iterator[tuple[Tensor, bool]]:
    """All of a module's numbers once, and whether they are parameters'."""
    live, done = _tensors(module), set()
    for group in ties(module):
        names = [name for part in group for name in part["names"]]
        first = live[group[0]["names"][0]]
        start = _start(first) - group[0]["offset"]
        size = max(part["offset"] + _extent(part["size"], part["stride"]) for part in group)
        memory = first.detach().as_strided((size,), (1,), start)
        yield memory, any(isinstance(live[name], nn.Parameter) for name in names)
        done.update(names)
    for name, tensor in live.items():
        if name not in done:
            yield _once(tensor.detach()), isinstance(tensor, nn.Parameter)
