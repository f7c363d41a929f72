from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyro_vae import VAE, Head, InputError, fit, networks

SIZES = networks.Sizes((1, 28, 28), 40, 20, 784, 1)


def test_the_default_mlp_is_784_400_20() -> None:
    encoder, decoder = networks.MLP()(SIZES)
    widths = [tuple(m.weight.shape) for m in (*encoder, *decoder) if isinstance(m, nn.Linear)]
    assert widths == [(400, 784), (40, 400), (400, 20), (785, 400)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (2, 31, 8), (1, 28, 28), (3, 33, 64)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_conv_makes_any_image(shape: tuple[int, ...], depth: int) -> None:
    head = Head.of(dist.StudentT, "loc", "scale", df="image")
    vae = VAE(shape, 4, head, networks.Conv(hidden=8, depth=depth))
    x = torch.rand(2, *shape)
    assert vae.encode(x).batch_shape == (2,)
    assert vae.decode(torch.zeros(3, 2, 4)).event_shape == shape


def test_depth_and_dropout_add_layers() -> None:
    encoder, _ = networks.MLP(hidden=8, depth=3, dropout=0.2)(SIZES)
    kinds = [type(m).__name__ for m in encoder]
    assert kinds.count("Linear") == 4
    assert kinds.count("Dropout") == 3


@pytest.mark.parametrize("given", ["modules", "function"])
def test_networks_of_the_users_own(given: str, few: torch.Tensor) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 6))
    decoder = nn.Sequential(nn.Linear(3, 785), nn.Unflatten(1, (5, 157)))
    own = (encoder, decoder)
    vae = VAE((1, 28, 28), 3, net=own if given == "modules" else lambda sizes: own)
    history = fit(vae, few, epochs=2)
    assert history.epochs()[1]["elbo"] > history.epochs()[0]["elbo"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VAE((1, 28, 28), net="cnn"), "did you mean 'conv'"),
        (lambda: VAE((1, 7, 28), net="conv"), "at least 8"),
        (lambda: VAE((784,), net="conv"), "images"),
        (lambda: networks.MLP(hidden=0)(SIZES), "hidden must be a positive integer"),
        (lambda: networks.MLP(depth=0)(SIZES), "depth"),
        (lambda: networks.MLP(dropout=1.0)(SIZES), "dropout"),
        (lambda: VAE((1, 28, 28), 0), "latent-dim must be a positive integer, got 0"),
        (lambda: VAE((28, 28)), "data-shape"),
        (lambda: VAE((1, 28, 28), net=(nn.Identity(),)), "pair"),
        (lambda: VAE((1, 28, 28), obs=3), "obs must be"),
        (
            lambda: VAE(
                (1, 8, 8), 2, Head.of(dist.MultivariateNormal, loc=(8,), scale_tril=(8, 8)), "conv"
            ),
            "event of shape",
        ),
    ],
    ids=range(11),
)
def test_mistakes(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_an_encoder_of_another_width_is_refused() -> None:
    vae = VAE((4,), 2, net=(nn.Linear(4, 5), nn.Linear(2, 5)))
    with pytest.raises(InputError, match="needs 4 raw numbers"):
        vae.encode(torch.zeros(1, 4))
