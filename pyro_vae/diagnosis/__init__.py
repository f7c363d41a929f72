"""Diagnosis: what is wrong with a VAE, or with a loss, and what mends it."""

from pyro_vae.diagnosis.audit import AuditReport, audit

__all__ = ["AuditReport", "audit"]
