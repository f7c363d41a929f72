"""Anomalies: how unlikely, and how untypical, an image is under a trained model."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pyro_vae.checks import check_images
from pyro_vae.data import as_images
from pyro_vae.data.batch import Given
from pyro_vae.elbo import held_out_terms
from pyro_vae.metrics import importance_bound
from pyro_vae.vae import VAE

__all__ = ["Anomaly", "anomaly"]


class Anomaly(NamedTuple):
    """Scores per image in nats, float64 (N,); higher is more anomalous.

    Attributes:
        bound: The negative bound on log p(x).
        typicality: How far the bound is from its mean over the reference images, on either side.
        reference: The bound's mean over the reference images, nats per image.
    """

    bound: Tensor
    typicality: Tensor
    reference: float


def anomaly(vae: VAE, images: Given, reference: Given, iwae: int | None = None) -> Anomaly:
    r"""Score how anomalous images are, by a bound on log p(x) and by typicality.

    .. math:: s_\mathrm{bound}(x) = -\mathcal L(x), \qquad
       s_\mathrm{typical}(x) = |\mathcal L(x) - \bar{\mathcal L}|

    where the mean is over the reference images. Typicality is the test of Nalisnick et al. (2019)
    for single images: under many models images that are simpler than the data have a higher
    density than any of them, and only lie off the set that the model's draws fall in. Where the
    observation is a loss on these images the bound is the loss's.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
        reference: Images of the kind that the model was trained on, best held out from training.
        iwae: Particles of the importance-weighted bound (Burda et al. 2016); None takes the ELBO.

    Raises:
        InputError: If images have another shape than the model's or do not suit the observation,
            or ``iwae`` is no positive integer.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> digits = pv.data.load("mnist-5k")
        >>> scores = anomaly(vae, 255 - digits.test[:20], digits.test[20:40])
        >>> scores.bound.shape, bool((scores.typicality >= 0).all())
        (torch.Size([20]), True)
    """
    found, normal = (_bounds(vae, part, iwae) for part in (images, reference))
    mean = normal.mean()
    return Anomaly(-found, (found - mean).abs(), float(mean))


def _bounds(vae: VAE, images: Given, iwae: int | None) -> Tensor:
    checked = as_images(images, vae.data_shape)
    check_images(vae, checked)
    if iwae is not None:
        return importance_bound(vae, checked, iwae).observed
    terms = held_out_terms(vae, checked)
    return (terms.reconstruction.double() - terms.kl.double()).cpu()
