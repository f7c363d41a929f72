"""Words that name the cure of data that do not suit, and ranges of floats."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from scipy.stats import norm

import pyro_vae as pv
from pyro_vae import InputError
from pyro_vae.config import ObservationConfig
from pyro_vae.observations import head_of

pytestmark = pytest.mark.usefixtures("no_pictures")

SMALL = ("--epochs", 1, "--hidden", 4, "--latent-dim", 1, "--out", "run")
G = np.random.default_rng(0)
CT = G.integers(-1024, 3072, (30, 5, 4)).astype(np.int16)
TWELVE = (G.integers(0, 256, (30, 5, 4)) * 16).astype(np.uint16)
CASES = {
    "hounsfield": (CT, "numbers in a unit of their own: --obs real-normal, or --range="),
    "sixteen bits": (TWELVE, "(x >> 4).astype(uint8) leaves "),
    "levels as floats": (G.integers(0, 256, (30, 5, 4)) * 1.0, "levels 0 to 255 passed as floats"),
    "minus one to one": (G.random((30, 5, 4)) * 2 - 1, "images scaled to -1..1"),
    "degrees": (G.normal(280, 12, (30, 5, 4)), "numbers in a unit of their own: --obs real-normal"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_cure_that_is_named_works(
    kind: str, mistake: Callable[..., str], cli: Callable[..., Result], tmp_path: Path
) -> None:
    x, words = CASES[kind]
    np.save(tmp_path / "a.npy", x)
    said = mistake("fit", "--data", "a.npy", *SMALL)
    assert words in said
    assert said.count("likeliest cause") == 1
    found = re.search(r"--range[ =]([-+.\de]+,[-+.\de]+)", said)
    assert found is not None
    low, high = map(float, found[1].split(","))
    assert low <= x.min()
    assert x.max() <= high
    for cure in (f"--range={found[1]}", "--obs real-normal", "--range standardised"):
        trained = cli("fit", "--data", "a.npy", *SMALL, *shlex.split(cure), "--overwrite")
        assert trained.exit_code == 0, trained.stderr
        scored = cli("evaluate", "run")
        assert scored.exit_code == 0, scored.stderr


def test_levels_that_are_left_of_sixteen_bits_are_counted(tmp_path: Path) -> None:
    vae = pv.VAE((1, 5, 4), 1, "bernoulli", pv.networks.MLP(hidden=4))
    with pytest.raises(InputError) as caught:
        pv.fit(vae, TWELVE, epochs=1)
    there = len(np.unique(TWELVE))
    left = len(np.unique(TWELVE >> 4))
    assert f"{there} different ones up to {TWELVE.max()}" in str(caught.value)
    assert f"leaves {left} of them" in str(caught.value)
    assert "with --obs normal-learned-sigma" in str(caught.value)  # a Bernoulli has no range


@pytest.mark.parametrize("text", ["-1024,3071", "standardised"])
def test_a_scale_of_floats_starts_in_units_of_the_range(text: str) -> None:
    x = torch.from_numpy(CT)[:, None].float()
    head = head_of(ObservationConfig(range=text), x)
    low, high = head.interval
    assert low <= float(x.min())
    assert high >= float(x.max())
    built = head.build((1, 5, 4))
    p = built(torch.zeros(1, built.numbers)).base_dist
    assert float(p.scale.detach().max()) == pytest.approx(np.log(2) * (high - low), rel=0.01)
    middle = (low + high) / 2
    assert torch.allclose(p.loc.detach(), torch.tensor(middle), rtol=1e-4)


def test_a_range_of_levels_leaves_the_scale_as_it_was() -> None:
    images = torch.zeros(3, 1, 5, 4, dtype=torch.uint8)
    assert head_of(ObservationConfig(range="0,255"), images).unit == 1.0
    assert head_of(ObservationConfig(), images.float()).unit == 1.0
    assert head_of(ObservationConfig(range="0,255", scale_with_range=True), images).unit == 255.0


def test_standardised_reals_are_scored_in_their_own_unit(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    x = G.normal(5000.0, 30.0, (60, 3))
    np.save(tmp_path / "a.npy", x)
    trained = cli("fit", "--data", "a.npy", "--obs", "real-normal", "--range=standardised", *SMALL)
    assert trained.exit_code == 0, trained.stderr
    data = pv.data.load(str(tmp_path / "a.npy"))
    train = data.train.double().numpy()
    vae = pv.load(tmp_path / "run")
    mean, deviation = train.mean(), train.std()
    assert vae.obs.interval == pytest.approx((mean, mean + deviation), rel=1e-5)
    with torch.no_grad():
        p = vae.decode(vae.code(data.test))
        found = p.log_prob(data.test).double().numpy()
    loc, scale = p.base_dist.loc.double().numpy(), p.base_dist.scale.double().numpy()
    rows = data.test.double().numpy()
    standard = norm.logpdf((rows - mean) / deviation, (loc - mean) / deviation, scale / deviation)
    assert found == pytest.approx((standard - np.log(deviation)).sum(1), abs=1e-2)
    assert np.abs((loc - mean) / deviation).max() < 5


def test_a_range_that_means_nothing_is_refused(mistake: Callable[..., str], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((30, 3), 7.0))
    said = mistake(
        "fit", "--data", "a.npy", "--obs", "real-normal", "--range", "standardised", *SMALL
    )
    assert "all values are 7" in said
    np.save(tmp_path / "b.npy", G.random((30, 3)))
    said = mistake(
        "fit", "--data", "b.npy", "--obs", "bernoulli", "--range", "standardised", *SMALL
    )
    assert "--range standardised of floats suits real-normal" in said


def test_json_of_a_range_is_kept(cli: Callable[..., Result], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CT)
    assert cli("fit", "--data", "a.npy", "--range=-1024,3071", *SMALL).exit_code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["range"] == "-1024,3071"
    assert pv.load(tmp_path / "run").obs.unit == 4095.0
