"""Data: arrays, stock data sets, and how 8-bit levels reach an observation."""

from pyro_vae.data.arrays import Data, as_images, as_source, first, split
from pyro_vae.data.reading import batches, order
from pyro_vae.data.stock import TABLE, load
from pyro_vae.data.stored import Images, Stored, looked_at
from pyro_vae.data.streams import stream

__all__ = [
    "TABLE",
    "Data",
    "Images",
    "Stored",
    "as_images",
    "as_source",
    "batches",
    "first",
    "load",
    "looked_at",
    "order",
    "split",
    "stream",
]
