from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn

from pyro_vae import VAE, InputError, evaluate, fit, networks, observations, save
from pyro_vae.metrics import write_evaluation

from ..zoo import CASES
from .models import Linear

pytestmark = pytest.mark.usefixtures("pictures")


def _images(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    entry = observations.TABLE[CASES[name]().title]
    if entry.group == "counts":
        return torch.poisson(torch.full((30, 6), 4.0), generator=generator)
    if entry.group == "real":
        return torch.randn(30, 6, generator=generator)
    return torch.randint(0, 256, (30, 1, 12, 12), dtype=torch.uint8, generator=generator)


NAMES = [
    *("bernoulli", "bernoulli-binary", "continuous-bernoulli", "normal-per-image", "cauchy"),
    *("normal-optimal-batch", "normal-optimal-image", "discretized-logistic", "binomial"),
    *("poisson", "negative-binomial", "real-normal", "real-student-t"),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_observation(name: str, tmp_path: Path) -> None:
    images = _images(name)
    vae = VAE(tuple(images.shape[1:]), 2, CASES[name](), networks.MLP(hidden=8)).eval()
    scores = evaluate(vae, images, iwae=3)
    files = write_evaluation(vae, images, scores, tmp_path, np.arange(30) % 3)
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert kept.pop("of").keys() == {"weights", "images"}
    assert kept == json.loads(json.dumps(scores))
    json.dumps(scores, allow_nan=False)
    pictures = {path.name for path in files if path.suffix == ".png"}
    expected = {"latents.png"}
    expected |= {"calibration.png"} if scores["calibration"] else set()
    if vae.levels.eight_bit:
        expected |= {"traversals.png", "interpolations.png", "kinds.png"}
    assert pictures == expected
    there = pictures | {"evaluation.json", "manifest.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == there
    likelihood, bits = scores["kind"] != "loss", scores["bits_per_dim"]
    assert (scores["iwae"] is not None) == likelihood
    assert (scores["ppca"] is not None) == likelihood
    assert (bits is None) == (scores["no_bits"] is not None)
    assert (bits is not None) == (likelihood and not name.startswith("real"))


def test_scores_are_the_same_from_call_to_call(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2, net=networks.MLP(hidden=8))
    first = evaluate(vae, few[:60], iwae=4)
    torch.randn(7)
    assert evaluate(vae, few[:60], iwae=4) == first
    assert vae.training


def test_scores_do_not_depend_on_the_memory_budget(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2, net=networks.MLP(hidden=8))
    small, large = (
        evaluate(vae, few[:60], iwae=4, memory_budget=budget) for budget in ("1MB", "1GB")
    )
    found, wanted = dict(leaves(small)), dict(leaves(large))
    assert {"elbo", "kl_per_latent 1", "iwae bound", "iwae bits_per_dim_standard_error"} < set(
        found
    )
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        # One pixel of 47,040 may fall on the other side of a bound.
        close = pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value
        assert found[name] == close, name


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and words of nested scores, each with its way there."""
    if isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, f"{name} {key}".strip())
    else:
        yield name, value


class Few(nn.Module):
    """A network that takes a few rows at a time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat([self.network(part) for part in rows.split(7)])


def test_scores_do_not_depend_on_how_many_images_a_network_takes_at_once(few: Tensor) -> None:
    linear: tuple[nn.Module, nn.Module] = (
        nn.Sequential(nn.Flatten(), nn.Linear(784, 4)),
        nn.Linear(2, 785),
    )
    whole, parts = (
        evaluate(VAE((1, 28, 28), 2, "normal-learned-sigma", nets), few[:60], iwae=4)
        for nets in (linear, (Few(linear[0]), Few(linear[1])))
    )
    compared = [key for key, value in whole.items() if isinstance(value, float)]
    assert {"elbo", "kl", "bits_per_dim", "mutual_information", "mse"} <= set(compared)
    for key in compared:
        assert parts[key] == pytest.approx(whole[key], rel=1e-5, abs=1e-6), key
    for key in ("bound", "standard_error", "mass_bits_per_dim"):
        assert parts["iwae"][key] == pytest.approx(whole["iwae"][key], rel=1e-5), key


def test_of_a_linear_gaussian_model_every_likelihood_is_the_evidence() -> None:
    model = Linear.random(6, 2, 0.5)
    x, train = model.draw(400, (6,)), model.draw(5000, (6,), seed=1)
    scores = evaluate(model.vae((6,)), x, train=train, iwae=20)
    true = model.log_evidence(x.numpy())
    assert scores["iwae"]["bound"] == pytest.approx(true.mean(), rel=1e-5)
    assert scores["iwae"]["standard_error"] == pytest.approx(true.std(ddof=1) / 20, rel=1e-4)
    # One latent an image, so within four standard errors of a reconstruction's noise.
    noise = 4 * np.sqrt(3 * len(model.bias) / len(x))
    assert scores["elbo"] == pytest.approx(true.mean(), abs=noise)
    assert scores["ppca"]["log_likelihood"] == pytest.approx(true.mean(), abs=0.05)
    assert scores["ppca"]["fitted_to"] == "the training images"
    assert scores["beats_collapsed"]


def test_an_untrained_model_beats_nothing(few: Tensor) -> None:
    scores = evaluate(VAE((1, 28, 28), 2, net=networks.MLP(hidden=8)), few[:60], parts=())
    assert not scores["beats_collapsed"]
    assert scores["uniform_bits_per_dim"] == 8


@pytest.mark.slow
def test_a_trained_model_gains_from_particles(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 5, net=networks.MLP(hidden=32))
    fit(vae, few, epochs=15, lr=3e-3)
    bounds = [evaluate(vae, few[:100], iwae=k, parts=())["iwae"]["bound"] for k in (1, 5, 50)]
    assert bounds == sorted(bounds)


def test_unknown_parts_and_wrong_labels(few: Tensor, tmp_path: Path) -> None:
    vae = VAE((1, 28, 28), 2, net=networks.MLP(hidden=8)).eval()
    with pytest.raises(InputError, match="did you mean 'latents'"):
        evaluate(vae, few[:20], parts=("latent",))
    with pytest.raises(InputError, match=r"one for each of 20 images, got \(3,\)"):
        write_evaluation(vae, few[:20], {}, tmp_path, [1, 2, 3])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run_folder(digits: object, few: Tensor, tmp_path: Path) -> Path:
    np.save(tmp_path / "few.npy", few[:200].numpy())
    np.save(tmp_path / "other.npy", few[:200, :, :20].numpy())
    vae = VAE((1, 28, 28), 3, net=networks.MLP(hidden=8))
    return save(vae, tmp_path / "run", data={"name": str(tmp_path / "few.npy"), "root": None})


def test_the_command(cli: Callable[..., Result], run_folder: Path) -> None:
    result = cli("evaluate", run_folder, "--iwae", 3, "--memory-budget", "64MB", "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    kept = json.loads((run_folder / "evaluation.json").read_text())
    del scores["units"]  # which are the same for all
    assert kept == scores | {"of": kept["of"]}
    assert scores["iwae"]["k"] == 3
    printed = cli("evaluate", run_folder, "--iwae", 3).stdout
    bound = f"{scores['iwae']['bound']:.2f} nats per image"
    assert any("K = 3" in line and bound in line for line in printed.splitlines())
    assert f"± {scores['iwae']['standard_error']:.2f}" in printed
    assert "NOT BEATEN" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


MISTAKES = {
    "no particles": (("--iwae", 0), "iwae must be a positive integer"),
    "a word of particles": (("--iwae", "many"), "--iwae"),
    "no size": (("--memory-budget", "lots"), "memory-budget must be a size such as 512MB"),
    "another shape": (("--data", "other.npy"), "images must have shape (N, *(1, 28, 28))"),
    "no labels": (("--labels",), "--labels needs labels"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes(mistake: Callable[..., str], run_folder: Path, case: str) -> None:
    words, said = MISTAKES[case]
    assert said in mistake("evaluate", run_folder, *words)
