"""What can be asked of a family: a class, a partial of one, a function, or a whole event."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import Distribution, constraints

__all__: list[str] = []

Family = Callable[..., dist.TorchDistribution]


@dataclass(frozen=True)
class Whole:
    """A family over the whole event at once: a user's function of the raw grid."""

    function: Callable[[Tensor], Distribution]

    def __call__(self, raw: Tensor) -> Distribution:
        """The distribution of raw (..., num_raw, *data_shape)."""
        found: Distribution = self.function(raw)
        return found


def class_of(family: object) -> Any:
    """The class or function at the bottom of a family."""
    return class_of(family.func) if isinstance(family, partial) else family


def adopted(family: Any) -> Any:
    """A class of torch's own as Pyro's of the same name, which a site of a program needs."""
    if isinstance(family, partial):
        func = adopted(family.func)
        return family if func is family.func else partial(func, *family.args, **family.keywords)
    known = getattr(dist, getattr(family, "__name__", ""), None)
    own = isinstance(family, type) and isinstance(known, type) and issubclass(known, family)
    return known if own else family


def takes(family: Any, name: str) -> bool:
    """Whether a class is made with an argument of this name, a parameter or not."""
    kind = class_of(family)
    return isinstance(kind, type) and name in inspect.signature(kind).parameters


def attribute(family: object, name: str, default: object) -> Any:
    """An attribute that the family declares as plain data, or the default."""
    value = getattr(class_of(family), name, default)
    return default if callable(value) or isinstance(value, property) else value


def title_of(family: object) -> str:
    """Its name, for messages."""
    family = family.function if isinstance(family, Whole) else class_of(family)
    return str(getattr(family, "__name__", type(family).__name__)).replace("<lambda>", "a lambda")


def is_discrete(support: object) -> bool:
    """Whether a family's support is discrete; False where it declares none."""
    try:
        return isinstance(support, constraints.Constraint) and bool(support.is_discrete)
    except NotImplementedError:  # it depends on the distribution, as a transformed one's does
        return False
