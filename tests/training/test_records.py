"""Every record has every field, under the same names everywhere, and can be recomputed."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import evaluate, fit, load, measures
from pyro_vae.training import History, pictures

from .models import small

FIGURES = {
    *("loss", "beta", "elbo", "objective", "reconstruction", "kl", "kl_per_latent"),
    *("active_units", "gradient_norm", "learning_rate", "images_per_second"),
}
NAMES = FIGURES | {"record", "split", "step", "epoch", "sites"}


@pytest.fixture(scope="module", params=["normal-learned-sigma", "bernoulli"])
def run(
    request: pytest.FixtureRequest, few: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[History, Path]:
    folder = tmp_path_factory.mktemp("records") / "run"
    options: dict[str, Any] = {"beta": "linear:0,1,steps=4", "average": 0.5, "keep_best": True}
    return fit(small(request.param), few, few[:100], epochs=3, out=folder, **options), folder


def test_every_record_has_every_field(run: tuple[History, Path]) -> None:
    history, folder = run
    kinds = [(record["record"], record["split"]) for record in history.records]
    assert (
        kinds == ([("step", "training")] * 3 + [("epoch", "training"), ("epoch", "held-out")]) * 3
    )
    absent = {"elbo"} if history.kind == "loss" else {"objective"}
    for record in history.records:
        assert set(record) == NAMES
        without = absent | ({"gradient_norm"} if record["split"] == "held-out" else set())
        assert {name for name in record if record[name] is None} == without
        for name in FIGURES - without - {"kl_per_latent"}:
            assert math.isfinite(record[name]), name
        assert len(record["kl_per_latent"]) == 3
        assert record["images_per_second"] > 0
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert written == history.records


def test_a_runs_figures_can_be_recomputed_from_its_saved_model(
    run: tuple[History, Path], few: Tensor
) -> None:
    history, folder = run
    scores = evaluate(load(folder), few[:100])
    settled = [record for record in history.epochs("held-out") if record["beta"] == 1]
    best = max(settled, key=lambda record: record[history.objective])
    for name in ("elbo", "objective", "reconstruction", "kl", "kl_per_latent", "active_units"):
        assert scores[name] == best[name], name


def test_training_figures_agree_with_the_saved_model_within_sampling_error(
    few: Tensor, tmp_path: Path
) -> None:
    """Full batches, weights that hardly move: each step scores the same model on fresh noise."""
    history = fit(small(), few, epochs=40, batch_size=300, lr=1e-9, out=tmp_path / "run")
    terms = measures.held_out_terms(load(tmp_path / "run"), few)
    elbos = [record["elbo"] for record in history.steps]
    assert len(elbos) == 40
    # The held-out figure is one draw of the same: 4 standard deviations.
    found = float((terms.reconstruction - terms.kl).mean())
    assert abs(found - np.mean(elbos)) < 4 * np.std(elbos, ddof=1)


@pytest.mark.parametrize("elbo", ["free-bits:5", "capacity:40,gamma=2"])
def test_the_held_out_loss_is_what_was_minimised(few: Tensor, elbo: str) -> None:
    """An untrained posterior near the prior: every unit below its 5 nats, the whole below 40."""
    history = fit(small(), few, few[:100], epochs=1, lr=1e-30, elbo=elbo, beta=8.0)
    for record in (history.steps[-1], history.epochs("held-out")[0]):
        assert max(record["kl_per_latent"]) < 2
        penalty = 8 * 3 * 5 if elbo == "free-bits:5" else 8 * 2 * (40 - record["kl"])
        # Held-out: another draw of z.
        assert record["loss"] == pytest.approx(penalty - record["reconstruction"], rel=5e-3)


def test_the_held_out_loss_of_importance_weighting_is_the_tighter_bound(few: Tensor) -> None:
    history = fit(small(), few, few[:100], epochs=6, lr=1e-2, elbo="iwae:20")
    first, *_, last = history.epochs("held-out")
    assert -last["loss"] > last["elbo"] + 0.2
    assert last["loss"] < first["loss"]
    again = fit(small(), few, few[:100], epochs=2, lr=1e-30, elbo="iwae:20")
    losses = [record["loss"] for record in again.epochs("held-out")]
    assert losses[0] == losses[1]  # the same noise each time


def test_events_have_the_same_names_and_values(run: tuple[History, Path]) -> None:
    read_events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    history, folder = run
    curves = sorted(path.name for path in (folder / "events").iterdir())
    assert curves == ["epoch-held-out", "epoch-training", "step-training"]
    read = 0
    for curve in curves:
        events = read_events(str(folder / "events" / curve)).Reload()
        kind, split = curve.split("-", 1)
        records = [r for r in history.records if (r["record"], r["split"]) == (kind, split)]
        tags = set(events.Tags()["scalars"])
        assert {tag.split("/")[0] for tag in tags} == {
            name for name in NAMES - {"record", "split", "step"} if records[0][name] is not None
        }
        assert {"kl_per_latent/0", "kl_per_latent/2"} <= tags
        for name in ("kl", "beta", "loss"):
            found = [(event.step, event.value) for event in events.Scalars(name)]
            assert found == [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in records]
            read += len(found)
    assert read == 3 * (9 + 3 + 3)


def test_without_tensorboard_there_are_no_events(
    few: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if "tensorboard" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    history = fit(small(), few, epochs=1, out=tmp_path / "run")
    assert len(History.read(tmp_path / "run" / "metrics.jsonl").records) == len(history.records)
    assert not (tmp_path / "run" / "events").exists()


def test_overwriting_leaves_no_old_events(few: Tensor, tmp_path: Path) -> None:
    (tmp_path / "run" / "events" / "old").mkdir(parents=True)
    fit(small(), few, epochs=1, out=tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "events" / "old").exists()


def test_curves_show_kl_and_beta_on_one_axis_with_the_baselines(
    few: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = fit(small(), few, few[:50], epochs=3, beta="linear:0,1,steps=6")
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: drawn.append(self))
    pictures.draw_curves(history, tmp_path / "curves.png")
    axes: Any = drawn[0].axes
    top, kl, beta = axes
    assert top.get_shared_x_axes().joined(top, kl)
    assert top.get_shared_x_axes().joined(top, beta)
    lines = {line.get_label(): line.get_ydata() for line in top.lines}
    assert set(lines) >= {"reconstruction", "reconstruction, held-out"}
    assert list(lines["reconstruction"]) == [r["reconstruction"] for r in history.steps]
    levels = [float(y[0]) for y in lines.values() if len(set(map(float, y))) == 1]
    assert set(history.baselines) == {"best constant prediction", "predicting ½"}
    assert sorted(levels) == sorted(history.baselines.values())
    assert {text.get_text() for text in top.texts} == set(history.baselines)
    assert list(kl.lines[0].get_ydata()) == [r["kl"] for r in history.steps]
    assert list(kl.lines[1].get_ydata()) == [r["kl"] for r in history.epochs("held-out")]
    assert list(beta.lines[0].get_ydata()) == pytest.approx([k / 6 for k in range(7)] + [1, 1])
