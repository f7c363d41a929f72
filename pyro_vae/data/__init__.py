"""Data: arrays, stock data sets, and how 8-bit levels reach an observation."""

from pyro_vae.data.arrays import Data, as_images, split
from pyro_vae.data.stock import TABLE, load

__all__ = ["TABLE", "Data", "as_images", "load", "split"]
