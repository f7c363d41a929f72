"""Losses that nobody here wrote, in one table: import `TABLE`."""

from tests.diagnosis.losses import balance, calls, divergences, terms  # noqa: F401
from tests.diagnosis.losses.table import TABLE, Case

__all__ = ["TABLE", "Case"]
