"""Evaluation: scores of a trained model in units that can be compared, with their baselines."""

from pyro_vae.evaluation.bounds import Bounds, importance_bound
from pyro_vae.evaluation.report import EVALUATION, write_evaluation
from pyro_vae.evaluation.scores import PARTS, evaluate

__all__ = [
    "EVALUATION",
    "PARTS",
    "Bounds",
    "evaluate",
    "importance_bound",
    "write_evaluation",
]
