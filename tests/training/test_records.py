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
from safetensors.numpy import load_file
from scipy import special, stats
from torch import Tensor

from pyro_vae import elbo, evaluate, fit, load
from pyro_vae.plots import runs as pictures
from pyro_vae.training import History

from .models import small

FIGURES = {
    *("loss", "beta", "elbo", "objective", "reconstruction", "kl", "kl_per_latent"),
    *("active_units", "gradient_norm", "learning_rate", "images_per_second"),
}
NAMES = FIGURES | {"record", "split", "step", "epoch", "sites"}
WEIGHTS, SCALE_FLOOR = "model.safetensors", 1e-3


@pytest.fixture(scope="module", params=["normal-learned-sigma", "bernoulli"])
def run(
    request: pytest.FixtureRequest, few: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[History, Path]:
    folder = tmp_path_factory.mktemp("records") / "run"
    options: dict[str, Any] = {"beta": "linear:0,1,steps=4", "average": 0.5, "keep_best": True}
    options["init_from_data"] = False  # by hand there is no offset
    return fit(small(request.param), few, few[:100], epochs=3, out=folder, **options), folder


def test_every_record_has_every_field(run: tuple[History, Path]) -> None:
    history, folder = run
    kinds = [(record["record"], record["split"]) for record in history.records]
    assert (
        kinds == ([("step", "training")] * 3 + [("epoch", "training"), ("epoch", "held-out")]) * 3
    )
    absent = {"elbo"} if history.kind == "loss" else {"objective"}
    for record in history.records:
        held_out = {"part"} if record["split"] == "held-out" else set()
        assert set(record) == NAMES | held_out
        assert record.get("part") == ("validation" if held_out else None)
        without = absent | ({"gradient_norm"} if record["split"] == "held-out" else set())
        assert {name for name in record if record[name] is None} == without
        for name in FIGURES - without - {"kl_per_latent"}:
            assert math.isfinite(record[name]), name
        assert len(record["kl_per_latent"]) == 3
        assert record["images_per_second"] > 0
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert written == history.records


def draws_by_hand(folder: Path, levels: np.ndarray, noisy: bool) -> dict[str, np.ndarray]:
    """Terms of a saved two-layer model in numpy, per image: 50 fresh draws of noise and latents.

    Returns:
        ``reconstruction`` and ``kl`` (50, N), ``kl_per_latent`` and ``mean`` (50, N, L).
    """
    w = {name: value.astype(float) for name, value in load_file(folder / WEIGHTS).items()}
    rng, found = np.random.default_rng(1), []

    def layers(x: np.ndarray, end: str, first: int) -> np.ndarray:
        for i in (first, first + 2):
            x = x @ w[f"{end}.{i}.weight"].T + w[f"{end}.{i}.bias"]
            x = x.clip(0) if i == first else x
        return x

    for _ in range(50):
        x = (levels + rng.random(levels.shape)) / 256 if noisy else levels / 255
        mean, raw = np.split(layers(x, "encoder", 1), 2, axis=1)
        sd = 1e-4 + np.logaddexp(0, raw)
        kl = (sd**2 + mean**2 - 1) / 2 - np.log(sd)
        out = layers(mean + sd * rng.standard_normal(mean.shape), "decoder", 0)
        picture = out[:, : x.shape[1]]
        if noisy:
            scale = np.logaddexp(0, out[:, -1:]) + SCALE_FLOOR
            terms = stats.norm(special.expit(picture), scale).logpdf(x)
        else:
            terms = x * picture - np.logaddexp(0, picture)
        found.append((terms.sum(1), kl.sum(1), kl, mean))
    names = ("reconstruction", "kl", "kl_per_latent", "mean")
    return {
        name: np.stack(part) for name, part in zip(names, zip(*found, strict=True), strict=True)
    }


def test_a_runs_figures_can_be_recomputed_from_its_saved_model(
    run: tuple[History, Path], few: Tensor
) -> None:
    """In numpy from the weights on disk: the record's own draw is one of many."""
    history, folder = run
    settled = [record for record in history.epochs("held-out") if record["beta"] == 1]
    assert len(settled) == 2
    best = max(settled, key=lambda record: record[history.objective])
    hand = draws_by_hand(folder, few[:100].flatten(1).numpy(), history.kind != "loss")
    scores = evaluate(load(folder), few[:100])
    units = [("kl_per_latent", i) for i in range(3)]
    for source in (best, scores):
        for name, i in [("reconstruction", None), ("kl", None), *units]:
            each = hand[name] if i is None else hand[name][..., i]
            value = source[name] if i is None else source[name][i]
            over_images = each.mean(1)
            # Five standard deviations over draws; float32 against float64.
            slack = 5 * over_images.std(ddof=1) + 1e-4 * abs(over_images.mean())
            assert abs(value - over_images.mean()) < slack, (name, i)
        difference = source["reconstruction"] - source["kl"]
        assert source[history.objective] == pytest.approx(difference, rel=1e-5)
        spread = hand["mean"].var(1, ddof=1).mean(0)
        # A unit near the threshold of 0.01 may be on either side.
        sure, possible = (int((spread > bound).sum()) for bound in (0.0105, 0.0095))
        assert sure <= source["active_units"] <= possible
    # The same draw in both: closer than any two draws are.
    for name in ("reconstruction", "kl", "kl_per_latent"):
        assert scores[name] == pytest.approx(best[name], rel=1e-5), name


def test_training_figures_agree_with_the_saved_model_within_sampling_error(
    few: Tensor, tmp_path: Path
) -> None:
    """Full batches, weights that hardly move: each step scores the same model on fresh noise."""
    history = fit(small(), few, epochs=40, batch_size=300, lr=1e-9, out=tmp_path / "run")
    terms = elbo.held_out_terms(load(tmp_path / "run"), few)
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
    pytest.importorskip("tensorboard")
    names = []
    for _ in range(2):
        fit(small(), few, epochs=1, out=tmp_path / "run", overwrite=True)
        names.append({path.name for path in (tmp_path / "run" / "events").rglob("events.*")})
    assert len(names[0]) == len(names[1]) == 2
    assert not names[0] & names[1]


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
    assert set(lines) >= {"reconstruction", "reconstruction, validation"}
    assert list(lines["reconstruction"]) == [r["reconstruction"] for r in history.steps]
    levels = [float(y[0]) for y in lines.values() if len(set(map(float, y))) == 1]
    assert set(history.baselines) == {"best constant prediction", "predicting ½"}
    assert sorted(levels) == sorted(history.baselines.values())
    assert {text.get_text() for text in top.texts} == set(history.baselines)
    assert list(kl.lines[0].get_ydata()) == [r["kl"] for r in history.steps]
    assert list(kl.lines[1].get_ydata()) == [r["kl"] for r in history.epochs("held-out")]
    assert list(beta.lines[0].get_ydata()) == pytest.approx([k / 6 for k in range(7)] + [1, 1])
