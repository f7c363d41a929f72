"""Every sentence of a diagnosis, its causes and mends, its figures and its remarks."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.diagnostics import evidence
from pyro_vae.diagnostics.diagnosing import diagnosis_of

from .cases import CASES, FINE, HEALTHY, Said, situation


@pytest.mark.parametrize("case", CASES)
def test_what_evidence_comes_to(case: str) -> None:
    *_, line, causes = CASES[case]
    found = diagnosis_of(situation(case))
    assert f"{found.verdict}: {found.summary}" == line
    assert [(cause.code, cause.sentence, cause.mend) for cause in found.causes] == causes


MENDS = {mend for *_, causes in CASES.values() for *_, mend in causes}


@pytest.mark.parametrize("mend", sorted(mend for mend in MENDS if mend.startswith("--")))
def test_a_mend_is_of_options_that_fit_accepts(mend: str) -> None:
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    words = re.split(r" \(|,? or |, | without", mend.replace("keep-best,", "keep-best or"))[0]
    parsed = point.load().commands["fit"].make_context("fit", words.split())
    given = {name: value for name, value in parsed.params.items() if _is_given(parsed, name)}
    assert len(given) == words.count("--")
    obs = "normal-optimal-sigma" if "per batch" in mend else "normal"
    given["param"] = tuple(text.replace("mean=", "loc=") for text in given.get("param", ()))
    config = pv.RunConfig.of(images=60, obs=obs, **given)
    pv.observations.head_of(config.observation).build((1, 28, 28))


def _is_given(context: Any, name: str) -> bool:
    return context.get_parameter_source(name).name == "COMMANDLINE"


FIGURES: dict[str, tuple[dict[str, Any], list[tuple[str, str, bool | None]]]] = {
    "all known": ({}, [
        ("score", "1,000.0 nats per image; PCA 900.0, uniform 0.0, best constant 400.0", True),
        ("active units", "5 of 5, the largest KL 4 nats", True),
        ("pictures", "squared error 0.2 of the mean image's, spread 0.8 of the data's", True),
        ("σ against error", "0.1 assumed, 0.11 actual, in units of the range", True),
        ("course", "+0.5 nats an epoch at the end, +20 since half-time", True),
    ]),
    "little known, and all of it bad": (
        {"ppca": None, "uniform": None, "score": 390.0, "active_units": 0, "kl_per_latent": None,
         "hidden": "categorical has no mean", "sigma": None, "gain_per_epoch": None}, [
        ("score", "390.0 nats per image; best constant 400.0", False),
        ("active units", "0 of 5", False),
        ("pictures", "categorical has no mean", None),
        ("σ against error", "not known of this observation", None),
        ("course", "not known: no records of training", None),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", FIGURES)
def test_the_five_figures(case: str) -> None:
    changed, figures = FIGURES[case]
    found = diagnosis_of(replace(FINE, evidence=replace(HEALTHY, **changed))).headlines
    assert [(each.label, each.text, each.fine) for each in found] == figures


NO_MEAN = "judged without pictures: categorical has no mean"
FAR = (
    "latents and pictures are as they should be, but p(x|z) is far from calibrated: its integrals "
    "are 0.35 from uniform (0 if calibrated), so take its mean for pictures, and its samples, "
    "intervals and likelihood with care"
)
ONE, FOUR = (f"judged by {n}, too few for more than a guess" for n in ("1 image", "4 images"))
OF_TRAINING = (
    "{} too few to judge by: give 10 or more; what is said here is of 30 training images, and not "
    "of overfitting"
)
REMARKS: dict[str, tuple[int, bool, tuple[str, ...], str]] = {
    "one image": (1, False, (ONE,), "with 1 remark"),
    "four images": (4, False, (FOUR,), "with 1 remark"),
    "one held-out image": (
        1, True, (OF_TRAINING.format("1 held-out image is"),), "with 1 remark"
    ),
    "four held-out images, no mean, far from calibrated": (
        4, True, (OF_TRAINING.format("4 held-out images are"), NO_MEAN, FAR), "with 3 remarks"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REMARKS)
def test_a_healthy_verdict_counts_its_remarks(
    monkeypatch: pytest.MonkeyPatch, few: Tensor, case: str
) -> None:
    count, train, remarks, summary = REMARKS[case]
    where, bad = sys.modules["pyro_vae.diagnostics.diagnosing"], FAR in remarks
    monkeypatch.setattr(where, "calibration_scores", lambda *_: {"pit_distance": 0.35 * bad})
    monkeypatch.setattr(where, "causes_of", lambda _: ())
    monkeypatch.setattr(where, "_verdict", lambda *_: "healthy")
    if NO_MEAN in remarks:

        def refuse(*_: object) -> None:
            raise pv.InputError("categorical has no mean")

        monkeypatch.setattr(evidence, "looks_of", refuse)
    vae = pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=4))
    found = pv.diagnose(vae, few[:count], train=few[20:50] if train else None)
    assert (found.remarks, found.summary) == (remarks, summary)


class Still:
    """A latent that tells nothing, whose site counts so many times in model and guide."""

    def __init__(self, model: float, guide: float) -> None:
        self.scales = {"model": model, "guide": guide}

    def _latent(self, scale: float) -> Tensor:
        with poutine.scale(scale=scale):
            z: Tensor = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        return z

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            self._latent(self.scales["model"])
            pyro.sample("obs", dist.Normal(torch.zeros(3), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            self._latent(self.scales["guide"])


STILL = "collapsed: 0 of 2 units are active, the KL is 0 nats"
PROGRAMS: dict[str, tuple[float, float, str, list[Said]]] = {
    "a β of 4": (4.0, 4.0, STILL, [
        ("beta-too-large", "the KL of 'z' counts 4 times as much as the data's log-probability",
         "scale the site by 1, in model and guide"),
    ]),
    "a β of 4 in the model alone": (4.0, 1.0, STILL, [
        ("scaled-on-one-side", "site 'z' is scaled by 4 in the model and by 1 in the guide, "
         "relative to the data's: that is no multiple of its KL",
         "put poutine.scale(scale=beta) around the site in model and guide"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", PROGRAMS)
def test_what_programs_come_to(case: str) -> None:
    model, guide, line, causes = PROGRAMS[case]
    programs = Still(model, guide)
    found = pv.diagnose((programs.model, programs.guide), torch.randn(20, 3))
    assert f"{found.verdict}: {found.summary}" == line
    assert [(cause.code, cause.sentence, cause.mend) for cause in found.causes] == causes


SITES: dict[str, tuple[float, Said]] = {
    "a hundred steps of even gain": (
        1.0, ("not-trained-enough", "after 100 steps, the last tenth brought 11% of all gain",
              "--epochs 40"),
    ),
    "a hundred steps without gain": (0.0, ("not-trained-enough", "after 100 steps", "--epochs 40")),
}  # fmt: skip


@pytest.mark.parametrize("case", SITES)
def test_what_sites_of_several_things_come_to(case: str) -> None:
    """The last tenth of 100 steps that gain 1 each brings 10 of 90."""
    gain, said = SITES[case]
    history = pv.History([
        {"record": "step", "split": "training", "step": i, "epoch": 1, "beta": 1.0, "kl": 1.0,
         "loss": -gain * i, "gradient_norm": 1.0} for i in range(100)
    ])  # fmt: skip
    net = (nn.Linear(6, 4), nn.Linear(2, 6))
    vae = pv.VAE({"a": (2,), "b": (4,)}, 2, pv.observations.get("real-normal", scale=1.0), net)
    rows = {"a": torch.randn(20, 2), "b": torch.randn(20, 4)}
    found = pv.diagnose(vae, rows, history, {"epochs": 2})
    assert found.verdict == "unfinished"
    assert [(c.code, c.sentence, c.mend) for c in found.causes[:1]] == [said]
    assert found.causes[0].changes == {"epochs": 40}
