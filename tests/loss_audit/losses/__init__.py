"""Losses that nobody here wrote, in one table: import `TABLE`."""

from tests.loss_audit.losses import balance, calls, divergences, terms  # noqa: F401
from tests.loss_audit.losses.table import TABLE, Case

__all__ = ["TABLE", "Case"]
