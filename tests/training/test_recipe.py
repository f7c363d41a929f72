"""Recipes: the options of fit as plain data."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyro_vae import InputError, load
from pyro_vae.training import RunConfig, read_config

TINY: dict[str, Any] = {"images": 64, "epochs": 1, "hidden": 8, "latent_dim": 2, "batch_size": 32}


def test_it_takes_every_option_of_the_command_line() -> None:
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    parameters = {p.name: p.default for p in point.load().commands["fit"].params}
    own = RunConfig().options
    assert parameters.keys() - own.keys() <= {"out", "overwrite", "resume", "as_json", "config"}
    for name in ("net", "latent_dim", "epochs", "lr", "beta", "elbo", "optimizer", "obs", "range"):
        assert own[name] == parameters[name], name


def test_numbers_may_stand_for_texts() -> None:
    recipes = [RunConfig.of(obs="normal", beta=beta, sigma=0.5) for beta in (1, 1.0, "1", "1.0")]
    assert len({recipe.fingerprint for recipe in recipes}) == 1
    assert recipes[0].options["beta"] == "1"


@pytest.mark.parametrize(
    "change",
    [{"beta": 2}, {"seed": 1}, {"obs": "bernoulli"}, {"hidden": 9}, {"images": 65}],
    ids=str,
)
def test_every_option_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert RunConfig.of(**TINY).fingerprint != RunConfig.of(**{**TINY, **change}).fingerprint


def test_the_content_of_a_data_file_counts(tmp_path: Path) -> None:
    marks = []
    for name, value in (("a.npy", 0), ("b.npy", 0), ("a.npy", 1)):
        np.save(tmp_path / name, np.full((20, 4), value, dtype=np.uint8))
        marks.append(RunConfig.of(data=str(tmp_path / name)).fingerprint)
    assert marks[0] == marks[1] != marks[2]


def test_a_run_leaves_a_folder_that_says_what_it_was(tmp_path: Path) -> None:
    recipe = RunConfig.of(**TINY, obs="bernoulli", seed=3)
    torch.manual_seed(1)
    wanted = torch.rand(2)
    torch.manual_seed(1)
    trained = recipe.run(tmp_path / "run")
    assert torch.equal(torch.rand(2), wanted)
    config = read_config(tmp_path / "run")
    assert config["fit"]["seed"] == 3
    assert config["data"]["images"] == len(trained.data.train) == len(trained.data.test) == 64
    kept = load(tmp_path / "run").state_dict()
    again = recipe.run().vae.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in again.items())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"latent_dims": 3}, "did you mean 'latent_dim'"),
    "text for an integer": ({"epochs": "3"}, "epochs must be an integer, got '3'"),
    "a float for an integer": ({"epochs": 3.0}, "epochs must be an integer, got 3.0"),
    "true for a number": ({"lr": True}, "lr must be a number, got True"),
    "a number for a flag": ({"download": 1}, "download must be true or false, got 1"),
    "a number for a text": ({"obs": 3}, "obs must be text, got 3"),
    "a list for a number": ({"beta": [1]}, r"beta must be a number or text, got \[1\]"),
    "a number for texts": ({"augment": 3}, "augment must be a list of texts, got 3"),
    "no images": ({"images": 0}, "images must be a positive integer, got 0"),
    "no latents": ({"latent_dim": 0}, "latent-dim must be a positive integer, got 0"),
    "a wrong network": ({"net": "cnn"}, "unknown network 'cnn'"),
    "a wrong schedule": ({"beta": "linaer:0,1,steps=3"}, "beta"),
    "a wrong scale": ({"sigma": 0}, "--sigma must be positive, got 0"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_options(case: str) -> None:
    options, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        RunConfig.of(**options)
    assert "\n" not in str(caught.value)
