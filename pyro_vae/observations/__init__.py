"""The stock observations, as one table: adding one is adding one entry."""

from pyro_vae.observations.columns import head_of_column, parse_columns
from pyro_vae.observations.described import read, spec
from pyro_vae.observations.families import OnLevels
from pyro_vae.observations.lookup import available, costs, get, resolve
from pyro_vae.observations.table import GROUPS, TABLE, Entry
from pyro_vae.observations.words import head_of

__all__ = [
    "GROUPS",
    "TABLE",
    "Entry",
    "OnLevels",
    "available",
    "costs",
    "get",
    "head_of",
    "head_of_column",
    "parse_columns",
    "read",
    "resolve",
    "spec",
]
