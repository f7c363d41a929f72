"""Several things observed at once, as one observation of parts by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head
from pyro_vae.heads.built import BuiltHead
from pyro_vae.observed import Observed, checked_shape, head_of, masked

__all__ = ["Part"]

Parts = Mapping[str, Tensor]


class Part(NamedTuple):
    """One of the things that are observed together.

    Attributes:
        shape: (C, H, W) or (D,) of one of it.
        obs: A name, :class:`~pyro_vae.heads.Head` or function, as for :class:`~pyro_vae.vae.VAE`.
        seen: What the encoder sees of it, (N, *shape) → (N, any); by default what it would see if
            this were all.
    """

    shape: tuple[int, ...]
    obs: str | Head | Callable[[Tensor], Any]
    seen: Callable[[Tensor], Tensor] | None = None


class Several:
    """Parts by their names, each with its head; one that is missing is not scored.

    It has the methods of ``Observed``, over mappings from names.

    Args:
        parts: What each part is.

    Raises:
        InputError: If there are no parts, a name is no name, or a scale is to come from the data.
    """

    def __init__(self, parts: Mapping[str, Part | tuple[object, ...]]) -> None:
        made = {key: Part(*part) for key, part in parts.items()}
        for key in made:
            if not isinstance(key, str) or not key:
                raise InputError(f"names of parts must be texts that are not empty, got {key!r}")
        if not made:
            raise InputError("parts must be a mapping from names to what is observed, not empty")
        self.parts = {
            key: Observed(checked_shape(part.shape), head_of(part.obs), part.seen)
            for key, part in made.items()
        }
        self.shape = {key: part.shape for key, part in self.parts.items()}
        self.head = {key: part.head for key, part in self.parts.items()}
        zeros = {key: torch.zeros(1, *part.shape) for key, part in self.parts.items()}
        self._widths = {
            key: part.seen(zeros[key]).flatten(1).shape[1] for key, part in self.parts.items()
        }
        self.seen_shape = (sum(self._widths.values()),)

    def build(self) -> _Likelihoods:
        """The module that makes all distributions of raw numbers."""
        return _Likelihoods(self.parts)

    def checked(self, x: object, what: str = "data") -> Parts:
        """Data or masks of parts that there are.

        Raises:
            InputError: If they are no mapping, or a name is unknown.
        """
        if not isinstance(x, Mapping):
            raise InputError(
                f"{what} must be a mapping from {', '.join(self.parts)}, got {type(x).__name__}"
            )
        for key in x:
            if key not in self.parts:
                raise unknown(f"part of {what}", key, self.parts)
        return x

    def count(self, x: Parts) -> int:
        """N."""
        if not x:
            raise InputError(f"give at least one of {', '.join(self.parts)}")
        key, value = next(iter(x.items()))
        return self.parts[key].count(value)

    def observe(self, x: Parts, rows: int | None = None) -> dict[str, Tensor]:
        """Each part's levels as its observation takes them, with fresh noise."""
        return {key: self.parts[key].observe(value, rows) for key, value in self.checked(x).items()}

    def given(self, x: Parts, observed: Parts) -> dict[str, Tensor]:
        """What the encoder is given of each part outside training, each (N, *shape)."""
        return {key: self.parts[key].given(value, observed[key]) for key, value in x.items()}

    def seen(self, x: Parts, mask: Parts | None = None) -> Tensor:
        """What the encoder sees of all parts, (N, width); 0 where nothing was observed."""
        x, mask = self.checked(x), self._masks(mask)
        size, dtype = self.count(x), torch.get_default_dtype()
        device = torch.as_tensor(next(iter(x.values()))).device
        return torch.cat(
            [
                part.seen(x[key], mask.get(key)).flatten(1).to(dtype)
                if key in x
                else torch.zeros(size, self._widths[key], dtype=dtype, device=device)
                for key, part in self.parts.items()
            ],
            1,
        )

    def filled(self, x: Parts, mask: Parts | None) -> dict[str, Tensor]:
        """What was observed, each (N, *shape), and some value of its support everywhere else."""
        masks = self._masks(mask)
        return {key: self.parts[key].filled(value, masks.get(key)) for key, value in x.items()}

    def sites(
        self, likelihood: Mapping[str, Distribution], x: Parts | None, mask: Parts | None
    ) -> Iterator[tuple[str, Distribution, Tensor | None]]:
        """Each observed site's name, its distribution and its value, (..., N, *shape); parts that
        are left out have none.
        """
        masks = self._masks(mask)
        for key, p in likelihood.items():
            if x is None or key in x:
                yield f"obs.{key}", masked(p, masks.get(key)), None if x is None else x[key]

    def parts_of(
        self, likelihood: _Likelihoods, x: Parts, mask: Parts | None
    ) -> Iterator[tuple[str, Observed, BuiltHead, Tensor, Tensor | None]]:
        """Each site's name, its part, its built head, its data, (N, *shape), and where they were
        observed.
        """
        masks = self._masks(mask)
        heads = dict(zip(likelihood.names, likelihood.built, strict=True))
        for key, value in x.items():
            yield f"obs.{key}", self.parts[key], heads[key], value, masks.get(key)

    def drawn(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a program returns by part, from its sites' values, each (..., N, *shape)."""
        return {name.removeprefix("obs."): value for name, value in values.items()}

    def kind_on(self, x: Parts) -> str:
        """A loss if one part is one, else a density if one part is one, else a mass."""
        kinds = {self.parts[key].kind_on(value) for key, value in x.items()}
        return next(kind for kind in ("loss", "density", "mass") if kind in kinds)

    def picture(self, likelihood: Mapping[str, Distribution], kind: str) -> dict[str, Tensor]:
        """The picture of each part, (..., *shape)."""
        return {key: self.parts[key].picture(p, kind) for key, p in likelihood.items()}

    def _masks(self, mask: object) -> Parts:
        return {} if mask is None else self.checked(mask, "a mask")


class _Likelihoods(nn.Module):
    """All parts' built heads, whose raw numbers come one after the other."""

    site_event: tuple[int, ...] = ()
    image_numbers = 0
    offset: Tensor | None = None
    frozen = False

    def __init__(self, parts: Mapping[str, Observed]) -> None:
        super().__init__()
        # In a list: torch does not take every name for a module's.
        self.names, built = list(parts), [part.build() for part in parts.values()]
        self.heads = nn.ModuleList(built)
        if "data" in self.origins() or "residual" in self.origins():
            raise InputError(
                "a scale from the data is for a VAE of one observation: learn it here, or fix it"
            )
        self.numbers = self.grid_numbers = sum(head.numbers for head in self.built)

    @property
    def built(self) -> list[BuiltHead]:
        """Each part's head."""
        heads: Any = self.heads
        return list(heads)

    def origins(self) -> set[str]:
        """Where the parameters come from."""
        return {origin for head in self.built for origin in head.origins()}

    def check_set(self) -> None:
        """Nothing comes from the data."""

    def forward(self, raw: Tensor, x: Parts | None = None) -> dict[str, Distribution]:
        """Each part's p(x|z).

        Args:
            raw: (..., numbers).
            x: What they will score, each (..., *shape).
        """
        split = raw.split([head.numbers for head in self.built], -1)
        return {
            key: head(part, (x or {}).get(key))
            for key, head, part in zip(self.names, self.built, split, strict=True)
        }


def observed_of(shape: Any, obs: Any) -> Observed | Several:
    """One observation, or several by their names."""
    if not isinstance(shape, Mapping):
        return Observed(checked_shape(shape), head_of(obs))
    parts = {key: part for key, part in shape.items() if isinstance(part, Part)}
    wanted = {*shape} - {*parts}
    if isinstance(obs, Mapping):
        if names := wanted ^ {*obs}:
            raise InputError(
                "data-shape and obs must be of the same names; "
                f"{', '.join(sorted(names))} is in one of them only"
            )
        parts |= {key: Part(shape[key], obs[key]) for key in wanted}
    else:
        parts |= {key: Part(shape[key], obs) for key in wanted}
    return Several({key: parts[key] for key in shape})
