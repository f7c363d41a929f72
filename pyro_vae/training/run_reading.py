"""The data that a run's configuration asks for, in their parts, with the head that suits them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_vae.config import ObservationConfig, declared
from pyro_vae.data import Data, condition_of, conditioned, first, load, looked_at
from pyro_vae.data.parts import Asked, Parted, parted
from pyro_vae.errors import InputError
from pyro_vae.observations import head_of
from pyro_vae.training.tables import of_table

if TYPE_CHECKING:
    from pyro_vae.training.run_config import RunConfig

__all__: list[str] = []


class Read(NamedTuple):
    """Data as a run is trained on them: its head or heads, how they are found again, and notes."""

    data: Data
    head: Any
    described: dict[str, Any]
    notes: tuple[str, ...]


def read_data(config: RunConfig) -> Read:
    """The data, the head or heads, and how the data are found again.

    Raises:
        InputError: If they are not at hand, or an option says nothing of such data.
    """
    wanted = config.data, config.data_root, config.download, config.resize, config.crop
    asked = Asked(config.validation, config.fit.chooses, config.observation.bits)
    data, parts, notes = _parted(wanted, asked)
    described: dict[str, Any] = {"name": config.data, "root": config.data_root}
    sizes = {name: getattr(config, name) for name in ("images", "resize", "crop")}
    described |= {name: value for name, value in sizes.items() if value is not None}
    described |= parts
    if data.table is not None:
        _check_table(config)
        read = of_table(data.table, config.column, config.condition)
        data, parts, notes = parted(read.data, asked, read.described)
        described |= {**read.described, **parts}
        return Read(first(data, config.images), read.heads, described, notes)
    if config.column:
        raise InputError("--column is for a .csv (.tsv, .parquet) table, whose columns have names")
    data = first(data, config.images)
    head = head_of(config.observation, looked_at(data.train))
    if config.condition is not None:
        described["condition"] = condition_of(data, config.condition)
    return Read(conditioned(data, described.get("condition")), head, described, notes)


@lru_cache(maxsize=1)
def _parted(wanted: tuple[Any, ...], asked: Asked) -> Parted:
    """The data in their parts; of a table, whose columns are not known yet, as they are."""
    data = load(*wanted)
    if data.table is not None:
        return Parted(data, {}, ())
    name, *_, resize, crop = wanted
    return parted(data, asked, {"name": name, "resize": resize, "crop": crop})


def _check_table(config: RunConfig) -> None:
    """Refuse options that say nothing of a table."""
    for name in (*declared(ObservationConfig), "augment"):
        part = config.observation if hasattr(config.observation, name) else config.fit
        if getattr(part, name) != getattr(type(part)(), name):
            observed = part is config.observation
            how = ": --column NAME=OBS says what columns are" if observed else ""
            raise InputError(f"--{name.replace('_', '-')} is not for tables{how}")
