"""Memory: budgets as people write them, and what an observation needs of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyro_vae.errors import InputError

__all__: list[str] = []

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def bytes_of(budget: str | int) -> int:
    """A memory budget in bytes.

    Args:
        budget: Bytes, or a number with B, KB, MB, GB or TB.

    Raises:
        InputError: If it is not positive or reads otherwise.

    Example:
        >>> bytes_of("512MB")
        512000000
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([KMGT]?B)?\s*", str(budget), re.IGNORECASE)
    value = float(match[1]) * _UNITS[(match[2] or "B").upper()] if match else math.nan
    if not value >= 1:
        raise InputError(f"memory-budget must be a size such as 512MB or 2GB, got {budget!r}")
    return int(value)


class _Tally(TorchDispatchMode):
    """Counts the bytes of every new tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and _storage(leaf) not in known:
                self.bytes += leaf.untyped_storage().nbytes()
        return out


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


def bytes_made(run: Callable[[], object]) -> int:
    """Bytes of all that a function makes: an upper bound of what it takes.

    Everything counts, as if nothing were freed before the end.
    """
    with torch.no_grad(), _Tally() as tally:
        run()
    return int(tally.bytes)
