"""Diagnosis: what is wrong with a VAE, or with a loss, and what mends it."""

from pyro_vae.diagnosis.audit import AuditReport, audit
from pyro_vae.diagnosis.diagnose import (
    Diagnosis,
    ProgramDiagnosis,
    Verification,
    diagnose,
    verify,
)
from pyro_vae.diagnosis.forecasting import draw_forecast, forecast

__all__ = [
    "AuditReport",
    "Diagnosis",
    "ProgramDiagnosis",
    "Verification",
    "audit",
    "diagnose",
    "draw_forecast",
    "forecast",
    "verify",
]
