"""A head built for one data shape: the module that a VAE owns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pyro_vae import links
from pyro_vae.errors import InputError
from pyro_vae.heads.families import Whole, attribute
from pyro_vae.heads.param import SCOPES, Param

if TYPE_CHECKING:
    from pyro_vae.heads.head import Head

__all__ = ["BuiltHead"]


class BuiltHead(nn.Module):
    """A head built for one data shape: raw (..., numbers) → distribution over data_shape.

    Raw output is flat: first each per-pixel parameter's whole grid, channel-first, then the
    per-image numbers.

    Attributes:
        numbers: Raw numbers per image in all.
        grid_numbers: Of these, the ones that belong to a parameter's grid.
        image_numbers: Of these, the ones for a whole image.
    """

    def __init__(self, head: Head, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.head, self.data_shape = head, data_shape
        self.links = {name: self._link(name, param) for name, param in head.parameters}
        self.site_event = self._probe_site_event()
        cut = len(data_shape) - len(self.site_event)
        self.grid = data_shape[:cut]
        if data_shape[cut:] != self.site_event:
            raise InputError(
                f"{head.title} makes events of shape {self.site_event} in a site, "
                f"which do not end the data's shape {data_shape}"
            )
        sites = math.prod(self.grid)
        self.shapes = {name: self._shape(param) for name, param in head.parameters}
        sizes = {
            scope: sum(math.prod(self.shapes[n]) for n, p in head.parameters if p.scope == scope)
            for scope in SCOPES
        }
        self.grid_numbers = sites * sizes["pixel"]
        self.image_numbers = sizes["image"]
        self.numbers = self.grid_numbers + self.image_numbers
        self.learned = nn.ParameterDict()
        for name, param in head.parameters:
            if param.scope in ("dataset", "dimension"):
                grid = self.grid if param.scope == "dimension" else ()
                self.learned[name] = nn.Parameter(torch.zeros((*grid, *self.shapes[name])))
            elif not isinstance(param.scope, str):
                self.register_buffer(f"fixed_{name}", self._fixed(name, param), persistent=False)

    def forward(self, raw: Tensor) -> Any:
        """The distribution of raw output.

        Args:
            raw: Shape (..., numbers).

        Returns:
            A distribution of batch_shape (...) and event_shape data_shape.

        Raises:
            InputError: If the last dimension is not ``numbers``.
        """
        if raw.shape[-1] != self.numbers:
            raise InputError(
                f"{self.head.title} on data of shape {self.data_shape} needs {self.numbers} raw "
                f"numbers per image ({self.grid_numbers} for the grid, {self.image_numbers} for "
                f"the whole image), the network gives {raw.shape[-1]}"
            )
        # Log-probabilities stay in float32 when the networks run in half precision.
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        distribution = self.head.family(**self._values(raw))
        batch = raw.shape[:-1] + self.grid
        if distribution.batch_shape != batch:
            distribution = distribution.expand(batch)
        return distribution.to_event(len(self.grid))

    def _values(self, raw: Tensor) -> dict[str, Tensor]:
        values, lead = {}, raw.shape[:-1]
        offsets = {"pixel": 0, "image": self.grid_numbers}
        for name, param in self.head.parameters:
            shape = self.shapes[name]
            if param.scope not in offsets:
                learned = name in self.learned
                values[name] = (
                    self.links[name](self.learned[name]) if learned else self._buffer(name)
                )
                continue
            scope = str(param.scope)
            grid = self.grid if scope == "pixel" else (1,) * len(self.grid)
            size = math.prod(shape) * math.prod(grid)
            part = raw[..., offsets[scope] : offsets[scope] + size].reshape(*lead, *shape, *grid)
            offsets[scope] += size
            if shape and grid:
                source = tuple(range(len(lead), len(lead) + len(shape)))
                part = part.movedim(source, tuple(range(-len(shape), 0)))
            values[name] = self.links[name](part)
        return values

    def _buffer(self, name: str) -> Tensor:
        value: Tensor = getattr(self, f"fixed_{name}")
        return value

    def _shape(self, param: Param) -> tuple[int, ...]:
        shape = param.shape or ()
        return (*shape, *self.data_shape) if isinstance(self.head.family, Whole) else shape

    def _fixed(self, name: str, param: Param) -> Tensor:
        value = torch.tensor(float(param.scope or 0.0))
        constraint = attribute(self.head.family, "arg_constraints", {}).get(name)
        if constraint is not None and not bool(constraint.check(value).all()):
            raise InputError(
                f"{name} of {self.head.title} must satisfy {constraint}, got {param.scope:g}"
            )
        return value.expand(param.shape) if param.shape else value

    def _link(self, name: str, param: Param) -> links.Link:
        link, interval = param.link, self.head.interval
        constraint = attribute(self.head.family, "arg_constraints", {}).get(name)
        if link is None and name == "loc" and self.head.levels == "dequantised":
            link = "sigmoid"
        made = links.make(link, constraint, floor=param.floor_or_default(), interval=interval)
        if made is None:
            raise InputError(
                f"parameter {name!r} of {self.head.title} needs link=: its family is a plain "
                f"function, which declares no arg_constraints (links: {', '.join(links.NAMES)})"
            )
        return made

    def _probe_site_event(self) -> tuple[int, ...]:
        if isinstance(self.head.family, Whole):
            return self.data_shape
        values = {
            name: self.links[name](torch.zeros(param.shape or ()))
            if isinstance(param.scope, str)
            else self._fixed(name, param)
            for name, param in self.head.parameters
        }
        try:
            return tuple(self.head.family(**values).event_shape)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.head.title} refuses its parameters: {reason}") from error
