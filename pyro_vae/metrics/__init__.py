"""Evaluation: scores of a trained model in units that can be compared, with their baselines."""

from pyro_vae.metrics.classifier import Classifier, classifier_for
from pyro_vae.metrics.evaluating import PARTS, evaluate
from pyro_vae.metrics.importance import Bounds, importance_bound
from pyro_vae.metrics.report import write_evaluation
from pyro_vae.metrics.results import Scores
from pyro_vae.metrics.sample_scores import check_samples, sample_scores, score_pictures

__all__ = [
    "PARTS",
    "Bounds",
    "Classifier",
    "Scores",
    "check_samples",
    "classifier_for",
    "evaluate",
    "importance_bound",
    "sample_scores",
    "score_pictures",
    "write_evaluation",
]
