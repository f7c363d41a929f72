"""Results: dicts as JSON has them, whose keys are attributes, shown in three lines."""

from __future__ import annotations

import json
from typing import get_type_hints

import pytest
from torch import Tensor

import pyro_vae as pv
from pyro_vae.history import ElboScores, Record
from pyro_vae.metrics import Scores
from pyro_vae.metrics.results import Calibration
from pyro_vae.types import Result
from tests.zoo import Copied, copies

MLP = pv.networks.MLP(hidden=8)


@pytest.fixture(scope="module")
def scores(few: Tensor) -> Scores:
    return pv.evaluate(pv.VAE((1, 28, 28), 2, net=MLP), few[:60], iwae=3)


def test_every_key_is_declared_with_its_type(scores: Scores) -> None:
    assert set(scores) - set(Scores.__annotations__) == set()
    assert set(scores.calibration or ()) == set(Calibration.__annotations__)


def test_what_records_and_evaluations_both_hold_is_of_one_type() -> None:
    shared, found = get_type_hints(ElboScores), get_type_hints(Scores)
    assert {"elbo", "kl", "sites"} <= set(shared)
    assert {name: found[name] for name in shared} == shared


def test_it_is_a_dict_as_before(scores: Scores) -> None:
    assert isinstance(scores, dict)
    assert json.loads(json.dumps(scores))["kl"] == scores["kl"]
    assert {**scores}["elbo"] == (scores | {})["elbo"] == scores["elbo"] == scores.elbo
    assert scores.get("nothing") is None


@copies
def test_copies_are_equal_and_of_its_class(scores: Scores, copied: Copied) -> None:
    again = copied(scores)
    assert type(again) is Scores
    assert again == scores


def test_what_was_not_asked_for_is_none_and_what_there_is_not_is_refused() -> None:
    found = Scores(kl=1.0)
    assert found.calibration is None
    assert "calibration" not in found
    with pytest.raises(AttributeError, match="Scores has no 'kll'"):
        found.kll  # type: ignore[attr-defined]  # noqa: B018


def test_three_lines_say_what_it_is(scores: Scores) -> None:
    lines = repr(scores).splitlines()
    assert lines[0] == "Scores on 60 images, a density"
    assert f"{scores['elbo']:.2f} nats per image" in lines[1]
    assert f"{scores['collapsed']:.2f}" in lines[1]
    assert f"KL {scores['kl']:.2f}" in lines[2]
    assert f"{scores['bits_per_dim']:.3f} bits per dimension" in lines[2]
    said = repr(scores["calibration"]).splitlines()
    assert said[0].startswith("Calibration on 60 images")
    assert "95%" in said[1]
    assert [len(lines), len(said)] == [3, 3]


@pytest.mark.parametrize("given", [{}, {"kl": 1.0}, {"elbo": None, "objective": -3.0}])
def test_of_few_keys_there_is_a_repr_too(given: dict[str, float | None]) -> None:
    assert repr(Scores(given)).startswith("Scores on ")


def test_a_loss_and_programs_have_the_same_class(few: Tensor) -> None:
    vae = pv.VAE((1, 28, 28), 2, "bernoulli", net=MLP)
    loss = pv.evaluate(vae, few[:20], parts=())
    assert repr(loss).splitlines()[1].startswith(f"  objective {loss.objective:.2f}")
    vae = pv.VAE((1, 28, 28), 2, net=MLP)
    pair = pv.evaluate((vae.model, vae.guide), few[:20].float() / 255)
    assert isinstance(pair, Scores)
    assert isinstance(pair, Result)
    assert len(repr(pair).splitlines()) == 3


def test_a_history_is_shown_by_its_last_epochs(few: Tensor) -> None:
    vae = pv.VAE((1, 28, 28), 2, net=MLP)
    history = pv.fit(vae, few[:64], few[64:96], epochs=2, batch_size=32)
    last = history.epochs()[-1]
    assert set(last) == set(Record.__annotations__)
    assert repr(history).splitlines() == [
        "History of 4 steps, 2 epochs",
        f"  training: elbo {last['elbo']:.2f}, kl {last['kl']:.2f} in the last epoch",
        "  held-out: elbo {elbo:.2f}, kl {kl:.2f} in the last epoch".format(
            **history.epochs("held-out")[-1]
        ),
    ]


def test_an_empty_history_says_so() -> None:
    assert repr(pv.training.History()) == "History of 0 steps, 0 epochs"
