"""What evaluations find: dicts, as ``evaluation.json`` keeps them, whose keys have types."""

from __future__ import annotations

from pyro_vae.history import SiteScores
from pyro_vae.metrics.score_table import SCORES
from pyro_vae.types import JSON, Result

__all__ = ["Scores"]


class Calibration(Result):
    """How well p(x|z) is calibrated, pixel by pixel. A residual is the normal quantile of its
    integral, (x − μ)/σ for a Normal.

    Attributes:
        images: How many were looked at.
        pit: Fractions of integrals in equal bins of [0, 1], all 1/20 if calibrated.
        pit_distance: The largest distance of their cdf from the uniform one.
        coverage: Pairs of a central interval's probability and the fraction of pixels in it.
        sigma: Predicted against actual error; None where there is no standard deviation.
        neighbours: The correlation of residuals with those ``beside`` and ``below``, and the whole
            ``map`` up to three pixels away; None for vectors.
    """

    images: int
    pit: list[float]
    pit_distance: float
    coverage: list[tuple[float, float]]
    sigma: JSON | None
    neighbours: JSON | None

    def __repr__(self) -> str:
        inside = ", ".join(f"{found:.1%} of {wanted:.0%}" for wanted, found in self.coverage)
        last = []
        if self.sigma is not None:
            last += [
                f"σ {self.sigma['predicted']:.4f} predicted, {self.sigma['actual']:.4f} actual"
            ]
        if self.neighbours is not None:
            last += ["residuals {beside:.2f} beside, {below:.2f} below".format(**self.neighbours)]
        return (
            f"Calibration on {self.images} images: {self.pit_distance:.3f} from uniform\n"
            f"  central intervals hold {inside}\n"
            f"  {'; '.join(last) or 'no standard deviation, no neighbours'}"
        )


class Scores(Result):
    """What :func:`~pyro_vae.evaluate` found. A score that means nothing here is None, and so is one
    that was not asked for, whose key is then missing.

    Attributes:
        kind: What the observation is on these images.
        few: A line where they are too few to judge by, else None.
        baselines_from: Which images the baselines are of, in words.
        images: Their number.
        elbo: Nats per image; None for a loss, where ``objective`` stands in its place.
        elbo_standard_error: Over images.
        lowest: The five images that have least of it.
        objective: Reconstruction − KL of a loss.
        reconstruction: Nats per image.
        kl: Nats per image.
        kl_per_latent: Nats.
        active_units: How many latents carry anything.
        sites: By name ``kl``, ``units`` and ``active_units`` of each latent site and
            ``reconstruction`` of each observed one.
        collapsed: The best constant prediction's ELBO.
        beats_collapsed: Whether ``elbo``, or ``objective``, is above it.
        bits_per_dim: On the data's own levels; where it is None ``no_bits`` says why.
        collapsed_bits_per_dim: The best constant prediction's.
        mass_bits_per_dim: Of a density by the exact mass of each level.
        uniform_bits_per_dim: Of one who knows nothing.
        no_bits: Why there are no bits.
        mse: Of the mean reconstruction, per pixel on [0, 1]; where it is None ``no_mean`` says why.
        mse_mean_image: The mean image's.
        no_mean: Why there is no mean.
        spread: The standard deviation of the mean reconstruction over images, averaged over pixels
            that vary by more than 0.05.
        frozen: For a scale that is a residual: ``elbo`` and ``bits_per_dim`` with the scale of the
            training data.
        iwae: ``k``, ``bound``, its ``standard_error`` over images, ``pareto_shape`` k̂ (the median
            over images; above .7 weights say little, Vehtari et al. 2024), ``unreliable`` (the
            share of images above that; both None below 25 particles), ``effective_size`` in
            particles, ``bits_per_dim`` with ``bits_per_dim_standard_error``, and
            ``mass_bits_per_dim``.
        ppca: Probabilistic PCA with as many latents: ``log_likelihood``, ``bits_per_dim`` and what
            it was ``fitted_to``.
        mutual_information: Of x and z, nats.
        mutual_information_ceiling: The log of the number of images.
        marginal_kl: Of the aggregate posterior to the prior, nats.
        encoder_sigma: The standard deviation of q(z|x), averaged.
        reconstructions: Errors by kind of reconstruction.
        calibration: Of p(x|z).
        parts: Of a VAE of several things the error of each, beside its ``constant``'s.
    """

    kind: str
    few: str | None
    baselines_from: str | None
    images: int
    elbo: float | None
    elbo_standard_error: float | None
    lowest: list[JSON]
    objective: float | None
    reconstruction: float
    kl: float
    kl_per_latent: list[float] | None
    active_units: int
    sites: dict[str, SiteScores]
    collapsed: float | None
    beats_collapsed: bool | None
    bits_per_dim: float | None
    collapsed_bits_per_dim: float | None
    mass_bits_per_dim: float | None
    uniform_bits_per_dim: float | None
    no_bits: str | None
    mse: float | None
    mse_mean_image: float | None
    no_mean: str | None
    spread: float | None
    frozen: JSON | None
    iwae: JSON | None
    ppca: JSON | None
    mutual_information: float | None
    mutual_information_ceiling: float | None
    marginal_kl: float | None
    encoder_sigma: float | None
    reconstructions: JSON | None
    calibration: Calibration | None
    parts: dict[str, JSON] | None

    def __repr__(self) -> str:
        name = "elbo" if self.objective is None else "objective"
        baseline = f" (best constant prediction {_short(self.collapsed)})"
        second = [f"reconstruction {_short(self.reconstruction)}", f"KL {_short(self.kl)}"]
        second += [f"{_short(self.active_units, 0)} active units"]
        if self.bits_per_dim is not None:
            second += [SCORES["bits_per_dim"].figure(self.bits_per_dim)]
        return (
            f"Scores on {self.images} images{', a ' + self.kind if self.kind else ''}\n"
            f"  {name} {_short(self.get(name))} {SCORES[name].unit}"
            f"{'' if self.collapsed is None else baseline}\n"
            f"  {', '.join(second)}"
        )


def _short(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
