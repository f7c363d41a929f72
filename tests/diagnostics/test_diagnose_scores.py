"""What a verdict reads of scores, the commands that mend, and the file that keeps a diagnosis."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.decomposition import PCA
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.diagnostics.causes import causes_of
from pyro_vae.diagnostics.evidence import Evidence, evidence_of
from pyro_vae.diagnostics.kept import DIAGNOSIS, keep_diagnosis, kept_diagnosis
from pyro_vae.diagnostics.mends import command_of
from pyro_vae.diagnostics.situations import Situation

from .runs import SHAPE


def _rows(count: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    plane = np.random.default_rng(0).normal(size=(2, 6))
    return (draw.normal(size=(count, 2)) @ plane + 0.3 * draw.normal(size=(count, 6))).astype(
        np.float32
    )


def _pair(width: int, latents: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Linear(width, 2 * latents), nn.Linear(latents, width)


def test_baselines_are_those_of_scikit_learn_and_scipy() -> None:
    train, test = _rows(400, 1), _rows(150, 2)
    head = pv.observations.get("real-normal", scale="dataset")
    vae = pv.VAE((6,), 2, head, _pair(6, 2))
    found = evidence_of(vae, torch.from_numpy(test), None, {}, torch.from_numpy(train))
    pca = PCA(2, svd_solver="full").fit(train.astype(np.float64))
    # scikit-learn's σ² has n − 1 below it where maximum likelihood has n.
    assert found.ppca == pytest.approx(pca.score(test.astype(np.float64)), abs=0.02)
    mean, deviation = train.mean(0), np.sqrt(((train - train.mean(0)) ** 2).mean())
    constant = norm.logpdf(test, mean, deviation).sum(1).mean()
    assert found.constant == pytest.approx(constant, abs=0.02)
    of_training = norm.logpdf(train, mean, deviation).sum(1).mean()
    assert found.training_constant == pytest.approx(of_training, abs=0.02)
    assert found.uniform is None
    assert {name for name, _ in found.below} == {
        "probabilistic PCA with 2 latents",
        "the best constant prediction",
    }


@pytest.mark.parametrize(
    ("obs", "expected"),
    [
        ("normal", 0.0),
        (pv.observations.get("normal", interval=(-1.0, 1.0)), -784 * np.log(2)),
        ("categorical", -784 * np.log(256)),
    ],
    ids=["density", "density on another interval", "mass"],
)
def test_a_uniform_code_of_levels(obs: Any, expected: float, few: Tensor) -> None:
    """On [0, 1] a density of 1, on [−1, 1] one of 1/2; of masses 1/256 for each level."""
    vae = pv.VAE(SHAPE, 2, obs, pv.networks.MLP(hidden=4))
    found = evidence_of(vae, few[:20], None, {})
    assert found.uniform == pytest.approx(expected, abs=1e-3)


def _record(kind: str, split: str, epoch: int, **values: Any) -> dict[str, Any]:
    return {"record": kind, "split": split, "step": epoch, "epoch": epoch, "beta": 1.0, "kl": 2.0,
            "loss": 0.0, "gradient_norm": 1.0, "elbo": 0.0, **values}  # fmt: skip


@pytest.mark.parametrize("held_out", [0, 20])
def test_what_the_second_half_gained(few: Tensor, held_out: int) -> None:
    """The square root of time in training, and twice that of held-out images."""
    history = pv.History()
    for i in range(1, 101):
        history.records.append(_record("step", "training", i, loss=-(float(i) ** 0.5)))
    for i in range(1, held_out + 1):
        history.records.append(_record("epoch", "training", i))
        history.records.append(_record("epoch", "held-out", i, elbo=2 * float(5 * i) ** 0.5))
    found = evidence_of(pv.VAE(SHAPE, 2, "normal", _flat()), few[:20], history, {})
    at = np.arange(1, 101) ** 0.5
    if held_out:
        at = 2 * (5 * np.arange(1, 21)) ** 0.5
    tenth = len(at) // 10
    middle = at[(len(at) - tenth) // 2 :][:tenth]
    assert found.doubled == pytest.approx(at[-tenth:].mean() - middle.mean())
    last = at[-tenth:].mean() - at[-2 * tenth : -tenth].mean()
    assert found.gain_per_epoch == pytest.approx(last / tenth)


def _flat() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 4)), nn.Linear(2, 784)


@pytest.fixture(scope="module")
def situation() -> Situation:
    """One that nothing speaks against, to be changed in a place."""
    rows = torch.from_numpy(_rows(100, 3))
    vae = pv.VAE((6,), 2, pv.observations.get("real-normal", scale="dataset"), _pair(6, 2))
    evidence = evidence_of(vae, rows, None, {}, rows)
    fine: dict[str, Any] = {
        "active_units": 2, "kl_per_latent": (3.0, 2.0), "error": 0.2, "training_error": 0.2,
        "spread": 0.8, "shuffled": 4.0, "prior_spread": 0.9, "kl": 5.0, "sigma": 0.3, "rmse": 0.3,
        "score": -5.0, "training_score": -5.0, "constant": -10.0, "training_constant": -10.0,
        "ppca": -6.0, "uniform": None, "steps": 3000, "steps_per_epoch": 30, "rising": 0.001,
        "doubled": 0.1, "gain_per_epoch": 0.001, "covered": None, "pressure": None,
    }  # fmt: skip
    return Situation(replace(evidence, **fine), {}, 6, "dataset", (0.0, 1.0), False, False, True)


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "nothing": ({}, {}, None),
    "far below PCA, and no longer gaining": (
        {"ppca": 4.0, "doubled": -0.1}, {}, "no-better-than-a-baseline",
    ),
    "a little below PCA, and gaining": ({"ppca": -4.0, "doubled": 0.5}, {}, "not-trained-enough"),
    "below a constant": (
        {"score": -11.0, "training_score": -11.0, "ppca": None, "doubled": 0.0}, {},
        "no-better-than-a-baseline",
    ),
    "below a constant on unseen images alone": ({"score": -11.0, "ppca": None}, {},
                                                "trained-too-long"),
    "below a uniform distribution": ({"uniform": 3.0, "doubled": 0.0}, {},
                                     "no-better-than-a-baseline"),
    "half of all gain in the second half": ({"doubled": 2.5}, {}, "not-trained-enough"),
    "a σ of a thousandth of the error": ({"sigma": 3e-4}, {"scale": "fixed"}, "sigma-off"),
    "a σ of a third, above all baselines": ({"sigma": 0.1}, {"scale": "fixed"}, None),
    "a σ of a third, below PCA": (
        {"sigma": 0.1, "ppca": 4.0}, {"scale": "fixed"}, "sigma-off",
    ),
    "a KL that a small β let grow": (
        {"beta": 0.01, "beta_wanted": 0.01, "ppca": -1.0}, {}, "beta-too-small",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_scores_decide(situation: Situation, case: str) -> None:
    of_evidence, of_situation, code = CHANGED[case]
    changed = replace(situation, evidence=replace(situation.evidence, **of_evidence))
    found = causes_of(replace(changed, **of_situation))
    assert (found[0].code if found else None) == code


@pytest.mark.parametrize(("missing", "gained", "times"), [(1, 1, 3), (2, 1, 4), (5, 1, 32)])
def test_epochs_that_a_baseline_takes(
    situation: Situation, missing: float, gained: float, times: float
) -> None:
    """As many doublings as gain what is missing, at least three times as many epochs."""
    e = replace(situation.evidence, ppca=-5.0 + missing, doubled=float(gained))
    found = causes_of(replace(situation, evidence=e, settings={"epochs": 100}))
    assert found[0].changes["epochs"] == 100 * times


OPTIONS = pv.RunConfig.of(images=60, obs="normal", sigma=4, beta=3, param="loc=pixel,link=identity")
MENDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "β": ({"beta": "0.07"}, {"beta": "0.07"}),
    "σ": ({"scale": "dataset"}, {"sigma": None, "sigma_per": "dataset"}),
    "range": (
        {"interval": (-1024.0, 3071.0), "scaled": True, "link": "sigmoid"},
        {"range": "-1024,3071", "scale_with_range": True, "param": ("loc=pixel,link=sigmoid",)},
    ),
    "epochs": ({"epochs": 500, "lr": 1e-4}, {"epochs": 500, "lr": 1e-4}),
    "weights": ({"patience": 5, "keep_best": True}, {"patience": 5, "keep_best": True}),
    "latents": ({"latent_dim": 64}, {"latent_dim": 64}),
    "a batch's σ": ({"scale": "batch"}, {"sigma": None, "sigma_per": "batch"}),
    "epochs without an end before": (
        {"epochs": 500, "patience": None},
        {"epochs": 500, "patience": None},
    ),
}


@pytest.mark.parametrize("mend", MENDS)
def test_a_mend_is_a_command_that_says_what_it_changes_and_nothing_else(mend: str) -> None:
    """The command is read back by the command line's own parser."""
    changes, expected = MENDS[mend]
    words = shlex.split(command_of(OPTIONS.options, changes, "a folder/mended") or "")
    assert words[:2] == ["pyro-vae", "fit"]
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    parsed = point.load().commands["fit"].make_context("fit", words[2:]).params
    assert parsed["out"] == Path("a folder/mended")
    read = pv.RunConfig.of(
        **{name: parsed[name] for name in OPTIONS.options if parsed[name] is not None}
    )
    was, now = OPTIONS.options, read.options
    assert {name for name in was if was[name] != now[name]} == {
        name for name in expected if was[name] != _plain(expected[name])
    }
    assert {name: now[name] for name in expected} == {k: _plain(v) for k, v in expected.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


SCALED = [
    name
    for name, entry in pv.observations.TABLE.items()
    if entry.head.scale is not None and entry.head.location is not None
]


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_of_any_observation_is_mended_by_a_command(name: str) -> None:
    """Read back, each is a head that can be built: learned, or of the batch that it is far from."""
    of_residual = pv.observations.get(name).of_role("scale").origin == "residual"
    scope = "batch" if of_residual else "dataset"
    options = pv.RunConfig.of(images=60, obs=name).options
    words = shlex.split(command_of(options, {"scale": scope}, "mended") or "")
    assert words[words.index("--sigma-per") + 1] == scope or of_residual
    head = pv.observations.get(name, scale=scope)
    assert head.of_role("scale").scope == scope
    head.build((1, 4, 4))


def test_a_scale_that_is_a_location_is_no_spread() -> None:
    """That of a lognormal is its median: no σ to share more widely."""
    x = torch.rand(20, 6) + 0.5
    vae = pv.VAE((6,), 2, "lognormal", pv.networks.MLP(hidden=4))
    causes = pv.diagnose(vae, x[:10], None, {}, x[10:]).causes
    assert not any("sigma" in cause.code or "scale" in cause.changes for cause in causes)


def test_a_choice_has_images_to_choose_by() -> None:
    """``fit`` refuses --patience beside --validation none, which the run has."""
    options = pv.RunConfig.of(images=60, validation="none").options
    command = command_of(options, {"patience": 5, "keep_best": True}, "mended") or ""
    assert shlex.split(command)[-5:] == ["--patience", "5", "--keep-best", "--out", "mended"]
    assert "--validation" not in command


def test_a_users_own_observation_has_no_command() -> None:
    assert command_of({**OPTIONS.options, "obs": None}, {"scale": "dataset"}, "mended") is None


@pytest.mark.parametrize("changes", [{}, {"latent_dim": -1}])
def test_no_command_is_better_than_one_that_fit_refuses(changes: dict[str, Any]) -> None:
    assert command_of(OPTIONS.options, changes, "mended") is None
    assert command_of({}, {"beta": "1"}, "mended") is None


def test_a_kept_diagnosis_is_of_its_weights(tmp_path: Path, few: Tensor) -> None:
    vae = pv.VAE(SHAPE, 2, "normal", pv.networks.MLP(hidden=4))
    pv.save(vae, tmp_path / "run")
    found = pv.diagnose(vae, few[:20]).to_dict()
    assert keep_diagnosis(vae, found, tmp_path / "run").name == DIAGNOSIS
    kept = kept_diagnosis(vae, tmp_path / "run")
    assert kept is not None
    assert kept["verdict"] == found["verdict"]
    with torch.no_grad():
        next(vae.decoder.parameters()).add_(1)
    assert kept_diagnosis(vae, tmp_path / "run") is None
    (tmp_path / "run" / DIAGNOSIS).write_text(json.dumps([1]))
    assert kept_diagnosis(vae, tmp_path / "run") is None


def test_evidence_is_plain_data(situation: Situation) -> None:
    assert isinstance(situation.evidence, Evidence)
    json.dumps(situation.evidence.to_dict())
