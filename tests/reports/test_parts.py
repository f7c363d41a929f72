"""Parts of a report: strips of pixels, traversals, settings and the names of runs."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pyro_vae as pv
from pyro_vae.reports.differences import settings_of, short
from pyro_vae.reports.run_views import Shelf, look
from pyro_vae.reports.runs import Found, find_runs, number, printable, read_run
from pyro_vae.reports.strips import strip, write_sheet
from tests.reports.conftest import HEALTHY, Reported, add_run

pytestmark = pytest.mark.usefixtures("pictures")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strip_holds_the_levels_themselves(channels: int) -> None:
    levels = torch.randint(256, (3, channels, 5, 4), dtype=torch.uint8)
    image = np.asarray(Image.open(io.BytesIO(strip(levels.float() / 255))))
    assert image.shape == (5, 3 * 4 + 2, channels + 1)
    for i, picture in enumerate(levels.numpy()):
        assert (image[:, 5 * i : 5 * i + 4, :channels] == picture.transpose(1, 2, 0)).all()
    assert (image[:, [4, 9], channels] == 0).all()


def test_a_strip_of_vectors_is_a_pixel_high() -> None:
    image = np.asarray(Image.open(io.BytesIO(strip(torch.tensor([[0.0, 1.0], [0.5, 2.0]])))))
    assert image[0, :, 0].tolist() == [0, 255, 0, 128, 255]


def test_a_sheet_is_on_one_scale(tmp_path: Path) -> None:
    rows = [("black", torch.zeros(2, 1, 28, 28)), ("<white> & β", torch.ones(2, 1, 28, 28))]
    write_sheet(rows, "a <title>", tmp_path / "sheet.of=1.5")
    image = np.asarray(Image.open(tmp_path / "sheet.of=1.5.png"))
    assert image[40, 140].tolist() == [0, 0, 0]
    assert image[110, 140].tolist() == [255, 255, 255]
    text = (tmp_path / "sheet.of=1.5.svg").read_text(encoding="utf-8")
    assert "&lt;white&gt; &amp; β" in text


def _looked(folder: Path) -> tuple[Found, Any]:
    run = read_run(folder.name, folder)
    return run, look(run, Shelf())


def test_pictures_are_of_the_same_held_out_inputs(reported: Reported) -> None:
    images = pv.data.load("mnist-5k").test[:8]
    run, looks = _looked(reported.folder / HEALTHY)
    assert torch.equal(looks.inputs, images.float() / 255)
    vae = pv.load(run.folder)
    assert torch.allclose(looks.pictures["mean"], vae.reconstruct(images), atol=1e-6)
    assert set(looks.pictures) == {"mean", "sample", "parameter"}
    assert looks.split == "held-out"


def test_a_traversal_moves_one_unit_at_a_time(reported: Reported) -> None:
    run, looks = _looked(reported.folder / HEALTHY)
    found = looks.traversal
    kl = run.scores["kl_per_latent"]
    assert list(found.units) == sorted(range(3), key=lambda i: -kl[i])
    assert found.along[0] == -3
    assert found.along[-1] == 3
    vae = pv.load(run.folder)
    with torch.no_grad():
        z = vae.encode((pv.data.load("mnist-5k").test[:1].float() + 0.5) / 256).mean
        for step, place in ((0, 1), (7, 0), (10, 2)):
            moved = z.clone()
            moved[0, found.units[place]] = found.along[step]
            wanted = vae.decode(moved).mean[0]
            assert torch.allclose(found.frames[step, place], wanted, atol=1e-5)


def test_coloured_files_and_counts(tmp_path: Path) -> None:
    images = torch.randint(256, (80, 3, 6, 6), dtype=torch.uint8).numpy()
    np.savez(tmp_path / "colour.npz", train=images[:64], test=images[64:])
    options: dict[str, Any] = {"data": str(tmp_path / "colour.npz"), "images": None}
    _, looks = _looked(add_run(tmp_path / "colour", obs="normal", **options))
    assert looks.inputs.shape == (8, 3, 6, 6)
    assert torch.equal((looks.inputs * 255).round().byte(), torch.from_numpy(images[64:72]))
    run, looks = _looked(add_run(tmp_path / "counts", obs="poisson", **options))
    assert looks.inputs is looks.traversal is None
    assert run.scores["images"] == 16
    (tmp_path / "colour.npz").unlink()
    run, looks = _looked(tmp_path / "colour")
    assert looks.inputs is None
    assert any("no pictures, no diagnosis" in remark for remark in run.remarks)
    assert pv.report(tmp_path).is_file()


def test_runs_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["beta=0.5/seed-0", "beta=4/seed-0", "beta=4/seed-10", "beta=16/seed-2", "other"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / ".hidden" / "run").mkdir(parents=True)
    (tmp_path / ".hidden" / "run" / "config.json").write_text("{}")
    assert [name for name, _ in find_runs([tmp_path])] == names
    twice = find_runs([tmp_path / "other", tmp_path / "other"])
    assert [name for name, _ in twice] == ["other"]


def _run(name: str, **fit: Any) -> Found:
    obs = fit.pop("obs", "normal")
    head = {"name": obs, "levels": f"of {obs}", "kind": f"that of {obs}"}
    prior = {"name": "standard-normal"}
    vae = {"sites": [{"site": "latent", "dim": 2, "prior": prior}, {"site": "obs", "head": head}]}
    return Found(name, Path(name), {"format": 2, "vae": vae, "fit": fit, "data": {"root": name}})


def test_settings_tell_runs_apart_in_few_words() -> None:
    runs = [
        _run("a", beta="1", seed=0, lr=0.1),
        _run("b", beta="1", seed=1, lr=0.1),
        _run("c", beta="4", seed=0, lr=0.1),
        _run("d", beta="4", seed=0, lr=0.1, obs="beta"),
        Found("e", Path("e")),
    ]
    found = settings_of(runs)
    assert found.differing == ("vae.obs.head.name", "vae.obs.head.levels", "fit.beta", "fit.seed")
    assert found.common == {
        "vae.latent.dim": "2",
        "vae.latent.prior.name": "standard-normal",
        "fit.lr": "0.1",
    }
    said = ["vae.latent.prior.name", "vae.latent.dim", "vae.obs.scale.scope", "fit.lr", "kind"]
    assert list(map(short, said)) == ["prior", "latent.dim", "scale", "lr", "kind"]
    assert found.cells["a"] == found.cells["b"] == "obs=normal, beta=1"
    assert found.families["a"] == found.families["c"] == "obs=normal"
    assert found.families["d"] == "obs=beta"
    assert "e" not in found.rows


NO_NUMBERS: list[Any] = [None, True, "1", float("nan"), float("inf"), 10**400, [1], {}]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: f"{value!r:.12}")
def test_what_is_no_number_is_none(value: Any) -> None:
    assert number({"a": {"b": value}}, "a", "b") is None
    assert number({"a": {"b": 2}}, "a", "b") == 2.0


def test_long_values_are_cut_and_still_differ() -> None:
    configs = [{"note": "x" * 100_000 + end} for end in "ab"]
    settings = settings_of([Found(f"{i}", Path(), config) for i, config in enumerate(configs)])
    first, second = (settings.rows[name]["note"] for name in ("0", "1"))
    assert settings.differing == ("note",)
    assert first != second
    assert max(len(first), len(second)) < 300
    assert "100,001 characters" in first


CALIBRATIONS: dict[str, Any] = {
    "words": "x",
    "no integrals": {"pit_distance": 0.1, "images": 2},
    "few integrals": {"pit": [0.5, 0.5]},
    "no numbers": {"pit": ["a"] * 20},
    "coverage": {"coverage": [0.5, 0.9]},
    "map": {"neighbours": {"beside": 0.1, "below": 0.1, "map": [1, 2]}},
    "distance": {"pit_distance": None},
}


@pytest.mark.parametrize("case", list(CALIBRATIONS))
def test_a_damaged_calibration_is_made_anew(reported: Reported, tmp_path: Path, case: str) -> None:
    shutil.copytree(reported.folder / HEALTHY, tmp_path / "run")
    file = tmp_path / "run" / "evaluation.json"
    scores = json.loads(file.read_text())
    given, whole = CALIBRATIONS[case], case in ("words", "no integrals")
    scores["calibration"] = given if whole else {**plain(reported), **given}
    file.write_text(json.dumps(scores))
    run = read_run("run", tmp_path / "run")
    looks = look(run, Shelf())
    assert any("the calibration in evaluation.json is damaged" in fault for fault in run.faults)
    assert looks is not None
    assert looks.calibration == plain(reported)


def plain(reported: Reported) -> dict[str, Any]:
    """A whole calibration: the one that is made where the evaluation has none."""
    run = read_run("run", reported.folder / HEALTHY)
    run.scores.pop("calibration", None)
    looks = look(run, Shelf())
    assert looks is not None
    assert looks.calibration is not None
    return looks.calibration


def test_a_whole_calibration_is_taken_as_it_is(reported: Reported, tmp_path: Path) -> None:
    shutil.copytree(reported.folder / HEALTHY, tmp_path / "run")
    file = tmp_path / "run" / "evaluation.json"
    known = {**plain(reported), "pit_distance": 0.123}
    file.write_text(json.dumps({**json.loads(file.read_text()), "calibration": known}))
    run = read_run("run", tmp_path / "run")
    looks = look(run, Shelf())
    assert run.faults == []
    assert looks is not None
    assert looks.calibration is not None
    assert looks.calibration["pit_distance"] == 0.123


def test_runs_of_one_name_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    places = ["one/x/run", "two/x/run", "two/y/run"]
    for place in places:
        (tmp_path / place / "checkpoints").mkdir(parents=True)
        (tmp_path / place / "config.json").write_text("{}")
    names = [name for name, _ in find_runs([tmp_path / place for place in places])]
    assert names == ["one/x/run", "two/x/run", "y/run"]


def test_a_name_that_is_no_utf_8_can_be_written() -> None:
    assert printable(os.fsdecode(b"a/\xff")) == "a/\\xff"
    assert printable("a/β 😀") == "a/β 😀"
