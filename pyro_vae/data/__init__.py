"""Data: arrays, stock data sets, and how 8-bit levels reach an observation."""

from pyro_vae.data.arrays import Data, as_given, as_images, as_source, first, split
from pyro_vae.data.batch import (
    Batch,
    Images,
    context,
    cycled,
    looked_at,
    of_covariates,
    plain,
)
from pyro_vae.data.conditions import condition_of, conditioned, of_classes
from pyro_vae.data.reading import batches, order
from pyro_vae.data.stock import TABLE, load
from pyro_vae.data.stored import Stored
from pyro_vae.data.streams import stream
from pyro_vae.data.table import Column, Table, read_table

__all__ = [
    "TABLE",
    "Batch",
    "Column",
    "Data",
    "Images",
    "Stored",
    "Table",
    "as_given",
    "as_images",
    "as_source",
    "batches",
    "condition_of",
    "conditioned",
    "context",
    "cycled",
    "first",
    "load",
    "looked_at",
    "of_classes",
    "of_covariates",
    "order",
    "plain",
    "read_table",
    "split",
    "stream",
]
