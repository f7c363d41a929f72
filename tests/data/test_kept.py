"""What was held out stays held out, whatever becomes of the data; and few images are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae import InputError, data, elbo, warning_signs
from pyro_vae.data import stored
from pyro_vae.data.kept import as_kept, digests_of, kept_of

from .pictures import noise, save

pytestmark = pytest.mark.usefixtures("no_pictures")

SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)


def contents(images: Any) -> set[bytes]:
    return {bytes(image.numpy()) for image in images[:]}


def trained(path: Path, out: Path) -> tuple[data.Data, dict[str, Any]]:
    """The data that a run is trained on by its recipe, and the run's configuration."""
    from pyro_vae.training import RunConfig

    recipe = RunConfig.of(data=str(path), epochs=1, hidden=8, latent_dim=2)
    found = recipe.run(out)
    return found.data, pv.training.read_config(out)


def files(path: Path, count: int = 60) -> Path:
    for i in range(count):
        save(path / f"{i:03}.png", noise(i, 8, 8))
    return path


def grown(path: Path) -> None:
    save(path / "0-first.png", noise(1000, 8, 8))
    save(path / "z-last.png", noise(1001, 8, 8))


def renamed(path: Path) -> None:
    for i, file in enumerate(sorted(path.iterdir())):
        file.rename(path / f"x{(7 * i) % 60:03}.png")


def names_given_anew(path: Path) -> None:
    """What was trained on has a name now that an image held out had."""
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for old, new in zip(before, reversed(before), strict=True):
        (path / new).write_bytes(before[old])


def fewer(path: Path) -> None:
    for i in range(0, 60, 3):
        (path / f"{i:03}.png").unlink()


CHANGES = [grown, renamed, names_given_anew, fewer]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("on_disk", [False, True])
def test_no_image_that_was_trained_on_is_held_out(
    tmp_path: Path, change: Callable[[Path], None], on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, config = trained(files(tmp_path / "d"), tmp_path / "run")
    train, held_out = contents(before.train), contents(before.test)
    change(tmp_path / "d")
    monkeypatch.setattr(stored, "IN_MEMORY", 0 if on_disk else 0.25)
    now = data.load(str(tmp_path / "d"))
    assert contents(now.test) & train  # else nothing has to be mended
    found, said = as_kept(now, config, "d", same=True)
    everything = contents(now.train) | contents(now.test)
    assert contents(found.test) == held_out & everything
    assert contents(found.train) == contents(now.train) - held_out
    assert not contents(found.test) & train
    assert said is not None
    assert f"d has changed since fit, 60 images then and {len(everything)} now" in said
    assert f"only the {len(held_out & everything)} images" in said


@pytest.mark.parametrize("kind", ["folder", "npy", "npz", "three"])
def test_what_has_not_changed_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("d" if kind in ("folder", "three") else f"d.{kind}")
    images = np.stack([noise(i, 8, 8) for i in range(60)])
    if kind == "folder":
        files(path)
    elif kind == "three":
        for part in ("train", "val", "test"):
            files(path / part, 6)
    elif kind == "npy":
        np.save(path, images)
    else:
        np.savez(path, train=images[:50], test=images[50:])
    before, config = trained(path, tmp_path / "run")
    now = data.load(str(path))
    found, said = as_kept(now, config, "d", same=True)
    assert said is None
    assert torch.equal(found.test, before.test)
    assert torch.equal(found.train, before.train)


def test_an_array_that_has_grown_keeps_what_was_held_out(tmp_path: Path) -> None:
    images = np.stack([noise(i, 8, 8) for i in range(70)])
    np.save(tmp_path / "a.npy", images[:60])
    before, config = trained(tmp_path / "a.npy", tmp_path / "run")
    np.save(tmp_path / "a.npy", images)
    now = data.load(str(tmp_path / "a.npy"))
    assert contents(now.test) & contents(before.train)
    found, said = as_kept(now, config, "a", same=True)
    assert contents(found.test) == contents(before.test)
    assert said is not None


def test_labels_go_with_their_images(tmp_path: Path) -> None:
    for i in range(60):
        save(tmp_path / "d" / "abc"[i % 3] / f"{i:03}.png", noise(i, 8, 8) // 8 + 50 * (i % 3))
    _, config = trained(tmp_path / "d", tmp_path / "run")
    save(tmp_path / "d" / "a" / "0-first.png", noise(99, 8, 8) // 8)
    found, said = as_kept(data.load(str(tmp_path / "d")), config, "d", same=True)
    assert said is not None
    for images, labels in ((found.train, found.train_labels), (found.test, found.test_labels)):
        assert labels is not None
        assert len(labels) == len(images)
        assert torch.equal(images.amin((1, 2, 3)).long() // 50, labels)


def test_images_that_move_from_train_to_test_are_not_scored(tmp_path: Path) -> None:
    for i in range(40):
        save(tmp_path / "d" / ("test" if i < 10 else "train") / f"{i:02}.png", noise(i, 8, 8))
    before, config = trained(tmp_path / "d", tmp_path / "run")
    shutil.move(str(tmp_path / "d" / "train" / "20.png"), tmp_path / "d" / "test" / "20.png")
    found, said = as_kept(data.load(str(tmp_path / "d")), config, "d", same=True)
    assert contents(found.test) == contents(before.test)
    assert said is not None


def test_new_images_in_test_are_scored_where_train_is_as_it_was(tmp_path: Path) -> None:
    for i in range(40):
        save(tmp_path / "d" / ("test" if i < 10 else "train") / f"{i:02}.png", noise(i, 8, 8))
    before, config = trained(tmp_path / "d", tmp_path / "run")
    save(tmp_path / "d" / "test" / "new.png", noise(99, 8, 8))
    found, said = as_kept(data.load(str(tmp_path / "d")), config, "d", same=True)
    assert len(found.test) == 11
    assert said is not None
    shutil.copy(tmp_path / "d" / "train" / "20.png", tmp_path / "d" / "test" / "20.png")
    found, said = as_kept(data.load(str(tmp_path / "d")), config, "d", same=True)
    assert contents(found.test) == contents(before.test)


def test_the_third_part_is_kept_apart_too(tmp_path: Path) -> None:
    for part, count in {"train": 30, "val": 10, "test": 10}.items():
        for i in range(count):
            save(tmp_path / "d" / part / f"{i:02}.png", noise(100 * count + i + len(part), 8, 8))
    before, config = trained(tmp_path / "d", tmp_path / "run")
    assert config["images"]["held_out"] == 10
    shutil.move(str(tmp_path / "d" / "train" / "20.png"), tmp_path / "d" / "test" / "20.png")
    found, said = as_kept(data.load(str(tmp_path / "d")), config, "d", same=True)
    assert contents(found.test) == contents(before.test)
    assert contents(found.validation) == contents(before.validation)
    assert said is not None


def test_another_data_set_is_none_that_has_changed(tmp_path: Path) -> None:
    _, config = trained(files(tmp_path / "d"), tmp_path / "run")
    for i in range(20):
        save(tmp_path / "other" / f"{i}.png", noise(500 + i, 8, 8))
    other = data.load(str(tmp_path / "other"))
    assert as_kept(other, config, "other", same=False) == (other, None)
    found, said = as_kept(other, config, "d", same=True)
    assert found is other
    assert said is not None
    assert "none of the 6 images that were held out" in said


def test_the_command_line_says_so(cli: Callable[..., Result], tmp_path: Path) -> None:
    files(tmp_path / "d")
    first = cli("fit", "--data", "d", "--out", "run", "--json", *SMALL)
    assert first.exit_code == 0, first.stderr
    lines = first.stderr.splitlines()
    assert lines[0] == (f"{tmp_path / 'd'}: 60 images 1x8x8, levels 0 to 255, 54 train and 6 test")
    assert json.loads(first.stdout)["data"]["train"] == 54
    quiet = cli("evaluate", "run", "--json")
    assert "changed" not in quiet.stderr
    assert json.loads(quiet.stdout)["changed"] is None
    grown(tmp_path / "d")
    for command in ("evaluate", "diagnose"):
        told = cli(command, "run", "--json")
        assert told.exit_code in (0, 3 * (command == "diagnose")), told.stderr
        assert "has changed since fit, 60 images then and 62 now" in told.stderr
        found = json.loads(told.stdout)
        assert found["changed"] in told.stderr
    assert "has changed since fit" in cli("reconstruct", "run").stderr


def test_fit_says_first_what_it_passed_over(cli: Callable[..., Result], tmp_path: Path) -> None:
    files(tmp_path / "d")
    (tmp_path / "d" / "x.txt").write_text("no image")
    trained = cli("fit", "--data", "d", "--out", "run", *SMALL)
    assert trained.stderr.splitlines()[0].endswith("; passed over: 1 .txt file")
    assert trained.stderr.count("passed over") == 1


def test_a_run_on_the_first_images_is_one_of_the_same_data(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    files(tmp_path / "d")
    cli("fit", "--data", "d", "--images", 4, "--out", "run", *SMALL)
    assert "changed" not in cli("evaluate", "run").stderr
    told = cli("evaluate", "run", "--data", "d", "--json")
    assert "changed since" not in told.stderr
    assert json.loads(told.stdout)["images"] == 6


def test_a_run_goes_on_with_the_images_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Early:
        def start(self, *args: object) -> None: ...
        def step(self, step: int) -> None: ...
        def warn(self, message: str) -> None: ...
        def epoch(self, *args: object) -> None:
            raise pv.training.Stopped(1)

    x = torch.stack([torch.from_numpy(noise(i, 1, 8, 8)) for i in range(40)])
    vae = pv.VAE((1, 8, 8), 2, "bernoulli", pv.networks.MLP(hidden=4))
    options: dict[str, Any] = {"epochs": 3, "validation": 0.25, "out": tmp_path / "run"}
    with pytest.raises(pv.training.Stopped):
        pv.fit(vae, x, progress=Early(), **options)
    with pytest.raises(InputError, match="other images than these"):
        pv.fit(vae, x.flip(0), resume=True, **options)
    assert len(pv.fit(vae, x, resume=True, **options).epochs()) == 3


# -------------------------------------------------------------------- baselines and few images


def test_the_mean_image_is_that_of_training_images() -> None:
    train = torch.tensor([0.2, 0.4]).view(2, 1).expand(2, 6).repeat(20, 1)
    images = torch.tensor([0.9, 0.5]).view(2, 1).expand(2, 6)
    vae = pv.VAE((6,), 2, "normal", pv.networks.MLP(hidden=4))
    scores = pv.evaluate(vae, images, train=train, parts=())
    assert scores["mse_mean_image"] == pytest.approx((0.6**2 + 0.2**2) / 2, rel=1e-5)
    assert scores["baselines_from"] == "the training images"
    own = pv.evaluate(vae, images, parts=())
    assert own["mse_mean_image"] == pytest.approx(0.2**2, rel=1e-5)
    assert own["baselines_from"] == "these images"


def test_the_constant_is_that_of_training_images() -> None:
    # Bernoulli pixels: the best constant is each pixel's share of ones among training images.
    rng = np.random.default_rng(0)
    train = (rng.random((400, 5)) < [0.1, 0.3, 0.5, 0.7, 0.9]).astype(np.float32)
    images = (rng.random((30, 5)) < 0.5).astype(np.float32)
    vae = pv.VAE((5,), 2, "bernoulli", pv.networks.MLP(hidden=4))
    share = train.mean(0).astype(np.float64)
    by_hand = (images * np.log(share) + (1 - images) * np.log1p(-share)).sum(1).mean()
    found = pv.evaluate(vae, images, train=train, parts=())
    assert found["collapsed"] == pytest.approx(by_hand, abs=0.02)
    evidence = pv.diagnose(vae, images, train=train).evidence
    terms = elbo.held_out_terms(vae, torch.from_numpy(images))
    gain = float(terms.reconstruction.mean()) - by_hand
    assert evidence.constant_gain == pytest.approx(gain, abs=0.02)


def test_the_diagnosis_compares_with_the_training_images_mean() -> None:
    train = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    images = train[:20] * 0.5
    vae = pv.VAE((1, 6, 6), 2, "normal", pv.networks.MLP(hidden=4))
    with torch.no_grad():
        shown = vae.eval().decode(vae.code(images)).mean
    mean = (images - train.mean(0)).square().mean()
    by_hand = float((shown - images).square().mean() / mean)
    assert pv.diagnose(vae, images, train=train).evidence.error == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_too_few_held_out_images_are_no_evidence(count: int) -> None:
    train = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    vae = pv.VAE((1, 6, 6), 2, "normal", pv.networks.MLP(hidden=4))
    history = pv.fit(vae, train, train[:count] * 0.1, epochs=8)
    assert not any(line.startswith("overfitting") for line in history.warnings)
    assert any("too few to judge by" in line for line in history.notes)
    found = pv.diagnose(vae, train[:count] * 0.1, history, train=train)
    assert found.evidence.images == 40
    assert (found.evidence.fallen, found.evidence.gap) == (None, None)
    assert "too few to judge by" in found.remarks[0]
    assert found.evidence == pv.diagnose(vae, train, pv.training.History(history.steps)).evidence
    assert pv.evaluate(vae, train[:count], parts=())["few"] == found.remarks[0].partition(";")[0]
    assert pv.evaluate(vae, train[:10], parts=())["few"] is None


def with_gaps(values: torch.Tensor, told: bool) -> data.Batch:
    """Two columns, of which one alone may have gaps, where its values are 0."""
    mask = {"a": values[:, :1] != 0} if told else None
    return data.Batch({"a": values[:, :1], "b": values[:, 1:]}, None, mask)


@pytest.mark.parametrize("apart", [True, False], ids=["parts", "vectors"])
def test_a_gap_is_not_the_value_that_stands_in_it(apart: bool) -> None:
    values = torch.arange(12.0).reshape(6, 2)  # the first row's first value is 0
    zero, gap = with_gaps(values, told=False), with_gaps(values, told=True)
    if not apart:
        zero, gap = data.Batch(values), data.Batch(values, None, values != 0)
    split = [[kept[0:8], kept[8:]] for kept in (digests_of(zero), digests_of(gap))]
    assert split[0][0] != split[1][0]
    assert split[0][1] == split[1][1]  # rows without gaps are what they were
    assert kept_of(zero, None)["sha256"] != kept_of(gap, None)["sha256"]


def test_rows_of_a_run_that_did_not_tell_gaps_are_known() -> None:
    rows = with_gaps(torch.arange(24.0).reshape(12, 2), told=True)
    blind = with_gaps(torch.arange(24.0).reshape(12, 2), told=False)
    before = kept_of(blind[6:], blind[:6])
    del before["gaps"]
    for kept in (before, kept_of(rows[6:], rows[:6])):
        found, said = as_kept(
            data.Data(rows[6:], None, rows[:6], None), {"images": kept}, "rows", True
        )
        assert said is None
        assert len(found.test) == 6


def test_of_a_table_rows_are_too_few() -> None:
    assert (
        warning_signs.few_words(1, "row")
        == "1 held-out row is too few to judge by: give 10 or more"
    )
    vae = pv.VAE({"a": (1,), "b": (1,)}, 2, {"a": "real-normal", "b": "real-normal"})
    rows = with_gaps(torch.arange(30.0).reshape(15, 2), told=True)
    said = "3 held-out rows are too few to judge by: give 10 or more"
    assert said in pv.fit(vae, rows[3:], rows[:3], epochs=1).notes
    assert pv.evaluate(vae, rows[:3])["few"] == said


def test_one_image_alone_has_no_mean_to_be_compared_with() -> None:
    vae = pv.VAE((1, 6, 6), 2, "normal", pv.networks.MLP(hidden=4))
    found = pv.diagnose(vae, torch.rand(1, 1, 6, 6))
    assert np.isnan(found.evidence.error)
    assert "1 images" not in found.remarks[0]


def test_ten_images_are_told_at_every_step(cli: Callable[..., Result], tmp_path: Path) -> None:
    np.save(tmp_path / "ten.npy", np.stack([noise(i, 8, 8) for i in range(10)]))
    trained = cli("fit", "--data", "ten.npy", "--out", "run", *SMALL)
    few = "1 held-out image is too few to judge by: give 10 or more"
    # Before the first step, and among the last lines.
    assert trained.stderr.splitlines().count(few) == 2
    assert trained.stderr.splitlines()[-3] == few
    scored = cli("evaluate", "run")
    assert scored.stdout.splitlines()[1] == few
    diagnosed = cli("diagnose", "run").stdout
    assert "too few to judge by" in " ".join(diagnosed.split())
    assert "evidence from 9 training images" in diagnosed
    assert "diverging" not in diagnosed
    told = cli("report", "run", "--out", "page.html")
    assert told.exit_code == 0, told.stderr
    assert few in (tmp_path / "page.html").read_text()
