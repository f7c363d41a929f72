"""``pyro-vae evaluate --samples`` as users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import pyro_vae as pv
from pyro_vae import InputError, networks
from pyro_vae.data import Data, load
from pyro_vae.metrics import check_samples, classifier_for
from pyro_vae.metrics.fid import frechet_distance
from pyro_vae.metrics.sample_scores import draw


@pytest.fixture
def run_folder(digits: Data, tmp_path: Path) -> Path:
    """An untrained run, beside digits: too few for FID, without labels, and of another size."""
    images, labels, test, test_labels = (np.asarray(part) for part in digits)
    train = {"train": images[:256], "train_labels": labels[:256]}
    for name, n in (("own", 140), ("small", 129)):
        held_out = {"test": test[:n], "test_labels": test_labels[:n]}
        np.savez(tmp_path / f"{name}.npz", **train, **held_out)  # type: ignore[arg-type]
    np.savez(tmp_path / "plain.npz", train=images[:256], test=test)
    np.savez(tmp_path / "other.npz", train=images[:256, :, :20], test=test[:, :, :20])
    vae = pv.VAE((1, 28, 28), 3, net=networks.MLP(hidden=8))
    return pv.save(vae, tmp_path / "run", data={"name": str(tmp_path / "own.npz"), "root": None})


@pytest.mark.slow
def test_the_command_scores_samples(
    cli: Callable[..., Result], run_folder: Path, tmp_path: Path
) -> None:
    words = ("evaluate", run_folder, "--samples", 150, "--cache", "cache")
    scores = json.loads(cli(*words, "--kind", "mean", "--json").stdout)
    found, real = scores["samples"], load(str(tmp_path / "own.npz"))
    kept = json.loads((run_folder / "evaluation.json").read_text())
    del scores["units"]  # which are the same for all
    assert kept == scores | {"of": kept["of"]}
    assert (found["n"], found["n_real"], found["kind"]) == (150, len(real.test), "mean")
    judge = classifier_for(real, tmp_path / "cache")
    assert not judge.fresh
    assert found["classifier_sha256"] == judge.sha256
    pictures = draw(pv.load(run_folder), 150, "mean")
    expected = frechet_distance(judge.features(pictures), judge.features(real.test))
    assert found["classifier_fid"] == pytest.approx(expected, rel=1e-5)
    result = cli(*words, "--kind", "mean")
    assert "epoch" not in result.stderr
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    shown = [line for line in lines if line.startswith("classifier-")]
    assert [line.split()[0] for line in shown] == [
        "classifier-FID",
        "classifier-KID",
        "classifier-IS",
    ]
    assert f"{found['classifier_fid']:.3f} of 150 samples" in shown[0]
    assert f"{found['classifier_kid']:.5f} ± {found['classifier_kid_se']:.5f}" in shown[1]
    assert f"{judge.sha256[:10]} accuracy {judge.accuracy:.4f} on {judge.tested}" in result.stdout
    assert "at infinite n" in result.stdout
    assert f"real halves: {found['classifier_fid_floor']:.3f}" in result.stdout


SAMPLES = ("--cache", "cache", "--samples")
SAMPLE_MISTAKES = {
    "one sample": ((*SAMPLES, 1), "FID on 64 features needs at least 130 samples, got 1"),
    "few samples": ((*SAMPLES, 129), "at least 130 samples, got 129"),
    "few real images": (
        (*SAMPLES, 200, "--data", "small.npz"),
        "FID on 64 features needs at least 130 real images, got 129",
    ),
    "no classes": ((*SAMPLES, 200, "--data", "plain.npz"), "a classifier needs labels"),
    "another size": ((*SAMPLES, 200, "--data", "other.npz"), "images must have shape (N, *(1, 28"),
    "no such kind": ((*SAMPLES, 200, "--kind", "men"), "--kind"),
    "no particles": ((*SAMPLES, 200, "--iwae", 0), "iwae must be a positive integer"),
    "no size": ((*SAMPLES, 200, "--memory-budget", "x"), "memory-budget must be a size"),
}


@pytest.mark.parametrize("case", list(SAMPLE_MISTAKES))
def test_mistakes_about_samples(mistake: Callable[..., str], run_folder: Path, case: str) -> None:
    words, said = SAMPLE_MISTAKES[case]
    assert said in mistake("evaluate", run_folder, *words)


def test_samples_of_counts_and_of_a_kind_that_an_observation_lacks_are_refused(
    digits: Data,
) -> None:
    with pytest.raises(InputError, match=r"pictures on \[0, 1\], poisson is of counts"):
        check_samples(pv.VAE((1, 28, 28), 2, "poisson"), digits, 200)
    with pytest.raises(InputError, match="beta"):
        check_samples(pv.VAE((1, 28, 28), 2, "beta"), digits, 200, "parameter")
