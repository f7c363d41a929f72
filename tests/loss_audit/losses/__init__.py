"""Losses that nobody here wrote, in one table: import `TABLE`."""

from tests.loss_audit.losses import (  # noqa: F401
    balance,
    calls,
    divergences,
    forms_of_call,
    terms,
    unknown,
)
from tests.loss_audit.losses.table import TABLE, Case

__all__ = ["TABLE", "Case"]
