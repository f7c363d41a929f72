"""Diagnose: what is wrong with a trained VAE, from its distributions and its records."""

from pyro_vae.diagnostics.diagnosing import Diagnosis, diagnose
from pyro_vae.diagnostics.evidence import Evidence
from pyro_vae.diagnostics.programs import ProgramDiagnosis
from pyro_vae.diagnostics.verifying import Verification, verify

__all__ = ["Diagnosis", "Evidence", "ProgramDiagnosis", "Verification", "diagnose", "verify"]
