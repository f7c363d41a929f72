"""A head built for one data shape: the module that a VAE owns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_vae import links
from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError
from pyro_vae.heads import probing
from pyro_vae.heads.families import Whole, attribute
from pyro_vae.heads.location import is_location
from pyro_vae.heads.param import Param

if TYPE_CHECKING:
    from pyro_vae.heads.head import Head

__all__ = ["BuiltHead"]


class BuiltHead(nn.Module):
    """A head built for one data shape: raw (..., numbers) → distribution over data_shape.

    Raw output is flat: first each per-pixel parameter's whole grid, channel-first, then the
    per-image numbers.

    Args:
        head: What it is built from.
        data_shape: Of one image (C, H, W), or of one vector (D,).

    Attributes:
        numbers: Raw numbers per image in all.
        grid_numbers: Of these, the ones that belong to a parameter's grid.
        image_numbers: Of these, the ones for a whole image.
        location, scale: The names of the parameters of those roles, None where there is none.
    """

    def __init__(self, head: Head, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.head, self.data_shape = head, data_shape
        self.location, self.scale = head.location, head.scale
        own, loc = dict(head.parameters), head.location or "loc"
        for name, param in head.parameters:
            param.check(head.title, name)
            if param.origin == "residual" and not is_location(head.family, own, loc):
                raise InputError(
                    f"{name} of {head.title} cannot be a residual x − {loc}: no parameter {loc} of "
                    f"{head.title} lies where x does"
                )
        self.links = {
            name: self._link(name, param)
            for name, param in head.parameters
            if param.origin == "learned"
        }
        self.site_event = self._site_event()
        cut = len(data_shape) - len(self.site_event)
        self.grid = data_shape[:cut]
        if data_shape[cut:] != self.site_event:
            raise InputError(
                f"{head.title} makes events of shape {self.site_event} in a site, "
                f"which do not end the data's shape {data_shape}"
            )
        self.shapes = {name: self._shape(param) for name, param in head.parameters}
        self.grid_numbers = math.prod(self.grid) * self._numbers("pixel")
        self.image_numbers = self._numbers("image")
        self.numbers = self.grid_numbers + self.image_numbers
        self.learned = nn.ParameterDict()
        self.shared = nn.ModuleDict(
            {
                name: nn.Linear(param.features, math.prod(self.shapes[name]))
                for name, param in head.parameters
                if param.features is not None
            }
        )
        self.frozen = False
        self.own_x = "residual" in self.origins()
        self.known_set = "data" not in self.origins()
        self.offset: Tensor | None
        self.register_buffer("offset", None)
        if "data" in self.origins():
            self.estimated: Tensor
            self.register_buffer("estimated", torch.tensor(False))
        for name, param in head.parameters:
            self._own(name, param)
        self.spread = False
        probing.try_batch(self)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        """What is not saved is made anew: it may have been left uninitialised."""
        super()._load_from_state_dict(*args, **kwargs)
        with torch.no_grad(), torch.device("cpu"):
            for name, param in self.head.parameters:
                if param.origin == "fixed":
                    key = f"fixed_{name}"
                    self._buffers[key] = self._fixed(name, param).to(getattr(self, key))

    def _numbers(self, scope: str) -> int:
        """Raw numbers per site (pixel) or in all (image) of the parameters of a scope."""
        return sum(
            math.prod(self._raw_shape(name, param))
            for name, param in self.head.parameters
            if param.scope == scope and param.origin == "learned"
        )

    def _raw_shape(self, name: str, param: Param) -> tuple[int, ...]:
        """Shape of the raw numbers that make one value of a parameter."""
        return self.shapes[name] if param.features is None else (param.features,)

    def _own(self, name: str, param: Param) -> None:
        """Keep what belongs to the head and does not come from the decoder."""
        per_site = param.scope in ("dimension", "pixel")
        shape = (*(self.grid if per_site else ()), *self.shapes[name])
        if param.origin == "fixed":
            with torch.device("cpu"):  # a value to be checked
                value = self._fixed(name, param)
            value = value.to(torch.empty(0).device)
            self.register_buffer(f"fixed_{name}", value, persistent=False)
        elif param.origin != "learned":
            self.register_buffer(f"fixed_{name}", torch.ones(shape))
        elif param.scope in ("dataset", "dimension"):
            self.learned[name] = nn.Parameter(torch.zeros(shape))

    def forward(self, raw: Tensor, x: Tensor | None = None) -> Distribution:
        """The distribution of raw output.

        Args:
            raw: Shape (..., numbers).
            x: What it will score, (..., *data_shape); a scale that is a residual of x needs it,
                and has its frozen value without.

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
        if self.offset is not None:
            raw = raw + self.offset
        values = self.values(raw)
        if x is not None and not self.frozen and self.location is not None:
            for name, param in self.head.parameters:
                if param.origin == "residual":
                    values[name] = self._residual(name, param, x - values[self.location])
        lead = raw.shape[:-1]
        if self.spread:
            values = {n: v.expand(*lead, *self.grid, *self.shapes[n]) for n, v in values.items()}
        distribution = self.head.family(**values)
        if x is not None and self.own_x:  # a scale that is x's own residual has x's batch
            lead = torch.broadcast_shapes(lead, x.shape[: x.dim() - len(self.data_shape)])
        batch = lead + self.grid
        if distribution.batch_shape != batch:
            distribution = distribution.expand(batch)
        found: Distribution = distribution.to_event(len(self.grid))
        return found

    def values(self, raw: Tensor, learned: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What each parameter is, by its name; residuals as they are frozen.

        Args:
            raw: Shape (..., numbers), the offset in it.
            learned: Numbers in place of the head's own learned ones, by name, of the same shapes.
        """
        known: Any = self.learned if learned is None else learned
        values: dict[str, Tensor] = {}
        start = {"pixel": 0, "image": self.grid_numbers}
        for name, param in self.head.parameters:
            if param.origin != "learned":
                values[name] = self.fixed(name)
            elif name in known:
                values[name] = self.links[name](known[name])
            else:
                scope = str(param.scope)
                grid = self.grid if scope == "pixel" else (1,) * len(self.grid)
                shape = self._raw_shape(name, param)
                size = math.prod(shape) * math.prod(grid)
                part = _site_last(raw[..., start[scope] : start[scope] + size], shape, grid)
                start[scope] += size
                if name in self.shared:
                    part = self.shared[name](part).reshape(*part.shape[:-1], *self.shapes[name])
                values[name] = self.links[name](part)
        return values

    def _residual(self, name: str, param: Param, residual: Tensor) -> Tensor:
        """The scale that is optimal for these residuals, not below the floor.

        Below the floor the squared error stays in the loss, divided by 2 floor².
        """
        frozen = self.fixed(name)
        squared = residual.square()
        if param.scope == "batch":
            # A σ of the batch is a number of the model, as a learned one: by the envelope theorem
            # the gradient of the mean is the same without a gradient through it.
            if self.training:
                frozen.copy_(self._above(param, squared.mean()).detach())
            return frozen
        if param.scope == "image":
            squared = squared.mean(tuple(range(-len(self.grid), 0)), keepdim=True)
        return self._above(param, squared)

    def _above(self, param: Param, squared: Tensor) -> Tensor:
        return squared.clamp_min((self.head.floor(param) * self.head.unit) ** 2).sqrt()

    @torch.no_grad()
    def estimate(self, variance: Tensor) -> None:
        """Set the scales that come from the data.

        Args:
            variance: Of the training data about each site's mean, of shape data_shape.
        """
        low, high = self.head.interval
        floor = (high - low) / (256 * math.sqrt(12))  # of a level's own rounding
        for name, param in self.head.parameters:
            if param.origin == "data":
                value = variance.mean() if param.scope == "dataset" else variance
                self.fixed(name).copy_(value.sqrt().clamp_min(floor))
                self.estimated.fill_(True)

    @torch.no_grad()
    def freeze(self, squared: Tensor) -> None:
        """Set the scales that are residuals to those of the training data.

        Args:
            squared: Mean squared residual of each site over the training data, of shape data_shape.
        """
        for name, param in self.head.parameters:
            if param.origin == "residual":
                value = squared if param.scope == "pixel" else squared.mean()
                self.fixed(name).copy_(self._above(param, value))

    def fixed(self, name: str) -> Tensor:
        """What a parameter that is not learned is, (*grid, *shape) or less; a residual frozen."""
        value: Tensor = getattr(self, f"fixed_{name}")
        return value

    def origins(self) -> set[str]:
        """Where its parameters come from: "learned", "fixed", "data", "residual"."""
        return {param.origin for _, param in self.head.parameters}

    def check_set(self) -> None:
        """Make sure that scales from the data have been set.

        Raises:
            InputError: If they have not.
        """
        if not self.known_set and not bool(self.estimated):
            raise InputError(
                f"a scale of {self.head.title} comes from the data and is not set: "
                "call vae.estimate(images) first, as fit does"
            )
        self.known_set = True  # asked of an accelerator once, not at every step

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
        value = value * (self.head.unit if name == self.scale else 1.0)
        return value.expand(param.shape) if param.shape else value

    def _link(self, name: str, param: Param) -> links.Link:
        link, interval = param.link, self.head.interval
        constraint = attribute(self.head.family, "arg_constraints", {}).get(name)
        where = data_levels.get(self.head.levels).location
        if where and is_location(self.head.family, dict(self.head.parameters), name):
            link = link or where
        made = links.make(link, constraint, floor=self.head.floor(param), interval=interval)
        if made is None:
            why = ": its family declares no arg_constraints that say where it may lie"
            if constraint is not None:
                why = f" or a number: none is known that leads to {constraint}"
            raise InputError(
                f"parameter {name!r} of {self.head.title} needs link={why} "
                f"(links: {', '.join(links.NAMES)})"
            )
        if name == self.scale and self.head.unit != 1.0:
            return _Times(made, self.head.unit)
        return made

    def _site_event(self) -> tuple[int, ...]:
        """Of what its family makes in a site."""
        if isinstance(self.head.family, Whole):
            return self.data_shape
        with torch.device("cpu"):  # whose values can be looked at, wherever the module is made
            values = {name: self._at_zero(name, param) for name, param in self.head.parameters}
        return probing.site_event(self.head, values)

    def _at_zero(self, name: str, param: Param) -> Tensor:
        if param.origin == "fixed":
            return self._fixed(name, param)
        zeros = torch.zeros(param.shape or ())
        return self.links[name](zeros) if name in self.links else zeros + 1


@dataclass(frozen=True)
class _Times:
    """A link in another unit."""

    link: links.Link
    unit: float

    def __call__(self, raw: Tensor) -> Tensor:
        return self.unit * self.link(raw)


def _site_last(part: Tensor, shape: tuple[int, ...], grid: tuple[int, ...]) -> Tensor:
    """(..., shape × grid) → (..., *grid, *shape)."""
    lead = part.shape[:-1]
    part = part.reshape(*lead, *shape, *grid)
    if not (shape and grid):
        return part
    source = tuple(range(len(lead), len(lead) + len(shape)))
    return part.movedim(source, tuple(range(-len(shape), 0)))
