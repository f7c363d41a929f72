"""Every score in one table: its unit, which way is better, its digits, what it stands beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["SCORES", "Score"]


@dataclass(frozen=True)
class Score:
    """What is known of a score wherever it is shown.

    Attributes:
        unit: In words.
        better: Whether a larger or a smaller one is better; None where neither is.
        digits: After the point.
        title: What stands above a column of them, with its unit.
        baselines: Names of the scores that it stands beside.
    """

    unit: str
    better: Literal["max", "min"] | None = None
    digits: int = 2
    title: str = ""
    baselines: tuple[str, ...] = ()

    def figure(self, value: float, per: str = "image") -> str:
        """The number and its unit; ``per`` is what a row of the data is.

        Example:
            >>> SCORES["bits_per_dim"].figure(1.5)
            '1.500 bits per dimension'
        """
        return f"{value:.{self.digits}f} {self.unit.replace('image', per)}"


_NATS, _BITS, _FEATURES = "nats per image", "bits per dimension", "squared, between features"
_SHARE, _UNIT = "share", "of the pictures' range [0, 1]"

SCORES: dict[str, Score] = {
    "elbo": Score(_NATS, "max", 2, "ELBO, nats per image", ("collapsed", "ppca.log_likelihood")),
    "objective": Score(_NATS, "max", 2, "Objective, nats per image", ("collapsed",)),
    "reconstruction": Score(_NATS, "max", 2, "Reconstruction, nats per image"),
    "kl": Score(_NATS, None, 2, "KL, nats per image"),
    "bound": Score(_NATS, "max", 2, "Importance-weighted bound, nats per image", ("collapsed",)),
    "collapsed": Score(_NATS, "max", 2, "Best constant prediction, nats per image"),
    "log_likelihood": Score(_NATS, "max", 2, "Probabilistic PCA, nats per image"),
    "elbo_standard_error": Score(_NATS),
    "standard_error": Score(_NATS),
    "loss": Score(_NATS, "min"),
    "bits_per_dim": Score(
        _BITS,
        "min",
        3,
        "Bits per dimension",
        ("collapsed_bits_per_dim", "ppca.bits_per_dim", "uniform_bits_per_dim"),
    ),
    "mass_bits_per_dim": Score(_BITS, "min", 3, "Bits per dimension by exact masses"),
    "collapsed_bits_per_dim": Score(_BITS, "min", 3),
    "uniform_bits_per_dim": Score(_BITS, "min", 3),
    "bits_per_dim_standard_error": Score(_BITS, None, 4),
    "k": Score("draws", None, 0),
    "pareto_shape": Score("k̂; weights say little above .7", "min"),
    "unreliable": Score(_SHARE, "min", 3),
    "effective_size": Score("draws", "max"),
    "active_units": Score("units", None, 0, "Active units"),
    "units": Score("units", None, 0),
    "kl_per_latent": Score(_NATS),
    "mutual_information": Score("nats", None, 2, "", ("mutual_information_ceiling",)),
    "mutual_information_ceiling": Score("nats"),
    "marginal_kl": Score("nats", "min"),
    "encoder_sigma": Score("of a latent's own unit", None, 3),
    "mse": Score("squared, per pixel", "min", 4, "Squared error per pixel", ("mse_mean_image",)),
    "mse_mean_image": Score("squared, per pixel", "min", 4),
    "mse_over_mean_image": Score("of the mean image's", "min", 3),
    "spread": Score("standard deviation over inputs", None, 4),
    "mae": Score("per pixel", "min", 4),
    "rmse": Score("of the column's own unit", "min", 4),
    "wrong": Score(_SHARE, "min", 4),
    "psnr": Score("decibels", "max"),
    "ssim": Score("of 1", "max", 4),
    "sharpness": Score("of the data's", None, 3),
    "dark": Score("share of pixels below .02", None, 4),
    "light": Score("share of pixels above .98", None, 4),
    "darkest": Score(_UNIT, None, 4),
    "lightest": Score(_UNIT, None, 4),
    "pit_distance": Score("of 1", "min", 3, "Calibration: distance from uniform"),
    "predicted": Score("standard deviation", None, 4, "", ("actual",)),
    "actual": Score("standard deviation", None, 4),
    "image_correlation": Score("correlation"),
    "beside": Score("correlation"),
    "below": Score("correlation"),
    "classifier_fid": Score(_FEATURES, "min", 3, "", ("classifier_fid_floor",)),
    "classifier_fid_infinite": Score(_FEATURES, "min", 3),
    "classifier_kid": Score(_FEATURES, "min", 5, "", ("classifier_kid_floor",)),
    "classifier_is": Score("classes", "max", 3, "", ("classifier_is_real",)),
    "right_class": Score("share of samples of the class asked for", "max", 4),
    "seconds": Score("seconds", "min"),
    "epochs": Score("epochs", None, 0),
    "images": Score("images", None, 0),
}
"""By the last part of a score's name."""


def score_of(name: str) -> Score | None:
    """What is known of a score, by its whole name, as ``iwae.bound``."""
    return SCORES.get(name.rpartition(".")[2])


def units_of(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The unit of each score that there is.

    Args:
        scores: What :func:`~pyro_vae.evaluate` gave, or a part of it.
        prefix: Of the names.

    Yields:
        Its name, with a dot before a nested one, and its unit.
    """
    for key, value in scores.items():
        if isinstance(value, Mapping):
            yield from units_of(value, f"{prefix}{key}.")
        elif isinstance(value, int | float | list) and not isinstance(value, bool):
            known = score_of(key)
            if known is not None:
                yield prefix + key, known.unit
