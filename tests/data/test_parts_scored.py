"""What chooses looks at the validation part; what is reported is of the test part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import InputError, data
from pyro_vae.data.parts import Asked, parted
from pyro_vae.training import RunConfig
from pyro_vae.training.run_data import load_data

from .parted import SMALL, TINY, Run, as_array, image, numbers, parted_file, three

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    "chosen", [{"keep_best": True}, {"patience": 9}, {"lr_schedule": "plateau"}], ids=str
)
def test_what_chooses_takes_a_tenth_and_never_looks_at_test(
    chosen: dict[str, Any], tmp_path: Path
) -> None:
    """With other test images the run is the same to the last bit."""
    states = []
    for number in range(2):
        (tmp_path / f"{number}").mkdir()
        path = parted_file(tmp_path / f"{number}")
        with np.load(path) as archive:
            arrays = {**archive}
        if number:
            arrays["test"] = 255 - arrays["test"]
        np.savez(path, **arrays)
        run = RunConfig.of(data=path, **{**TINY, "epochs": 8, "lr": 0.01}, **chosen)
        vae, history, found = run.run()
        assert int(found.test[0, 0, 0, 0]) == (155 if number else 100)
        assert (len(found.train), len(found.validation), len(found.test)) == (36, 4, 20)
        (note,) = [note for note in history.notes if "validation" in note]
        assert note.startswith("validation part: 4 of 40 training images, always the same: ")
        assert note.endswith(" chooses by them, not by the test part")
        records = history.epochs("held-out")
        assert {record["part"] for record in records} == {"validation"}
        states.append({**vae.state_dict(), "scores": torch.tensor([r["elbo"] for r in records])})
        if "keep_best" in chosen:
            best = max(record["elbo"] for record in records)
            kept = pv.evaluate(vae, found.validation, parts=())["elbo"]
            assert kept == pytest.approx(best, rel=1e-5)
    assert len(states[0]) > 4
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_where_nothing_chooses_nothing_is_taken(tmp_path: Path) -> None:
    run = RunConfig.of(data=parted_file(tmp_path), **TINY).run()
    assert len(run.data.train) == 40
    assert run.data.validation is None
    assert [record["part"] for record in run.history.epochs("held-out")] == ["test"]


def test_a_run_of_an_earlier_version_is_as_it_was(tmp_path: Path) -> None:
    """Its best weights were chosen by the test part, and its folder says nothing of another."""
    path = parted_file(tmp_path)
    RunConfig.of(data=path, **TINY).run(tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    config["fit"]["keep_best"] = config["options"]["keep_best"] = True
    del config["options"]["validation"]
    file.write_text(json.dumps(config))
    found, described = load_data(None, None, False, pv.training.read_config(tmp_path / "run"))
    assert (len(found.train), found.validation, len(found.test)) == (40, None, 20)
    assert described["changed"] is None


def test_evaluate_scores_the_part_that_is_asked_for(cli: Run, tmp_path: Path) -> None:
    path = parted_file(tmp_path)
    assert cli("fit", "--data", path, "--keep-best", "--out", "run", *SMALL).exit_code == 0
    vae, files = pv.load(tmp_path / "run"), {*(tmp_path / "run").iterdir()}
    found, _ = load_data(None, None, False, pv.training.read_config(tmp_path / "run"))
    elbos = {}
    for part, count in {"validation": 4, "train": 36, "test": 20}.items():
        told = json.loads(cli("evaluate", "run", "--part", part, "--json").stdout)
        by_hand = pv.evaluate(vae, getattr(found, part), parts=())
        assert (told["part"], told["images"]) == (part, count)
        assert told["elbo"] == by_hand["elbo"]
        elbos[part] = told["elbo"]
        left = {*(tmp_path / "run").iterdir()} - files
        assert bool(left) == (part == "test")
    assert len({*elbos.values()}) == 3
    said = cli("evaluate", "run").stdout.splitlines()[0]
    assert said.endswith("on these 20 images, the test part")
    said = cli("evaluate", "run", "--part", "validation").stdout.splitlines()[0]
    assert said.endswith("on these 4 images, the validation part")
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (kept["part"], kept["elbo"]) == ("test", elbos["test"])


def test_a_part_that_is_not_there(cli: Run, mistake: Callable[..., str], tmp_path: Path) -> None:
    assert cli("fit", "--data", parted_file(tmp_path), "--out", "run", *SMALL).exit_code == 0
    said = mistake("evaluate", "run", "--part", "validation")
    assert "run has no validation part" in said
    assert "fit --validation makes one" in said


def test_the_columns_and_the_diagnosis_name_the_part(cli: Run, tmp_path: Path) -> None:
    path = as_array(tmp_path)
    words = ("fit", "--data", path, "--out", "run", *SMALL)
    assert "| held-out " in cli(*words).stderr
    said = cli(*words, "--validation", "0.2", "--overwrite")
    assert "60 images 1x8x8, levels 0 to 255, 43 train, 11 validation and 6 test" in said.stderr
    assert "| validation " in said.stderr
    told = json.loads(cli("diagnose", "run", "--json").stdout)
    assert told["part"] == "validation"
    assert "evidence from 11 validation images" in cli("diagnose", "run").stdout


def test_an_array_may_grow_and_each_image_keeps_its_part(tmp_path: Path) -> None:
    path = as_array(tmp_path)
    before = RunConfig.of(data=path, validation=0.2, **TINY).run(tmp_path / "run").data
    np.save(path, np.stack([image(i) for i in range(80)]))
    now = parted(data.load(path), Asked("0.2")).data
    assert {*numbers(now.validation)} & {*numbers(before.train)}  # else there is nothing to mend
    found, said = load_data(None, None, False, pv.training.read_config(tmp_path / "run"))
    assert said["changed"].startswith(f"{path} has changed since fit, 60 images then and 80 now")
    assert sorted(numbers(found.test)) == sorted(numbers(before.test))
    assert sorted(numbers(found.validation)) == sorted(numbers(before.validation))
    held_out = {*numbers(before.test), *numbers(before.validation)}
    assert {*numbers(found.train)} == {*numbers(now.train)} - held_out


def test_a_comparison_chooses_by_validation_and_reports_test(tmp_path: Path) -> None:
    base = {**TINY, "data": parted_file(tmp_path), "keep_best": True}
    spec = {"base": base, "grid": {"lr": [0.01]}}
    (row,) = pv.compare(spec, tmp_path / "out").rows
    found, _ = load_data(None, None, False, pv.training.read_config(row.folder))
    vae = pv.load(row.folder)
    for prefix, part in (("validation.", found.validation), ("", found.test)):
        assert row.scores[f"{prefix}elbo"] == pv.evaluate(vae, part, parts=())["elbo"]
        assert row.scores[f"{prefix}images"] == len(part)
    kept = json.loads((row.folder / "evaluation.json").read_text())
    assert (kept["part"], kept["images"], "validation" in kept) == ("test", 20, False)
    (plain,) = pv.compare({**spec, "base": {**base, "keep_best": False}}, tmp_path / "plain").rows
    assert not any(name.startswith("validation.") for name in plain.scores)


def test_runs_that_chose_by_the_test_part_are_not_taken_for_these(tmp_path: Path) -> None:
    base = {**TINY, "data": parted_file(tmp_path), "keep_best": True}
    spec = {"base": base, "grid": {"lr": [0.01]}}
    (row,) = pv.compare(spec, tmp_path / "out").rows
    result = json.loads((row.folder / "result.json").read_text())
    del result["options"]["validation"]
    result["fingerprint"] = "an earlier version's"
    (row.folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(InputError, match="keep-best chose by the test part then"):
        pv.compare(spec, tmp_path / "out")


def test_paths_of_a_spec_are_relative_to_it(tmp_path: Path, cli: Run) -> None:
    three(tmp_path / "specs" / "d")
    (tmp_path / "specs" / "s.toml").write_text(
        'base = { data = "d/train", validation = "d/val", epochs = 1, hidden = 8 }\n'
        "grid = { latent-dim = [2] }\n"
    )
    said = cli("compare", "specs/s.toml", "--out", "out")
    assert said.exit_code == 0, said.output
    (config,) = Path("out").glob("*/seed-0/config.json")
    images = json.loads(config.read_text())["images"]
    assert (images["train"], images["held_out"]) == (18, 20)
