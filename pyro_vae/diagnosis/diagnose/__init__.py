"""Diagnose: what is wrong with a trained VAE, from its distributions and its records."""

from pyro_vae.diagnosis.diagnose.diagnosing import Diagnosis, diagnose
from pyro_vae.diagnosis.diagnose.evidence import Evidence
from pyro_vae.diagnosis.diagnose.programs import ProgramDiagnosis
from pyro_vae.diagnosis.diagnose.verifying import Verification, verify

__all__ = ["Diagnosis", "Evidence", "ProgramDiagnosis", "Verification", "diagnose", "verify"]
