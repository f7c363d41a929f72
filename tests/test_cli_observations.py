"""Mistakes in naming an observation, its parameters and its range, and the pictures it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pyro_vae import VAE, networks, observations, save

Run = Callable[..., Result]
Words = tuple[object, ...]

MISTAKES: dict[str, tuple[Words, tuple[str, ...]]] = {
    "a word for a range": (("--range", "abc"), ("--range must be LOW,HIGH", "'abc'")),
    "three numbers for a range": (("--range", "0,1,2"), ("--range must be LOW,HIGH", "'0,1,2'")),
    "one number for a range": (("--range", "255"), ("--range must be LOW,HIGH",)),
    "a range upside down": (("--range", "1,0"), ("finite, low < high", "1,0")),
    "an empty range": (("--range", "1,1"), ("finite, low < high", "1,1")),
    "nan in a range": (("--range", "0,nan"), ("finite, low < high", "0,nan")),
    "an endless range": (("--range", "0,inf"), ("finite, low < high", "0,inf")),
    "a range for bernoulli": (
        ("--obs", "bernoulli", "--range", "0,255"),
        ("bernoulli lives on [0, 1]", "0,255"),
    ),
    "a range for continuous-bernoulli": (
        ("--obs", "continuous-bernoulli", "--range", "-1,1"),
        ("continuous-bernoulli lives on [0, 1]", "-1,1"),
    ),
    "a range for beta": (("--obs", "beta", "--range", "-1,1"), ("beta lives on [0, 1]",)),
    "sigma from data where there is none": (
        ("--obs", "beta", "--sigma", "from-data"),
        ("unknown beta parameter 'scale'", "concentration1"),
    ),
    "sigma from data per image": (
        ("--sigma", "from-data", "--sigma-per", "image"),
        ("scale of normal-learned-sigma", "dataset, dimension", "image"),
    ),
    "sigma from data per nothing known": (
        ("--sigma", "from-data", "--sigma-per", "dimensions"),
        ("unknown scope 'dimensions'", "did you mean 'dimension'"),
    ),
    "sigma nearly from data": (("--sigma", "fromdata"), ("--sigma", "from-data", "'fromdata'")),
    "an optimal sigma per dataset": (
        ("--obs", "normal-optimal-sigma", "--sigma-per", "dataset"),
        ("scale of normal-optimal-sigma", "batch, image, pixel", "dataset"),
    ),
    "a learned sigma per batch": (
        ("--obs", "normal-learned-sigma", "--sigma-per", "batch"),
        ("scale of normal-learned-sigma", "dataset, dimension, image, pixel", "batch"),
    ),
    "an unknown scope": (("--sigma-per", "pixels"), ("did you mean 'pixel'",)),
    "an unknown parameter": (("--param", "scales=1"), ("did you mean 'scale'", "'scales'")),
    "a parameter of another": (
        ("--obs", "bernoulli", "--param", "loc=1"),
        ("unknown bernoulli parameter 'loc'", "logits"),
    ),
    "an unknown scope of a parameter": (("--param", "loc=pixle"), ("did you mean 'pixel'",)),
    "a floor of 0": (("--param", "scale=pixel,floor=0"), ("floor must be positive", "0")),
    "a floor below 0": (("--param", "scale=pixel,floor=-1"), ("floor must be positive", "-1")),
    "a floor of nan": (("--param", "scale=pixel,floor=nan"), ("floor must be positive", "nan")),
    "a floor in words": (("--param", "scale=pixel,floor=low"), ("'low'",)),
    "an unknown field": (("--param", "scale=pixel,flor=1"), ("did you mean 'floor'",)),
    "an unknown link": (("--param", "loc=pixel,link=sigmoidal"), ("did you mean 'sigmoid'",)),
    "a scale that is no scale": (("--param", "scale=-1"), ("scale of normal-learned-sigma", "-1")),
}

OF_OBS: dict[str, tuple[Words, tuple[str, ...]]] = {
    "options without a name": (("--sigma", 1), ("--sigma needs the NAME",)),
    "a plot without a name": (("--plot", "a.png"), ("--plot needs the NAME",)),
    "a loss's name": (("mse",), ("did you mean 'normal-learned-sigma'",)),
    "an unknown name": (("beat", "--plot", "a.png"), ("did you mean 'beta'",)),
    "another format": (("beta", "--plot", "a.jpg"), ("--plot", ".png", "a.jpg")),
    "a missing folder": (("beta", "--plot", "no/a.png"), ("--plot", "no folder 'no'")),
    "a range of data not named": (
        ("normal", "--range", "standardised", "--plot", "a.png"),
        ("standardised", "LOW,HIGH"),
    ),
    "an unknown parameter": (
        ("beta", "--param", "scale=1", "--plot", "a.png"),
        ("concentration1",),
    ),
    "a scope that its source does not allow": (
        ("normal", "--sigma", "from-data", "--sigma-per", "pixel", "--plot", "a.png"),
        ("dataset, dimension",),
    ),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes_of_fit(mistake: Callable[..., str], case: str) -> None:
    words, expected = MISTAKES[case]
    said = mistake("fit", *words, "--epochs", 1)
    assert all(part in said for part in expected), said


@pytest.mark.parametrize("case", list(OF_OBS))
def test_mistakes_of_obs(mistake: Callable[..., str], case: str) -> None:
    words, expected = OF_OBS[case]
    said = mistake("obs", *words)
    assert all(part in said for part in expected), said


@pytest.fixture
def beta_run(tmp_path: Path) -> Path:
    """A run of an observation without a parameter on the data's range, not trained."""
    vae = VAE((1, 28, 28), 2, observations.get("beta"), networks.MLP(hidden=4))
    return Path(save(vae, tmp_path / "run", data={"name": "mnist-5k"}))


@pytest.mark.parametrize("command", ["reconstruct", "sample"])
def test_no_parameter_to_show(mistake: Callable[..., str], beta_run: Path, command: str) -> None:
    said = mistake(command, beta_run, "--kind", "parameter", "--out", "parameter.png")
    assert "beta has no parameter on the data's range" in said
    assert "mean, sample or mode" in said


@pytest.mark.parametrize("command", ["reconstruct", "sample"])
def test_pictures_are_png(mistake: Callable[..., str], beta_run: Path, command: str) -> None:
    assert "must end in .png" in mistake(command, beta_run, "--out", "picture.txt")
    assert "no folder 'no'" in mistake(command, beta_run, "--out", "no/picture.png")


def test_all_kinds_leaves_out_what_the_observation_lacks(
    cli: Run, beta_run: Path, tmp_path: Path
) -> None:
    result = cli("reconstruct", beta_run, "--kind", "all", "--out", "all.png", "--count", 4)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert "parameter left out: beta has no parameter" in result.stderr
    assert "mean left out" not in result.stderr
