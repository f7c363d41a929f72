"""Observations from outside the table: other Pyro distributions, packages, and a user's module."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from click.testing import Result
from torch import Tensor
from torch.distributions.transforms import SigmoidTransform

from pyro_vae import VAE, Head, InputError, Param, fit, observations
from pyro_vae.distributions import LogitNormal
from pyro_vae.testing import check_head

from .zoo import CASES, NAMES

Run = Callable[..., Result]


def _two_normals(logits: Tensor, loc: Tensor, scale: Tensor) -> Any:
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(loc, scale))


def _squashed(loc: Tensor, scale: Tensor) -> Any:
    return dist.TransformedDistribution(dist.Normal(loc, scale), [SigmoidTransform()])


_real = Param(link="identity")
FOREIGN: dict[str, tuple[Callable[[], Head], tuple[int, ...]]] = {
    "gumbel": (lambda: Head.of(dist.Gumbel, "loc", scale="dataset"), (16,)),
    "asymmetric-laplace": (
        lambda: Head.of(dist.AsymmetricLaplace, "loc", "scale", asymmetry="dataset"),
        (16,),
    ),
    "soft-laplace": (lambda: Head.of(dist.SoftLaplace, "loc", scale="image"), (1, 4, 4)),
    "multivariate-normal": (
        lambda: Head.of(dist.MultivariateNormal, loc=Param(shape=(4,)), scale_tril=(4, 4)),
        (1, 4, 4),
    ),
    "low-rank-normal": (
        lambda: Head.of(
            dist.LowRankMultivariateNormal,
            loc=Param(shape=(4,)),
            cov_factor=Param("dataset", (4, 2)),
            cov_diag=Param("dataset", (4,)),
        ),
        (1, 4, 4),
    ),
    "mixture-of-normals": (
        lambda: Head.of(
            _two_normals,
            logits=Param(shape=(2,), link="identity"),
            loc=Param(shape=(2,), link="identity"),
            scale=Param(shape=(2,), link="softplus"),
        ),
        (16,),
    ),
    "transformed": (
        lambda: Head.of(
            _squashed, loc=_real, scale=Param(link="softplus"), display=lambda p: p.sample()
        ),
        (16,),
    ),
    "zero-inflated-poisson": (
        lambda: Head.of(
            dist.ZeroInflatedPoisson,
            rate=Param(link="softplus"),
            gate_logits=Param(link="identity"),
            levels="counts",
            kind="mass",
        ),
        (16,),
    ),
    "geometric": (lambda: Head.of(dist.Geometric, "logits", levels="counts"), (16,)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_pyro_distributions_train_unmodified(name: str) -> None:
    make, shape = FOREIGN[name]
    head = make()
    generator = torch.Generator().manual_seed(0)
    z = torch.rand(512, 1, generator=generator)
    data = (z * torch.linspace(0.2, 0.8, 16) + 0.1 * torch.rand(512, 16, generator=generator)) * 250
    images = data.to(torch.uint8).reshape(512, *shape)
    vae = VAE(shape, 2, head)
    steps = fit(vae, images, epochs=12, lr=3e-3).steps
    first, last = (np.mean([r["loss"] for r in part]) for part in (steps[:4], steps[-4:]))
    assert last < first
    assert vae.reconstruct(images[:2]).shape == (2, *shape)


def test_there_are_eight_of_them() -> None:
    assert len(FOREIGN) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_every_stock_observation_keeps_the_contract(name: str) -> None:
    head = CASES[name]()
    checked = check_head(head)
    loss = head.kind_on(torch.tensor([0.3])) == "loss"
    assert ("normalisation" in checked) == (not loss)
    assert len(checked) == 9 - loss


class _Unnormalised(dist.Normal):  # type: ignore[misc]
    def log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * ((value - self.loc) / self.scale) ** 2


class _Outside(dist.Beta):  # type: ignore[misc]
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return super().sample(sample_shape) + 1


class _Rounded(LogitNormal):
    """At small raw output no draw of it is ever 1."""

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return (self.loc + self.scale * torch.randn(shape)).sigmoid()


def _unpicklable() -> Head:
    return Head.of(dist.Normal, loc=Param(link=lambda raw: raw), scale=0.5)


BROKEN = {
    "unnormalised": (lambda: Head.of(_Unnormalised, "loc", scale=0.5), "normalisation"),
    "outside": (
        lambda: Head.of(_Outside, concentration1="image", concentration0="image"),
        "samples",
    ),
    "draws an end": (
        lambda: Head.of(_Rounded, loc=_real, scale=0.5, display=lambda p: p.sample()),
        "samples",
    ),
    "overflows": (lambda: Head.of(dist.Normal, "loc", scale=Param(link="exp")), "finite"),
    "wrong display": (
        lambda: Head.of(dist.Normal, "loc", scale=0.5, display=lambda p: p.mean[..., :1]),
        "display",
    ),
    "unpicklable": (_unpicklable, "pickle"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_check_head_names_the_part_that_fails(name: str) -> None:
    make, part = BROKEN[name]
    with pytest.raises(InputError, match=f"fails check_head at {part}: ") as caught:
        check_head(make())
    assert "\n" not in str(caught.value)


def test_check_head_leaves_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    check_head(observations.get("beta"))
    assert torch.equal(torch.random.get_rng_state(), before)


MODULE = """
import pyro.distributions as dist
from pyro_vae import Head, Param
head = Head.of(dist.Laplace, "loc", scale="image")
broken = Head.of(dist.Normal, "loc", scale=Param(link="exp"))
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's own in the working directory."""
    (tmp_path / "my_heads.py").write_text(MODULE)
    (tmp_path / "ill.py").write_text("1/0\n")
    monkeypatch.delitem(sys.modules, "my_heads", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_a_head_by_its_path_trains_and_is_brought_along(module: Path, cli: Run) -> None:
    words = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--out", "run")
    result = cli("fit", "--obs", "my_heads:head", *words)
    assert result.exit_code == 0, result.output
    assert "made with obs of your own" in cli("evaluate", "run").stderr
    result = cli("evaluate", "run", "--obs", "my_heads:head")
    assert result.exit_code == 0, result.output
    assert "nats per image" in result.stdout


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("my_heads:haed", "no attribute 'haed'"),
        ("my_headz:head", "does not import: ModuleNotFoundError"),
        ("my_heads:number", "is of type int: it must be a pyro_vae.Head"),
        ("my_heads:broken", "fails check_head at finite"),
        ("ill:head", "does not import: ZeroDivisionError"),
        ("my_heads:", "must read package.module:attribute"),
        (":head", "must read package.module:attribute"),
    ],
    ids=str,
)
def test_paths_that_are_no_heads(
    module: Path, mistake: Callable[..., str], path: str, words: str
) -> None:
    assert words in mistake("fit", "--obs", path)


RNG = np.random.default_rng(0)
ROWS = {
    "counts": RNG.poisson(40, (50, 4)),
    "unit": RNG.random((50, 4)),
    "wide": np.append(RNG.integers(0, 299, (49, 4)), [[299] * 4], 0),
}


@pytest.mark.parametrize(
    ("obs", "rows", "words"),
    [
        *(
            (obs, "counts", "[0, 1]")
            for obs in ("bernoulli", "beta", "continuous-bernoulli", "normal")
        ),
        *((obs, "unit", "0, 1, 2, ...") for obs in ("poisson", "negative-binomial")),
        *(
            (obs, "wide", "0, 1, ..., 255, got values from ")
            for obs in ("categorical", "discretized-logistic", "binomial")
        ),
    ],
    ids=lambda value: value.partition(" ")[0].strip("[,"),
)
def test_counts_and_unit_intervals_are_told_apart(
    obs: str, rows: str, words: str, tmp_path: Path, mistake: Callable[..., str]
) -> None:
    np.save(tmp_path / "a.npy", ROWS[rows])
    said = mistake("fit", "--obs", obs, "--data", "a.npy")
    assert f"{obs} wants data in {words}" in said
    assert ("to 299; " in said) == (rows == "wide")


def test_counts_train_from_a_file(tmp_path: Path, cli: Run) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "counts.npy", rng.poisson(rng.gamma(2, 200, (400, 1)), (400, 6)))
    words = ("--epochs", 3, "--hidden", 16, "--latent-dim", 2, "--out", "run")
    elbo = {}
    for obs in ("poisson", "negative-binomial", "real-normal", "real-student-t"):
        result = cli("fit", "--obs", obs, "--data", "counts.npy", *words, "--overwrite")
        assert result.exit_code == 0, result.output
        scores = json.loads(cli("evaluate", "run", "--json").stdout)
        assert scores["images"] == 40
        elbo[obs] = scores["elbo"]
    # After a few steps: the counts vary by half of their mean, of which a Poisson knows nothing.
    assert elbo["poisson"] < elbo["negative-binomial"] - 100


SETUP = """
[metadata]
name = tiny-heads
version = 0.1
[options]
py_modules = tiny_heads
[options.entry_points]
pyro_vae.observations =
    tiny-laplace = tiny_heads:head
    tiny-number = tiny_heads:number
"""


@pytest.mark.slow
def test_a_head_of_another_installed_package(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "tiny_heads.py").write_text(MODULE)
    (source / "setup.cfg").write_text(SETUP)
    (source / "setup.py").write_text("import setuptools\nsetuptools.setup()\n")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    run = partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path)
    installed = run([*pip, "--target", str(site), str(source)])
    assert installed.returncode == 0, installed.stderr
    command = f"import sys; sys.path.insert(0, {str(site)!r}); " + (
        "from pyro_vae_cli.main import main; main()"
    )

    def pyro_vae(*words: str) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, "-c", command, *words])

    assert "tiny-laplace" in pyro_vae("obs").stdout
    words = ("--epochs", "1", "--hidden", "8", "--latent-dim", "2", "--out", "run")
    trained = pyro_vae("fit", "--obs", "tiny-laplace", *words)
    assert trained.returncode == 0, trained.stderr
    assert "tiny-laplace" in pyro_vae("evaluate", "run").stdout
    refused = pyro_vae("fit", "--obs", "tiny-number")
    assert refused.returncode == 2
    assert "must be a pyro_vae.Head" in refused.stderr
