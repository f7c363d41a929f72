"""Evaluation: scores of a trained model, each in its unit."""

from pyro_vae.evaluation.scores import evaluate

__all__ = ["evaluate"]
