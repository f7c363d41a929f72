from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import VAE, Head, InputError, Param, fit, load, networks, observations, save

from ..zoo import CASES, NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_observation_comes_back(name: str, few: Tensor, tmp_path: Path) -> None:
    vae = VAE((1, 28, 28), 2, CASES[name](), networks.MLP(hidden=8)).eval()
    with torch.no_grad():
        for parameter in vae.likelihood.parameters():
            parameter.add_(0.3)
    save(vae, tmp_path)
    again = load(tmp_path)
    z = torch.randn(3, 2)
    x = vae.observe(few[:3])
    assert torch.equal(again.decode(z).log_prob(x), vae.decode(z).log_prob(x))
    assert again.obs.levels == vae.obs.levels
    assert not again.training


def test_networks_and_changes_come_back(few: Tensor, tmp_path: Path) -> None:
    head = observations.get(
        "normal-learned-sigma",
        interval=(-1.0, 1.0),
        scale=Param("pixel", floor=0.2),
        loc=Param(link="identity"),
    )
    vae = VAE((1, 28, 28), 2, head, networks.Conv(hidden=8, depth=1, dropout=0.1)).eval()
    again = load(save(vae, tmp_path))
    assert again.net == {"name": "conv", "hidden": 8, "depth": 1, "dropout": 0.1}
    z = torch.randn(3, 2)
    assert torch.equal(again.decode(z).base_dist.scale, vae.decode(z).base_dist.scale)
    assert torch.equal(again.decode(z).base_dist.loc, vae.decode(z).base_dist.loc)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_a_run_as_far_as_the_umask_lets_them(few: Tensor, tmp_path: Path) -> None:
    """Weights too, which safetensors writes for their owner alone."""
    vae = VAE((1, 28, 28), 2, "bernoulli", networks.MLP(hidden=8))
    before = os.umask(0o027)
    try:
        fit(vae, few, epochs=2, checkpoint=1, out=tmp_path / "run")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    # The lock is empty, and older versions of filelock know no umask.
    files = [path for path in files if path.name != ".lock"]
    assert {path.name for path in files} >= {"model.safetensors", "config.json"}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {"0o640"}


def test_parts_of_the_users_own_must_be_brought_along(few: Tensor, tmp_path: Path) -> None:
    head = Head.of(dist.Laplace, "loc", "scale")
    net = networks.MLP(hidden=8)
    vae = VAE((1, 28, 28), 2, head, lambda sizes: net(sizes)).eval()
    save(vae, tmp_path)
    with pytest.raises(InputError, match="obs of your own: pass obs="):
        load(tmp_path, net=net)
    with pytest.raises(InputError, match="net of your own: pass net="):
        load(tmp_path, obs=head)
    again = load(tmp_path, obs=head, net=net)
    assert torch.equal(again.reconstruct(few[:3]), vae.reconstruct(few[:3]))


@pytest.fixture
def run(few: Tensor, tmp_path: Path) -> Path:
    fit(VAE((1, 28, 28), 2, net=networks.MLP(hidden=8)), few, epochs=1, out=tmp_path / "run")
    return tmp_path / "run"


def _newer(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "format": 99}))


def _other(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["vae"]["sites"][0]["dim"] = 5
    (run / "config.json").write_text(json.dumps(config))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda run: (run / "config.json").unlink(), "no finished run"),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), "no finished run"),
    "half a config": (lambda run: (run / "config.json").write_text('{"format": 1,'), "damaged"),
    "another config": (lambda run: (run / "config.json").write_text("[]"), "no configuration"),
    "no parts": (
        lambda run: (run / "config.json").write_text('{"format": 1, "vae": {}}'),
        "damaged",
    ),
    "half the weights": (lambda run: (run / "model.safetensors").write_bytes(b"abc"), "damaged"),
    "another model": (_other, "damaged or of another model"),
    "a newer format": (_newer, "format 99.*upgrade"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_run_is_told_in_one_line(run: Path, damage: str) -> None:
    spoil, words = DAMAGES[damage]
    spoil(run)
    with pytest.raises(InputError, match=words) as caught:
        load(run)
    assert "\n" not in str(caught.value)


def test_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run folder"):
        load(tmp_path / "nothing")


def test_a_run_is_not_overwritten_unasked(run: Path, few: Tensor) -> None:
    weights = (run / "model.safetensors").read_bytes()
    vae = VAE((1, 28, 28), 2, net=networks.MLP(hidden=8))
    with pytest.raises(InputError, match=r"holds a run already.*--overwrite"):
        fit(vae, few, epochs=1, out=run)
    assert (run / "model.safetensors").read_bytes() == weights
    fit(vae, few, epochs=1, out=run, overwrite=True)
    assert (run / "model.safetensors").read_bytes() != weights


def test_an_error_that_says_nothing_is_told_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(VAE((4,), 2, "normal", networks.MLP(hidden=4)), tmp_path / "run")

    def too_large(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pyro_vae.training.runs.VAE", too_large)
    with pytest.raises(InputError, match=r"config\.json describes no model: MemoryError$"):
        load(tmp_path / "run")
