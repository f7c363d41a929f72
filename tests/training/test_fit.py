from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import Head, InputError, Param, TrainingError, evaluate, fit, load
from pyro_vae.config import FitConfig
from pyro_vae.training import History

from ..zoo import CASES, NAMES
from .models import small


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_observation_learns(name: str, few: Tensor) -> None:
    torch.manual_seed(1)
    x = few[..., 6:22, 6:22].contiguous()
    history = fit(small(CASES[name](), (1, 16, 16)), x, x[:100], epochs=8, lr=3e-3)
    for split in ("training", "held-out"):
        scores = [record[history.objective] for record in history.epochs(split)]
        assert len(scores) == 8
        assert scores[-1] > scores[0]


def test_a_run_repeats_and_leaves_the_callers_random_state_alone(few: Tensor) -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        vae = small()
        before = torch.get_rng_state()
        history = fit(vae, few, 0.2, epochs=2, seed=5)
        assert torch.equal(before, torch.get_rng_state())
        runs.append((history, vae.state_dict()))
    clean = [[{**r, "images_per_second": 0} for r in h.records] for h, _ in runs]
    assert clean[0] == clean[1]
    assert all(torch.equal(runs[0][1][key], runs[1][1][key]) for key in runs[0][1])


def test_records_say_what_was_minimised(few: Tensor) -> None:
    history = fit(small(), few, few[:50], epochs=2, batch_size=128, beta=3.0)
    assert len(history.steps) == 6
    assert [r["step"] for r in history.steps] == [1, 2, 3, 4, 5, 6]
    held_out = history.epochs("held-out")[-1]
    assert held_out["loss"] == pytest.approx(3 * held_out["kl"] - held_out["reconstruction"])
    for record in history.records:
        assert record["elbo"] == pytest.approx(record["reconstruction"] - record["kl"])
        assert record["beta"] == 3.0
        assert sum(record["kl_per_latent"]) == pytest.approx(record["kl"], rel=1e-4)
        assert record["objective"] is None
    first = history.epochs()[0]
    sizes = [128, 128, 44]
    for key in ("loss", "kl", "reconstruction"):
        mean = sum(r[key] * n for r, n in zip(history.steps[:3], sizes, strict=True)) / 300
        assert first[key] == pytest.approx(mean)


def test_the_mean_field_loss_is_what_the_records_add_up_to(few: Tensor) -> None:
    history = fit(small(), few, epochs=1, elbo="mean-field", beta=2.0)
    assert len(history.steps) == 3
    for record in history.steps:
        assert record["loss"] == pytest.approx(
            2 * record["kl"] - record["reconstruction"], rel=1e-5
        )


def test_a_loss_has_no_elbo(few: Tensor) -> None:
    history = fit(small("bernoulli"), few, few[:50], epochs=1)
    assert history.kind == "loss"
    assert all(r["elbo"] is None and math.isfinite(r["objective"]) for r in history.records)
    binary = (few > 127).to(torch.uint8) * 255
    history = fit(small("bernoulli"), binary, epochs=1)
    assert history.kind == "mass"
    assert all(r["objective"] is None and math.isfinite(r["elbo"]) for r in history.records)


def test_floats_go_in_as_given(few: Tensor) -> None:
    x = (few.float() + 0.5) / 256
    history = fit(small("beta"), x, epochs=1)
    assert math.isfinite(history.epochs()[0]["elbo"])


def test_vectors(tmp_path: Path) -> None:
    x = torch.rand(200, 5)
    history = fit(small("normal-learned-sigma", (5,)), x, 0.1, epochs=3, out=tmp_path / "run")
    assert len(history.epochs("held-out")) == 3
    assert (tmp_path / "run" / "reconstructions.png").is_file()


def test_a_run_folder_holds_the_run(few: Tensor, tmp_path: Path) -> None:
    vae = small("normal-learned-sigma")
    history = fit(vae, few, few[:40], epochs=2, out=tmp_path / "run", data={"name": "x"})
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names - {"events"} == {  # TensorBoard's, where it is installed
        *("config.json", "model.safetensors", "metrics.jsonl"),
        *("reconstructions.png", "samples.png", "curves.png"),
        *("manifest.jsonl", ".lock"),
    }
    assert History.read(tmp_path / "run" / "metrics.jsonl").records == history.records
    again = load(tmp_path / "run")
    assert torch.equal(again.reconstruct(few[:5]), vae.reconstruct(few[:5]))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["format"] == 3
    assert config["fit"]["epochs"] == 2
    assert config["data"] == {"name": "x"}


def test_the_last_held_out_record_is_what_evaluate_says(few: Tensor) -> None:
    vae = small()
    history = fit(vae, few, few[:100], epochs=2)
    scores = evaluate(vae, few[:100])
    record = history.epochs("held-out")[-1]
    for key in ("elbo", "reconstruction", "kl", "kl_per_latent"):
        assert record[key] == pytest.approx(scores[key], rel=1e-5), key
    assert record["active_units"] == scores["active_units"]


def test_interruption_saves_what_there_is(few: Tensor, tmp_path: Path) -> None:
    class Impatient:
        def start(self, *words: Any) -> None: ...
        def epoch(self, *records: Any) -> None: ...
        def warn(self, message: str) -> None: ...
        def step(self, step: int) -> None:
            if step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small(), few, epochs=50, out=tmp_path / "run", progress=Impatient())
    assert load(tmp_path / "run").reconstruct(few[:2]).shape == (2, 1, 28, 28)
    assert len(History.read(tmp_path / "run" / "metrics.jsonl").epochs()) == 1


def test_a_loss_that_is_not_finite_stops_training_with_words(few: Tensor, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not finite at step \d+.*learning rate"):
        fit(small(), few, epochs=30, lr=1e18, out=tmp_path / "run")
    assert (tmp_path / "run" / "config.json").is_file()


def test_dropout_is_off_for_held_out_images(few: Tensor) -> None:
    """Their score is that of a model of the same weights that has no dropout at all."""
    vae, plain = (small(hidden=24, dropout=rate) for rate in (0.5, 0.0))
    history = fit(vae, few, few[:100], epochs=1, lr=1e-12, init_from_data=False)
    with torch.no_grad():
        for own, other in zip(plain.parameters(), vae.parameters(), strict=True):
            own.copy_(other)
    wanted = evaluate(plain, few[:100])["elbo"]
    assert history.epochs("held-out")[0]["elbo"] == pytest.approx(wanted, rel=1e-5)
    assert abs(history.epochs()[0]["elbo"] - wanted) > 1  # in training it is on


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"batch_size": 1.5}, "batch-size must be a positive integer"),
        ({"lr": -1e-3}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"beta": -1.0}, "beta"),
        ({"beta": math.inf}, "beta"),
        ({"seed": -1}, "seed"),
        ({"optimizer": "adams"}, "did you mean 'adam'"),
        ({"lr_schedule": "cosinus"}, "did you mean 'cosine'"),
        ({"elbo": "iwea:5"}, "iwae"),
        ({"target_kl": 0.0}, "target-kl"),
        ({"target_kl": math.inf}, "target-kl"),
        ({"target_kl": 5.0, "target_reconstruction": 1.0}, "exclude"),
        ({"clip": 0.0}, "clip"),
        ({"average": 1.0}, "average"),
        ({"patience": 0}, "patience"),
        ({"augment": ["flop"]}, "did you mean 'flip'"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"validation": 1.5}, "fraction"),
    ],
    ids=str,
)
def test_mistakes_in_options(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    images = torch.zeros((10, 1, 28, 28), dtype=torch.uint8)
    with pytest.raises(InputError, match=words):
        fit(small(), images, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("obs", ["bernoulli", "continuous-bernoulli", "normal", "beta"])
@pytest.mark.parametrize(
    ("low", "high", "cause"),
    [(0.0, 255.0, "levels 0 to 255"), (-1.0, 1.0, r"-1\.\.1"), (0.0, 90.0, "unit of their own")],
    ids=["0..255", "-1..1", "0..90"],
)
def test_floats_outside_the_support_are_told_with_their_causes(
    obs: str, low: float, high: float, cause: str, tmp_path: Path
) -> None:
    images = torch.linspace(low, high, 4 * 784).reshape(4, 1, 28, 28)
    found = rf"{obs} wants data in \[0, 1\], got values from {low:g} to {high:g}; .*{cause}"
    with pytest.raises(InputError, match=found):
        fit(small(obs), images, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_exact_zeros_and_ones_are_refused_where_the_density_is_infinite() -> None:
    with pytest.raises(InputError, match="infinite density at 0 or 1"):
        fit(small("beta"), torch.linspace(0, 1, 4 * 784).reshape(4, 1, 28, 28))


def test_settings_are_plain_data() -> None:
    settings = FitConfig.of(epochs=3, beta=0.5, augment=["flip"])
    assert FitConfig.of(**json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_discrete_family_takes_the_levels_themselves(few: Tensor) -> None:
    def binomial(logits: Tensor) -> Any:
        return dist.Binomial(255, logits=logits)

    head = Head.of(binomial, logits=Param(link="identity"), levels="levels", kind="mass")
    vae = small(head)
    history = fit(vae, few, epochs=2)
    assert history.epochs()[1]["elbo"] > history.epochs()[0]["elbo"]
    assert torch.equal(vae.observe(few), few.float())
