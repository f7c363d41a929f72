"""Runs of former formats load, and compute what the versions that wrote them did.

``tests/fixtures/format_1.py`` says which versions, and made the runs with their code.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import (
    VAE,
    Head,
    InputError,
    Part,
    fit,
    load,
    networks,
    observations,
    posteriors,
    priors,
    save,
)
from pyro_vae.training import formats
from pyro_vae.training.checkpoints import Checkpoints
from pyro_vae.training.runs import read_config
from tests.fixtures import format_1

from .formats import FIXTURES, SECOND, contents

RUNS, RUNS_2 = (
    sorted(path.name for path in folder.iterdir() if path.is_dir()) for folder in (FIXTURES, SECOND)
)


def said(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.with_name(f"{run.name}.json").read_text())
    return found


@pytest.mark.parametrize(
    "run",
    [*(FIXTURES / name for name in RUNS), *(SECOND / name for name in RUNS_2)],
    ids=lambda run: f"{run.parent.name}-{run.name}",
)
def test_a_run_of_a_former_format_computes_what_it_did(run: Path) -> None:
    name, before = run.name, contents(run)
    assert before
    vae = load(run, **format_1.OWN.get(name, {})).double()
    wanted = {key: torch.tensor(value, dtype=torch.float64) for key, value in said(run).items()}
    given = {key: wanted[key] for key in ("covariates",) if key in wanted}
    x, z = wanted["x"], wanted["z"]
    with torch.no_grad():
        found: dict[str, Tensor] = {
            "code": vae.code(x, **given),
            "posterior": vae.encode(x, **given).log_prob(z),
            "prior": vae.prior().log_prob(z),
            "likelihood": vae.decode(z, x, **given).log_prob(x),
            "reconstruction": vae.reconstruct(x, **given),
        }
    assert wanted.keys() == {"x", "z", *given, *found}
    for key, value in found.items():
        assert value.shape == wanted[key].shape
        torch.testing.assert_close(value, wanted[key], rtol=1e-5, atol=1e-8, msg=f"{name}: {key}")
    assert contents(run) == before


def test_a_run_of_format_2_keeps_its_floors_when_it_is_written_again(tmp_path: Path) -> None:
    """0.001 per dimension, where nobody said one; a head of one's own keeps it by the folder."""
    assert [
        *("hierarchy", "mass-per-dimension", "own-head"),
        *("real-per-dimension", "sigma-per-dimension"),
    ] == RUNS_2
    own = format_1.OWN["own-head"]
    tight = torch.full((4,), -1e4)  # the floor is what is left of softplus
    for name, given in (("own-head", own), ("sigma-per-dimension", {})):
        vae = load(SECOND / name, **given)
        save(vae, tmp_path / name)
        assert json.loads((tmp_path / name / "config.json").read_text())["format"] == 3
        again = load(tmp_path / name, **given)
        for found in (vae, again):
            with torch.no_grad():
                found.likelihood.learned["scale"].copy_(tight)
                least = found.decode(torch.zeros(1, 2)).base_dist.scale
            torch.testing.assert_close(least, torch.full_like(least, 1e-3))
    save(VAE((4,), 2, own["obs"], networks.MLP(4)), tmp_path / "new")
    new = load(tmp_path / "new", **own)
    with torch.no_grad():
        new.likelihood.learned["scale"].copy_(tight)
        least = new.decode(torch.zeros(1, 2)).base_dist.scale
    torch.testing.assert_close(least, torch.full_like(least, 1e-2))


def test_there_is_a_run_of_everything() -> None:
    """Of what the versions that wrote format 1 had, whose names every later one has."""
    assert len(RUNS) == 56
    assert sorted(path.stem for path in FIXTURES.glob("*.json")) == RUNS
    configs = {name: read_config(FIXTURES / name) for name in RUNS}
    written = list(FIXTURES.glob("*/config.json"))
    assert len(written) == len(RUNS) - sum("unfinished" in name for name in RUNS)
    assert {json.loads(path.read_text())["format"] for path in written} == {1}
    assert all(config["format"] == 3 for config in configs.values())
    sites = [site for config in configs.values() for site in config["vae"]["sites"]]
    there = {
        part: {site[part]["name"] for site in sites if site.get(part)}
        for part in ("head", "prior", "posterior")
    }
    named = [name.removeprefix("obs-") for name in RUNS if name.startswith("obs-")]
    assert len(named) == 28
    assert there["head"] == {*named}
    assert there["prior"] >= {"standard-normal", "diagonal-normal", "mixture", "vamp", "flow"}
    assert there["posterior"] >= {"diagonal", "full", "iaf", "coupling"}
    nets = {(config["vae"]["net"] or {}).get("name") for config in configs.values()}
    assert nets >= {None, "mlp", "conv", "ladder"}
    assert any(config["vae"]["covariates"] for config in configs.values())
    assert any("ties" in config["vae"] for config in configs.values())


@pytest.mark.parametrize("name", ["unfinished", "unfinished-hierarchy"])
def test_a_run_of_format_1_goes_on(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(FIXTURES / name, run)
    vae = load(run)
    settings = read_config(run)["fit"]
    torch.manual_seed(0)
    data = format_1.data_of(vae)
    history = fit(vae, data, out=run, resume=True, **settings)
    assert [record["step"] for record in history.epochs()] == [3]
    assert json.loads((run / "config.json").read_text())["format"] == 3
    again = load(run)
    assert torch.equal(again.code(data), vae.code(data))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(format=4), "has format 4.*upgrade pyro_vae"),
        (lambda config: config["vae"].pop("obs"), "is damaged: vae has no obs"),
        (lambda config: config.pop("format"), "no configuration"),
    ],
)
def test_a_checkpoints_configuration_is_held_to_the_same(
    change: Callable[[dict[str, Any]], Any], words: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(FIXTURES / "unfinished", run)
    checkpoints = Checkpoints(run)
    found = checkpoints.latest()
    assert found is not None
    step, tree = found
    vae = load(run)
    change(tree["config"])
    checkpoints.write(step + 1, tree)
    before = contents(run)
    settings = tree["config"]["fit"]
    for read in (
        lambda: load(run),
        lambda: read_config(run),
        lambda: fit(vae, format_1.data_of(vae), out=run, resume=True, **settings),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert {name: contents(run)[name] for name in before} == before


def test_format_1_becomes_a_list_of_sites() -> None:
    """By hand, of a hierarchy; what is given stays as it is."""
    head = {"name": "normal", "levels": "dequantised", "parameters": {}}
    net = {"name": "ladder", "hidden": 4}
    config = {
        "format": 1,
        "vae": {
            "data_shape": [4],
            "latent_dim": [3, 2],
            "obs": head,
            "net": net,
            "prior": "vamp:2",
            "posterior": "full",
        },
        "data": {"name": "x"},
    }
    before = copy.deepcopy(config)
    found = formats.upgraded(config, "here")
    full = {"name": "full"}
    assert found == {
        "format": 3,
        "vae": {
            "sites": [
                {
                    "site": "latent.1",
                    "dim": 3,
                    "prior": {"name": "diagonal"},
                    "posterior": full,
                },
                {
                    "site": "latent.2",
                    "dim": 2,
                    "prior": {"name": "vamp", "components": 2},
                    "posterior": full,
                },
                {"site": "obs", "shape": [4], "head": head, "floor": 0.001},
            ],
            "net": net,
            "covariates": 0,
        },
        "data": {"name": "x"},
    }
    assert config == before
    assert formats.upgraded(found, "here") == found
    del config["vae"]["prior"], config["vae"]["posterior"]  # type: ignore[attr-defined]
    config["vae"]["latent_dim"] = 5  # type: ignore[index]
    (latent, _) = formats.upgraded(config, "here")["vae"]["sites"]
    assert latent == {
        "site": "latent",
        "dim": 5,
        "prior": {"name": "standard-normal"},
        "posterior": {"name": "diagonal"},
    }


def test_what_is_written_says_each_site(tmp_path: Path) -> None:
    net, prior, posterior = networks.Ladder(4), priors.DiagonalNormal(), posteriors.Full()
    vae = VAE((4,), (3, 2), "bernoulli", net, prior=prior, posterior=posterior)
    save(vae, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["format"] == 3
    full = {"name": "full"}
    assert config["vae"] == {
        "sites": [
            {
                "site": "latent.1",
                "dim": 3,
                "prior": {"name": "diagonal"},
                "posterior": full,
            },
            {
                "site": "latent.2",
                "dim": 2,
                "prior": {"name": "diagonal-normal"},
                "posterior": full,
            },
            {"site": "obs", "shape": [4], "head": observations.spec(observations.get("bernoulli"))},
        ],
        "net": {"name": "ladder", "hidden": 4, "depth": 1, "dropout": 0.0},
        "covariates": 0,
    }


OWN = Head.of(dist.Categorical, logits=(3,), levels="levels")
SHAPES = {"a": (1, 2, 2), "b": (3,), "c": (1,)}


def _two(x: Tensor) -> Tensor:
    return x.flatten(1).repeat(1, 2)


@torch.no_grad()
def outputs(vae: VAE) -> list[Tensor]:
    x = {"a": torch.full((2, 1, 2, 2), 0.25), "b": torch.full((2, 3), 1.5), "c": torch.ones(2, 1)}
    z = torch.tensor([[0.5, -1.0], [0.25, 2.0]])
    decoded = vae.decode(z, x)
    return [vae.code(x), *(decoded[key].log_prob(x[key]) for key in x)]


def test_several_observed_sites_come_back(tmp_path: Path) -> None:
    """A stock one, one that is changed, and one of which head and view are the user's own."""
    heads = {"a": "bernoulli", "b": observations.get("real-normal", scale=0.5)}
    vae = VAE({**SHAPES, "c": Part((1,), OWN, _two)}, 2, heads, networks.MLP(hidden=4)).eval()
    save(vae, tmp_path)
    sites = json.loads((tmp_path / "config.json").read_text())["vae"]["sites"]
    assert [site["site"] for site in sites] == ["latent", "obs.a", "obs.b", "obs.c"]
    assert [site.get("shape") for site in sites] == [None, [1, 2, 2], [3], [1]]
    assert sites[1]["head"]["name"] == "bernoulli"
    assert sites[2]["head"]["parameters"] == {"scale": {"scope": 0.5}}
    assert sites[3] == {"site": "obs.c", "shape": [1], "head": None, "seen": None}
    again = load(tmp_path, obs={"c": Part((1,), OWN, _two)})
    wanted = outputs(vae)
    assert len(wanted) == 4
    for found, there in zip(outputs(again), wanted, strict=True):
        assert torch.equal(found, there)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (None, "obs of your own: pass obs="),
        ({}, "obs of your own: pass obs="),
        ({"c": OWN}, "obs of your own: pass obs="),
        (OWN, "obs of your own: pass obs="),
        ({"c": Part((1,), OWN, _two), "e": OWN}, "same names; e is in one"),
    ],
    ids=["nothing", "none", "a head", "one head", "one too many"],
)
def test_what_is_ones_own_of_several_must_be_given(own: Any, words: str, tmp_path: Path) -> None:
    observed = {**SHAPES, "c": Part((1,), OWN, _two)}
    heads = {"a": "bernoulli", "b": observations.get("real-normal", scale=0.5)}
    save(VAE(observed, 2, heads, networks.MLP(hidden=4)), tmp_path)
    with pytest.raises(InputError, match=words):
        load(tmp_path, obs=own)


def test_several_stock_ones_need_nothing(tmp_path: Path) -> None:
    vae = VAE({"a": (1, 2, 2), "b": (3,)}, 2, "normal", networks.MLP(hidden=4)).eval()
    again = load(save(vae, tmp_path))
    assert again.data_shape == vae.data_shape == {"a": (1, 2, 2), "b": (3,)}
    assert again.obs == vae.obs
    x = {"a": torch.rand(5, 1, 2, 2), "b": torch.rand(5, 3)}
    assert torch.equal(again.code(x), vae.code(x))
