"""Runs that are broken on purpose are told apart, and what mends them does."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pyro_vae as pv
from pyro_vae.diagnostics import causes, verify

from .runs import SHAPE, Run, copying, ignoring, narrow, run

TO_255 = pv.observations.get("normal", interval=(0.0, 255.0))
PER_PIXEL = pv.observations.get("normal-optimal-sigma", scale="pixel")
BROKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a large σ": ("sigma-too-large", "collapsed", {"obs": pv.observations.get("normal", scale=4)}),
    "a large β": ("beta-too-large", "collapsed", {"beta": 60}),
    "pixels for β": ("mean-reduction", "collapsed", {"beta": 784}),
    "pixels / latents for β": ("mean-reduction", "collapsed", {"beta": 78.4}),
    "batch × pixels for β": ("mean-reduction", "collapsed", {"beta": 784 * 50}),
    "a warm-up cut short": (
        "warm-up-unfinished",
        "unfinished",
        {"beta": "linear:0,1,epochs=50", "lr": 3e-3},
    ),
    "a learning rate of 1": ("learning-rate-too-high", "diverging", {"lr": 1.0}),
    "one epoch": ("not-trained-enough", "collapsed", {"epochs": 1}),
    "one epoch of a decoder that ignores z": (
        "encoder-ignored",
        "collapsed",
        {"net": ignoring, "epochs": 1},
    ),
    "few images for long": (
        "trained-too-long",
        "overfitted",
        {"obs": pv.observations.get("normal", scale=0.1), "images": 60, "batch_size": 20,
         "lr": 3e-3, "epochs": 150},
    ),
    "a σ of levels from 0 to 255": (
        "data-range",
        "collapsed",
        {"obs": TO_255, "epochs": 1, "batch_size": 300},
    ),
    "σ that is each pixel's error": (
        "sigma-too-flexible",
        "diverging",
        {"obs": PER_PIXEL, "lr": 1e-2, "epochs": 8},
    ),
    "a single latent": (
        "latents-too-few",
        "underfitted",
        {"obs": pv.observations.get("normal", scale=0.1), "latent_dim": 1, "lr": 1e-2,
         "epochs": 20},
    ),
    "a σ that is a hundredth of the error": (
        "sigma-off",
        "underfitted",
        {"obs": pv.observations.get("normal", scale=0.002), "epochs": 20},
    ),
    "a small β": (
        "beta-too-small",
        "underfitted",
        {"obs": "normal-learned-sigma", "beta": 1e-3, "lr": 3e-3, "epochs": 40},
    ),
    "ten latents of which the decoder sees two": (
        "no-better-than-a-baseline",
        "underfitted",
        {"obs": pv.observations.get("normal", scale="dataset"), "net": narrow, "lr": 1e-2,
         "epochs": 100},
    ),
    "a decoder that ignores z": (
        "encoder-ignored",
        "collapsed",
        {"net": ignoring, "lr": 3e-2, "epochs": 20},
    ),
    "a decoder that copies its image": (
        "decoder-too-strong",
        "collapsed",
        {"net": lambda _: copying(10), "epochs": 1},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(digits: pv.data.Data) -> Callable[[str], Run]:
    """Train and diagnose one of them, once; to be asked for first, as the seed is the test's."""
    return functools.cache(lambda case: run(digits, **BROKEN[case][2]))


@pytest.mark.slow
@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_runs(broken: Callable[[str], Run], case: str) -> None:
    *_, found = broken(case)
    code, verdict, _ = BROKEN[case]
    assert (found.causes[0].code, found.verdict) == (code, verdict)
    assert found.causes[0].sentence
    assert found.causes[0].mend
    assert found.summary


def test_every_cause_is_made_by_a_run() -> None:
    """By the codes that the table's functions write, as read off their source."""
    written = {cause.__name__: _codes(cause) for cause in causes.TABLE}
    assert all(written.values()), written
    assert set().union(*written.values()) == {code for code, _, _ in BROKEN.values()}


def _codes(cause: Callable[..., Any]) -> set[str]:
    tree = ast.parse(inspect.getsource(cause))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if ast.unparse(call.func) == "Cause"]
    return {ast.literal_eval(call.args[0]) for call in made}


def test_a_healthy_run_and_one_whose_held_out_score_fell(digits: pv.data.Data) -> None:
    options: dict[str, Any] = {"epochs": 80, "lr": 3e-3, "latent_dim": 5, "keep_best": False}
    obs = pv.observations.get("normal", scale="dataset")
    vae, history, settings, found = run(digits, obs, **options)
    assert found.verdict == "healthy"
    assert found.causes == ()
    held_out = history.epochs("held-out")
    best = max(record["elbo"] for record in held_out)
    fallen = best - 0.2 * (best - held_out[0]["elbo"])
    assert history.records[-1] is held_out[-1]
    history.records[-1] = {**held_out[-1], "elbo": fallen}
    found = pv.diagnose(vae, digits.test[:200], history, settings)
    assert (found.verdict, found.causes[0].code) == ("overfitted", "trained-too-long")
    assert "has lost 20% of what it had gained" in found.causes[0].sentence
    assert found.causes[0].changes == {"patience": 5, "keep_best": True}


@pytest.mark.parametrize("verdict", ["healthy", "collapsed"])
@pytest.mark.parametrize("distance", [0.05, 0.35])
def test_a_healthy_verdict_beside_bad_calibration_has_a_remark(
    digits: pv.data.Data, monkeypatch: pytest.MonkeyPatch, distance: float, verdict: str
) -> None:
    # The function diagnose hides the package of its name from a path with dots.
    where = sys.modules["pyro_vae.diagnostics.diagnosing"]
    monkeypatch.setattr(where, "calibration_scores", lambda *_: {"pit_distance": distance})
    vae = pv.VAE((1, 28, 28), 3, net=pv.networks.MLP(hidden=8))
    monkeypatch.setattr(where, "causes_of", lambda _: ())
    monkeypatch.setattr(where, "_verdict", lambda *_: verdict)
    found = pv.diagnose(vae, digits.test[:50])
    assert found.verdict == verdict
    assert found.causes == ()
    remarked = verdict == "healthy" and distance > 0.2
    assert [f"{distance:.2f} from uniform" in said for said in found.remarks] == [True] * remarked


@pytest.mark.slow
def test_a_held_out_score_that_rises_while_pictures_come_apart(
    broken: Callable[[str], Run], digits: pv.data.Data
) -> None:
    vae, history, settings, found = broken("few images for long")
    e = found.evidence
    assert e.training_error is not None
    assert e.training_error < e.error / 1.5
    assert e.fallen is not None
    assert e.fallen < 0.15
    # Stopping at the best held-out score would have been stopping at the end.
    assert found.causes[0].changes == {}
    assert f"{e.error:.2g} of the mean image's" in found.causes[0].sentence
    assert found.summary in found.causes[0].sentence
    untold = pv.diagnose(vae, digits.test[:200], history, settings)
    assert untold.evidence.training_error is None
    assert "trained-too-long" not in [cause.code for cause in untold.causes]


@pytest.mark.slow
def test_a_run_that_was_too_short_is_told_how_long_it_takes(digits: pv.data.Data) -> None:
    vae, _, settings, found = run(digits, epochs=1, lr=1e-4)
    cause = found.causes[0]
    assert (cause.code, cause.mend) == ("not-trained-enough", "--epochs 167 --lr 0.001")
    assert cause.changes == {"epochs": 167, "lr": 1e-3}  # 2,000 steps of 12 an epoch
    mended = verify(vae, found, digits.train[:600], digits.test[:200], settings)
    assert mended.epochs == 167
    assert mended.mended


@pytest.mark.slow
def test_a_beta_that_mends_takes_the_place_of_a_target(
    broken: Callable[[str], Run], digits: pv.data.Data
) -> None:
    *_, found = broken("one epoch of a decoder that ignores z")
    assert found.causes[0].changes == {"beta": "linear:0,1,epochs=10", "epochs": 20}
    vae = pv.VAE(SHAPE, 4, "normal", pv.networks.MLP(hidden=8))
    mended = verify(vae, found, digits.train[:600], settings={"target_kl": 5.0})
    assert mended.after.evidence.beta == pytest.approx(1.0)


def test_a_users_own_networks_and_no_history(digits: pv.data.Data) -> None:
    vae = pv.VAE(SHAPE, 4, "normal", copying(4))
    found = pv.diagnose(vae, digits.test[:200])
    assert found.causes[0].code == "decoder-too-strong"
    assert found.evidence.shuffled == pytest.approx(1.0)
    assert found.evidence.steps is None
    assert found.evidence.fallen is None
    with pytest.raises(pv.InputError, match="no option mends decoder-too-strong"):
        verify(vae, found, digits.train[:100])


def test_weights_that_are_not_finite(few: torch.Tensor) -> None:
    vae = pv.VAE(SHAPE, 4, "normal", pv.networks.MLP(hidden=8))
    with torch.no_grad():
        next(vae.encoder.parameters())[0, 0] = float("nan")
    found = pv.diagnose(vae, few[:20], settings={"lr": 0.5})
    assert found.verdict == "diverging"
    assert found.causes[0].code == "learning-rate-too-high"
    assert found.causes[0].changes == {"lr": 1e-3}
    assert "not finite" in found.causes[0].sentence


def test_vectors_of_real_numbers_have_no_range() -> None:
    torch.manual_seed(0)
    x = 10 * torch.randn(300, 3) @ torch.randn(3, 8) - 40
    vae = pv.VAE((8,), 3, "real-normal", pv.networks.MLP(hidden=16))
    history = pv.fit(vae, x, epochs=3)
    found = pv.diagnose(vae, x, history, {"epochs": 3})
    assert "data-range" not in [cause.code for cause in found.causes]
    json.dumps(found.to_dict())


def test_counts_are_diagnosed() -> None:
    """Two steps an epoch are too few, and say so; the evidence is that of plain numpy."""
    torch.manual_seed(0)
    x = torch.poisson(4 * torch.rand(200, 1, 4, 4)).to(torch.uint8)
    encoder, decoder = nn.Linear(16, 6), nn.Linear(3, 16)
    vae = pv.VAE((1, 4, 4), 3, "poisson", (nn.Sequential(nn.Flatten(), encoder), decoder))
    history = pv.fit(vae, x, epochs=3, lr=1e-2, init_from_data=False)
    found = pv.diagnose(vae, x, history, {"epochs": 3})
    e = found.evidence

    def affine(layer: nn.Linear, rows: np.ndarray) -> np.ndarray:
        weight, bias = (t.detach().double().numpy() for t in (layer.weight, layer.bias))
        return np.asarray(rows @ weight.T + bias)

    counts = x.flatten(1).double().numpy()
    mean, raw = np.split(affine(encoder, np.log1p(counts)), 2, axis=1)
    deviation = np.logaddexp(0, raw) + 1e-4
    kl = ((deviation**2 + mean**2 - 1) / 2 - np.log(deviation)).mean(0)
    middle, half = math.log(1e-4 * 1e6) / 2, math.log(1e6 / 1e-4) / 2
    rate = np.exp(middle + half * np.tanh(affine(decoder, mean) / half))
    error = ((rate - counts) ** 2).mean() / counts.var(0).mean()
    assert e.kl_per_latent == pytest.approx(sorted(kl, reverse=True), rel=1e-3)
    assert (e.low, e.high) == (0, counts.max())
    assert (e.shown_low, e.shown_high) == pytest.approx((rate.min(), rate.max()), rel=1e-4)
    assert e.error == pytest.approx(error, rel=1e-3)
    assert error > 1
    assert found.causes[0].code == "not-trained-enough"
    assert found.causes[0].changes == {"epochs": 1000}  # 2,000 steps, two an epoch
    assert f"{error:.2g} of the mean image's after 6 steps" in found.causes[0].sentence
    assert "data-range" not in [cause.code for cause in found.causes]  # counts have none
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.slow
def test_floats_beyond_the_range_are_told_theirs(few: torch.Tensor) -> None:
    x = few[:100].float()
    vae = pv.VAE(SHAPE, 4, pv.observations.get("normal", loc=pv.Param(link="identity")),
                 pv.networks.MLP(hidden=8))  # fmt: skip
    history = pv.fit(vae, x, epochs=2, lr=1e-5)
    found = pv.diagnose(vae, x, history, {"epochs": 2})
    assert found.causes[0].code == "data-range"
    assert found.causes[0].mend.startswith("--range 0,255 --scale-with-range")
    mended = verify(vae, found, x, settings={"epochs": 2, "batch_size": 25, "lr": 3e-3})
    assert "data-range" not in [cause.code for cause in mended.after.causes]


def test_an_adapted_beta_is_no_warm_up(few: torch.Tensor) -> None:
    vae = pv.VAE(SHAPE, 4, "normal", pv.networks.MLP(hidden=8))
    history = pv.fit(vae, few, epochs=3, target_kl=500.0)
    assert history.epochs()[-1]["beta"] < 0.9
    found = pv.diagnose(vae, few, history, {"epochs": 3, "beta": "1", "target_kl": 500.0})
    assert "warm-up-unfinished" not in [cause.code for cause in found.causes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("a large σ", {"scale": "dataset"}),
        ("a large β", {"beta": "1"}),
        ("pixels for β", {"beta": "1"}),
        ("σ that is each pixel's error", {"scale": "batch"}),
        ("a learning rate of 1", {"lr": 1e-3}),
    ],
)
def test_the_mend_mends(
    broken: Callable[[str], Run], digits: pv.data.Data, case: str, changes: dict[str, Any]
) -> None:
    vae, _, settings, found = broken(case)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    mended = verify(vae, found, digits.train[:600], digits.test[:200], settings)
    assert mended.changes == changes
    assert mended.mended
    assert mended.before is found
    assert mended.after.evidence.active_units > 0
    assert mended.after.evidence.error < 0.9
    # 1,000 steps of 12 an epoch; a σ goes wrong again in as many epochs as the run had.
    assert mended.epochs == (8 if "scale" in changes and changes["scale"] == "batch" else 84)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.slow
def test_networks_that_replace_a_users_own(
    broken: Callable[[str], Run], digits: pv.data.Data
) -> None:
    vae, _, settings, found = broken("a decoder that ignores z")
    with pytest.raises(pv.InputError, match="networks of your own cannot be made anew"):
        verify(vae, found, digits.train[:600], digits.test[:200], settings)
    net = pv.networks.MLP(hidden=32)
    settings = {**settings, "lr": 1e-3}
    mended = verify(vae, found, digits.train[:600], digits.test[:200], settings, net)
    assert mended.mended


@pytest.mark.slow
def test_prior_and_posterior_stay(digits: pv.data.Data) -> None:
    vae = pv.VAE(SHAPE, 4, "normal", pv.networks.MLP(hidden=32), prior="mixture:2")
    history = pv.fit(vae, digits.train[:600], epochs=5, beta=1000)
    found = pv.diagnose(vae, digits.test[:200], history, {"beta": "1000", "epochs": 5})
    mended = verify(vae, found, digits.train[:600], digits.test[:200])
    assert mended.mended
    assert mended.after.evidence.predicted is None  # there is a forecast for N(0, I) only
    vae.prior_spec = None
    with pytest.raises(pv.InputError, match="a prior or a posterior of your own"):
        verify(vae, found, digits.train[:600])


def test_what_cannot_be_verified(digits: pv.data.Data) -> None:
    vae, _, _, found = run(digits, pv.observations.get("normal", scale=0.4), epochs=1)
    healthy = pv.Diagnosis("healthy", (), found.evidence)
    with pytest.raises(pv.InputError, match="nothing to mend: the verdict is healthy"):
        verify(vae, healthy, digits.train[:100])
    with pytest.raises(pv.InputError, match="must have shape"):
        pv.diagnose(vae, torch.zeros(3, 1, 8, 8))


def test_networks_are_any_torch_modules(few: torch.Tensor) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 6))
    vae = pv.VAE(SHAPE, 3, "bernoulli", (encoder, nn.Linear(3, 784)))
    history = pv.fit(vae, few, epochs=1, beta=200)
    found = pv.diagnose(vae, few, history, {"beta": "200", "epochs": 1})
    assert found.causes[0].code == "beta-too-large"
    assert found.evidence.dead_units is None
