"""Audit of a loss function that people wrote themselves: probing, recognising, reporting."""

from pyro_vae.loss_audit.auditing import audit
from pyro_vae.loss_audit.report import AuditReport

__all__ = ["AuditReport", "audit"]
