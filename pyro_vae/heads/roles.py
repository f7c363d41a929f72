"""Which parameter of a head says where its data lie, and which how far they spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.distributions import Distribution, Independent

from pyro_vae.heads.param import Param

__all__: list[str] = []

Role = Literal["location", "scale"]
_USUAL: Mapping[Role, str] = {"location": "loc", "scale": "scale"}
"""What torch calls them: a parameter of that name has the role unless another declares it."""


def named(parameters: Mapping[str, Param], role: Role) -> str | None:
    """The name of the parameter that has a role, None where there is none."""
    for name, param in parameters.items():
        if param.role == role:
            return name
    usual = _USUAL[role]
    return usual if usual in parameters and parameters[usual].role is None else None


@dataclass(frozen=True)
class Parameter:
    """A parameter of each site of a distribution, or of an event that is the whole of the data."""

    name: str

    def __call__(self, p: Distribution) -> Tensor:
        """Its value, of p's batch and event, or what broadcasts with it."""
        value: Tensor = getattr(p.base_dist if isinstance(p, Independent) else p, self.name)
        return value
