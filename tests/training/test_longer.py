"""Runs that train longer than they began with."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae import InputError
from pyro_vae.training import History, RunConfig, Stopped, read_config
from pyro_vae.training.run_data import load_data

from .stopping import StopAt, told

pytestmark = pytest.mark.usefixtures("no_pictures")

# 4 steps an epoch.
TINY: dict[str, Any] = {"images": 64, "hidden": 8, "latent_dim": 2, "batch_size": 16, "lr": 0.01}


def stopped(out: Path, at: int, **options: Any) -> Path:
    with pytest.raises(Stopped):
        RunConfig.of(**TINY, **options).run(out, progress=StopAt(at))
    return out


def finished(out: Path, **options: Any) -> Path:
    RunConfig.of(**TINY, **options).run(out)
    return out


def note_of(history: History) -> str:
    (note,) = [note for note in history.notes if note.startswith("goes on")]
    return note


def same_weights(one: pv.VAE, other: pv.VAE) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_a_stopped_run_ends_as_one_that_was_meant_to_be_longer(tmp_path: Path) -> None:
    """Bit-identical, where no schedule depends on the length."""
    whole = RunConfig.of(**TINY, epochs=5, target_kl=3.0).run()
    run = stopped(tmp_path / "run", 6, epochs=3, target_kl=3.0)
    found = pv.resume(run, epochs=5)
    assert told(found.history) == told(whole.history)
    assert same_weights(found.vae, whole.vae)
    assert note_of(found.history).startswith(
        "goes on after epoch 1 to 5: the learning rate is 0.01;"
    )
    config = read_config(run)
    assert config["fit"]["epochs"] == config["options"]["epochs"] == 5


def test_a_finished_run_counts_on_from_its_weights(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", epochs=2)
    before, records = pv.load(run), History.read(run / "metrics.jsonl").records
    untouched = pv.resume(shutil.copytree(run, tmp_path / "copy"), epochs=3)
    assert not same_weights(untouched.vae, before)
    history = untouched.history
    assert history.records[: len(records)] == records
    assert [record["step"] for record in history.steps] == list(range(1, 13))
    assert [record["epoch"] for record in history.epochs()] == [1, 2, 3]
    assert [record["epoch"] for record in history.epochs("held-out")] == [1, 2, 3]
    assert History.read(tmp_path / "copy" / "metrics.jsonl").records == history.records
    assert note_of(history) == (
        "goes on after epoch 2 to 3, from its weights, with a fresh optimiser: "
        "the learning rate is 0.01; β stays 1"
    )
    assert same_weights(pv.load(tmp_path / "copy"), untouched.vae)
    with_rate(run, 1e-30)
    assert same_weights(pv.resume(run, epochs=3).vae, before)


def with_rate(run: Path, lr: float) -> None:
    """Give a finished run another learning rate, which no option does."""
    config = json.loads((run / "config.json").read_text())
    config["fit"]["lr"] = lr
    (run / "config.json").write_text(json.dumps(config))


def cosine(step: int, total: int) -> float:
    return 0.01 * (1 + math.cos(math.pi * step / total)) / 2


def stepped(step: int, total: int) -> float:
    return 0.01 * 0.1 ** (step // (total // 3))


@pytest.mark.parametrize("begin", [stopped, finished])
@pytest.mark.parametrize("name", ["cosine", "step", "constant"])
def test_the_learning_rate_is_that_of_all_epochs(
    name: str, begin: Callable[..., Path], tmp_path: Path
) -> None:
    curve = {"cosine": cosine, "step": stepped, "constant": lambda step, total: 0.01}[name]
    how = {"at": 6} if begin is stopped else {}
    run = begin(tmp_path / "run", epochs=3, lr_schedule=name, lr_warm_up=2, **how)
    done = 6 if how else 12
    history = pv.resume(run, epochs=6).history
    rates = [record["learning_rate"] for record in history.steps]
    assert len(rates) == 24
    warm = {0: 0.5, 1: 0.75}
    assert rates[:done] == pytest.approx(
        [curve(step, 12) * warm.get(step, 1) for step in range(done)], rel=1e-5
    )
    assert rates[done:] == pytest.approx([curve(step, 24) for step in range(done, 24)], rel=1e-5)
    assert f"is {curve(done, 24):.3g}" in note_of(history)


@pytest.mark.parametrize("begin", [stopped, finished])
def test_beta_counts_from_the_first_step(begin: Callable[..., Path], tmp_path: Path) -> None:
    how = {"at": 6} if begin is stopped else {}
    run = begin(tmp_path / "run", epochs=3, beta="linear:0,1,epochs=5", **how)
    history = pv.resume(run, epochs=6).history
    wanted = [min(step / 20, 1) for step in range(24)]
    assert [record["beta"] for record in history.steps] == pytest.approx(wanted)
    here = 0.3 if how else 0.6
    said = f"β is {here} here, linear:0,1,steps=20 counts from the first step"
    assert note_of(history).endswith(said)


def test_a_controlled_beta_goes_on_where_it_was(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", epochs=4, target_kl=0.5)
    history = pv.resume(run, epochs=5).history
    betas = [record["beta"] for record in history.steps]
    assert abs(betas[15] - 1) > 0.05
    assert betas[16] == pytest.approx(betas[15], rel=1e-6)


def test_the_best_weights_so_far_are_not_lost(tmp_path: Path) -> None:
    """What follows is worse: σ must not rise from a learning rate that throws all weights about."""
    run = finished(tmp_path / "run", epochs=3, keep_best=True)
    before = pv.load(run)
    with_rate(run, 0.7)
    found = pv.resume(run, epochs=6)
    scores = [record["elbo"] for record in found.history.epochs("held-out")]
    assert max(scores[3:]) < max(scores[:3])
    assert same_weights(found.vae, before)


def test_patience_begins_anew_with_the_weights_that_there_are(tmp_path: Path) -> None:
    slow = {**TINY, "lr": 1e-30}
    RunConfig.of(**slow, epochs=9, patience=2).run(tmp_path / "run")
    assert len(History.read(tmp_path / "run" / "metrics.jsonl").epochs()) == 3
    assert len(pv.resume(tmp_path / "run", epochs=9).history.epochs()) == 5


def test_a_plateaus_rate_stays_low(tmp_path: Path) -> None:
    slow = {**TINY, "lr": 1e-20}
    RunConfig.of(**slow, epochs=13, lr_schedule="plateau").run(tmp_path / "run")
    rates = [r["learning_rate"] for r in pv.resume(tmp_path / "run", epochs=14).history.epochs()]
    assert rates == pytest.approx([1e-20] * 12 + [1e-21] * 2, rel=1e-5)


def test_a_run_that_is_cut_short_again_goes_on_to_its_new_end(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", epochs=2)
    whole = pv.resume(shutil.copytree(run, tmp_path / "whole"), epochs=4)
    with pytest.raises(Stopped):
        pv.resume(run, epochs=4, progress=StopAt(11))
    found = pv.resume(run)
    assert told(found.history) == told(whole.history)
    assert same_weights(found.vae, whole.vae)
    # Also where it was killed, so that its configuration is still that of its first end.
    run = finished(tmp_path / "killed", epochs=2)
    config = (run / "config.json").read_bytes()
    with pytest.raises(Stopped):
        pv.resume(run, epochs=4, progress=StopAt(11))
    (run / "config.json").write_bytes(config)
    assert told(pv.resume(run).history) == told(whole.history)


def test_parts_and_bits_stay_what_they_were(tmp_path: Path) -> None:
    options = {"obs": "bernoulli", "binarise": "fixed:4", "validation": "last:30", "epochs": 1}
    run = finished(tmp_path / "run", **options)
    before = read_config(run)
    found = pv.resume(run, epochs=2)
    assert {r["part"] for r in found.history.epochs("held-out")} == {"validation"}
    after = read_config(run)
    assert after["images"] == before["images"]
    assert after["data"] == before["data"]
    assert after["data"]["binarised"]["validation"]["images"] == 30


def test_scores_of_the_weights_that_it_had_go(cli: Callable[..., Result], tmp_path: Path) -> None:
    words = ("--images", 64, "--hidden", 8, "--latent-dim", 2, "--epochs", 1)
    assert cli("fit", *words, "--out", "run").exit_code == 0
    assert cli("evaluate", "run").exit_code == 0
    (tmp_path / "run" / "mine.txt").write_text("mine")
    assert (tmp_path / "run" / "evaluation.json").is_file()
    said = cli("fit", "--resume", "run", "--epochs", 2)
    assert said.exit_code == 0, said.output
    assert "goes on after epoch 1 to 2, from its weights, with a fresh optimiser" in said.stderr
    assert not (tmp_path / "run" / "evaluation.json").exists()
    assert not (tmp_path / "run" / "latents.png").exists()
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"
    assert len(History.read(tmp_path / "run" / "metrics.jsonl").epochs()) == 2
    assert cli("evaluate", "run", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "is finished: there is nothing to resume; to train longer, give --epochs"),
        (("--epochs", 2), "epochs must be more than the 2 that"),
        (("--epochs", 1), "epochs must be more than the 2 that"),
        (("--epochs", 0), "epochs must be a positive integer"),
        (("--epochs", 3, "--lr", 1), "leave out --lr"),
        (("--epochs", 3, "--validation", "0.1"), "leave out --validation"),
    ],
    ids=str,
)
def test_mistakes(
    words: tuple[object, ...], said: str, mistake: Callable[..., str], tmp_path: Path
) -> None:
    finished(tmp_path / "run", epochs=2)
    assert said in mistake("fit", "--resume", "run", *words)


def test_without_records_nobody_knows_how_far_it_was(
    mistake: Callable[..., str], tmp_path: Path
) -> None:
    finished(tmp_path / "run", epochs=2)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    said = mistake("fit", "--resume", "run", "--epochs", 3)
    assert "has no records in metrics.jsonl" in said


def test_other_images_are_refused(mistake: Callable[..., str], tmp_path: Path) -> None:
    import numpy as np

    levels = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "a.npy", levels)
    own = {**TINY, "data": str(tmp_path / "a.npy"), "epochs": 1}
    RunConfig.of(**own).run(tmp_path / "run")
    np.save(tmp_path / "a.npy", 255 - levels)
    assert "trained on other images than these" in mistake("fit", "--resume", "run", "--epochs", 2)


def test_python_says_so_too(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", epochs=1)
    with pytest.raises(InputError, match="epochs must be more than the 1 that"):
        pv.resume(run, epochs=1)
    with pytest.raises(InputError, match="epochs must be a positive integer, got 'many'"):
        pv.resume(run, epochs="many")  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_processes_have_one_validation_part_and_train_longer(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "-m", "pyro_vae_cli", "fit"]
    out = tmp_path / "run"
    words = ["--obs", "bernoulli", "--binarise", "fixed:4", "--keep-best", "--images", "64"]
    words += ["--hidden", "8", "--latent-dim", "2", "--batch-size", "16", "--out", str(out)]
    subprocess.run([*torchrun, *words, "--epochs", "2"], check=True, timeout=300)
    assert read_config(out)["images"]["held_out"] == 64
    subprocess.run([*torchrun, "--resume", str(out), "--epochs", "3"], check=True, timeout=300)
    history = History.read(out / "metrics.jsonl")
    assert [record["step"] for record in history.steps] == list(range(1, 13))
    assert [record["part"] for record in history.epochs("held-out")] == ["validation"] * 3
    found, described = load_data(None, None, False, read_config(out))
    assert described["changed"] is None
    best = max(record["elbo"] for record in history.epochs("held-out"))
    assert pv.evaluate(pv.load(out), found.validation, parts=())["elbo"] == pytest.approx(best)
