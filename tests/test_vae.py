from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import VAE, InputError, Param, networks, observations
from pyro_vae.data import levels

from .zoo import CASES, NAMES


def small(head: Any) -> VAE:
    return VAE((1, 28, 28), 2, head, networks.MLP(hidden=16))


@pytest.mark.parametrize("drawn", ["reconstructed", "sampled"])
@pytest.mark.parametrize("name", NAMES)
def test_pictures_lie_on_the_unit_interval(name: str, drawn: str, few: Tensor) -> None:
    vae = small(CASES[name]())
    picture = vae.reconstruct(few[:5]) if drawn == "reconstructed" else vae.sample(5)
    assert picture.shape == (5, 1, 28, 28)
    if vae.levels.eight_bit:  # counts and real numbers have no unit interval
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_pictures_of_the_interval_come_back_to_the_unit_interval(few: Tensor) -> None:
    wide = small(observations.get("normal", interval=(0.0, 255.0)))
    assert wide.decode(torch.zeros(2, 2)).mean.max() > 1
    assert 0 <= wide.reconstruct(few[:5]).min() <= wide.reconstruct(few[:5]).max() <= 1


def test_reconstructions_repeat(few: Tensor) -> None:
    vae = small("normal")
    assert torch.equal(vae.reconstruct(few[:3]), vae.reconstruct(few[:3]))


def test_the_encoder_sees_midpoints_and_the_observation_noise(few: Tensor) -> None:
    vae = small("normal")
    k = few[:3]
    assert torch.equal(vae.encode(k).mean, vae.encode((k.float() + 0.5) / 256).mean)
    x = vae.observe(k)
    assert not torch.equal(x, vae.observe(k))
    assert torch.equal((x * 256).floor(), k.float())
    assert 0 < x.min() < x.max() < 1


@pytest.mark.parametrize("u", [0.0, 0.99999994])
def test_noise_never_reaches_a_level_in_float32(u: float) -> None:
    dequantised = levels.get("dequantised")
    k = torch.tensor([0, 255], dtype=torch.uint8)
    x = dequantised.observe(k, torch.full((2,), u), (0.0, 1.0))
    assert torch.equal((x * 256).floor(), k.float())
    assert x[0] > 0
    assert x[1] < 1


def test_levels_by_hand() -> None:
    k = torch.tensor([0, 51, 255], dtype=torch.uint8)
    noise = torch.tensor([0.5, 0.1, 0.9])
    unit = (0.0, 1.0)
    observed = {name: entry.observe(k, noise, unit) for name, entry in levels.LEVELS.items()}
    assert torch.allclose(observed["dequantised"], torch.tensor([0.5, 51.1, 255.9]) / 256)
    assert observed["levels"].tolist() == [0, 51, 255]
    assert torch.allclose(observed["grey"], torch.tensor([0, 0.2, 1]))
    assert observed["binary"].tolist() == [0, 1, 1]
    assert observed["threshold"].tolist() == [0, 0, 1]
    assert observed["counts"].tolist() == [0, 51, 255]
    assert torch.allclose(levels.get("counts").seen(observed["counts"], unit), k.float().log1p())
    assert torch.allclose(levels.get("levels").seen(observed["levels"], unit), (k + 0.5) / 256)
    scaled = levels.get("dequantised").observe(k, noise, (-1.0, 1.0))
    assert torch.allclose(scaled, 2 * observed["dequantised"] - 1)
    assert torch.allclose(levels.get("dequantised").seen(scaled, (-1.0, 1.0)), (scaled + 1) / 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda vae: vae.encode(torch.zeros(3, 28, 28)), r"shape \(N, 1, 28, 28\)"),
        (lambda vae: vae.model(torch.zeros(3, 1, 28, 27)), r"got \(3, 1, 28, 27\)"),
        (
            lambda vae: vae.model(torch.zeros(3, 1, 28, 28), beta=-1.0),
            "beta must be finite and not",
        ),
        (lambda vae: vae.reconstruct(torch.zeros(1, 1, 28, 28), "means"), "did you mean 'mean'"),
        (lambda vae: small("beta").sample(2, "parameter"), "no parameter on the data's range"),
    ],
    ids=range(5),
)
def test_mistakes(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(small("normal"))


@pytest.mark.parametrize("scope", ["dimension", "dataset"])
def test_a_scale_from_the_data_is_their_standard_deviation(scope: str) -> None:
    x = torch.rand(400, 5) * torch.tensor([1.0, 0.5, 0.1, 1e-6, 0.8])
    head = observations.get("normal", scale=Param(scope, source="data"))
    vae = VAE((5,), 2, head)
    with pytest.raises(InputError, match=r"call vae\.estimate"):
        vae.model(x)
    vae.estimate(x)
    sigma = vae.decode(torch.zeros(1, 2)).base_dist.scale[0]
    variance = torch.from_numpy(x.numpy().astype("float64").var(0))
    expected = variance if scope == "dimension" else variance.mean().expand(5)
    floor = 1 / (256 * 12**0.5)
    assert torch.allclose(sigma.double(), expected.sqrt().clamp_min(floor), rtol=1e-4)
    vae.model(x)


@pytest.mark.parametrize(("scope", "axes"), [("batch", (0, 1)), ("image", (1,)), ("pixel", ())])
def test_an_optimal_scale_is_the_root_mean_square_error(scope: str, axes: tuple[int, ...]) -> None:
    x = torch.rand(6, 5)
    vae = VAE((5,), 2, observations.get("normal-optimal-sigma", scale=scope))
    z = torch.randn(6, 2)
    scored = vae.decode(z, x).base_dist
    squared = (x - scored.loc).square()
    expected = (squared.mean(axes, keepdim=True) if axes else squared).sqrt()
    assert torch.allclose(scored.scale, expected.expand(6, 5).clamp_min(0.01), rtol=1e-5)
    assert vae.decode(z).base_dist.scale.unique().numel() == 1


def test_the_gradient_under_an_optimal_scale_does_not_see_the_range() -> None:
    """Rescaling changes log σ* by a constant and its gradient not at all."""
    gradients = []
    for width in (1.0, 255.0):
        torch.manual_seed(0)
        head = observations.get("normal-optimal-sigma", interval=(0.0, width))
        vae = VAE((5,), 2, head, networks.MLP(hidden=8))
        x, z = width * torch.rand(6, 5), torch.randn(6, 2)
        vae.decode(z, x).log_prob(x).sum().backward()
        gradients.append(vae.decoder[-1].weight.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
