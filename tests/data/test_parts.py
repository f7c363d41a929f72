"""Three parts: choices look at validation, figures are of test, and no image is in two of them."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae import InputError, data
from pyro_vae.data import stored
from pyro_vae.data.bits import binarised
from pyro_vae.data.parts import Asked, parted
from pyro_vae.training import RunConfig
from pyro_vae.training.run_data import load_data

from ..training.models import small
from .pictures import noise, save

pytestmark = pytest.mark.usefixtures("no_pictures")

Run = Callable[..., Result]
COUNT = 60
TINY = {"epochs": 1, "hidden": 8, "latent_dim": 2, "batch_size": 16}
SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)


def image(number: int) -> np.ndarray:
    """An image whose first pixel is its number, and whose second its class."""
    levels = noise(number, 8, 8)
    levels[0, :2] = number, number % 3
    return levels


def as_array(path: Path) -> str:
    np.save(path / "a.npy", np.stack([image(i) for i in range(COUNT)]))
    return str(path / "a.npy")


def as_labelled(path: Path) -> str:
    images = np.stack([image(i) for i in range(COUNT)])
    np.savez(path / "a.npz", images=images, labels=np.arange(COUNT) % 3)
    return str(path / "a.npz")


def as_folder(path: Path) -> str:
    for i in range(COUNT):
        save(path / "a" / "xyz"[i % 3] / f"{i:02}.png", image(i))
    return str(path / "a")


def as_shards(path: Path) -> str:
    for shard in range(2):
        with tarfile.open(path / f"a-{shard}.tar", "w") as file:
            for i in range(shard * 30, shard * 30 + 30):
                buffer = io.BytesIO()
                np.save(buffer, image(i)[None])
                for suffix, content in (("npy", buffer.getvalue()), ("cls", f"{i % 3}".encode())):
                    info = tarfile.TarInfo(f"{i:02}.{suffix}")
                    info.size = len(content)
                    file.addfile(info, io.BytesIO(content))
    return str(path / "a-{0..1}.tar")


KINDS = {"npy": as_array, "npz": as_labelled, "folder": as_folder, "shards": as_shards}
NO_NPZ = ("npz", True)  # which is never mapped


def numbers(images: Any) -> list[int]:
    found: list[int] = data.plain(images)[:].flatten(1)[:, 0].tolist()
    return found


@pytest.mark.parametrize(
    ("kind", "on_disk"),
    [(kind, on_disk) for kind in KINDS for on_disk in (False, True) if (kind, on_disk) != NO_NPZ],
)
def test_each_image_is_in_one_part_with_its_label_and_found_there_again(
    kind: str, on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "IN_MEMORY", 0 if on_disk else 0.25)
    recipe = RunConfig.of(data=KINDS[kind](tmp_path), validation=0.2, **TINY)
    run = recipe.run(tmp_path / "run")
    again, said = load_data(None, None, False, pv.training.read_config(tmp_path / "run"))
    assert said["changed"] is None
    for found in (run.data, again):
        parts = [numbers(part) for part in (found.train, found.validation, found.test)]
        assert list(map(len, parts)) == [43, 11, 6]
        assert sorted(itertools.chain(*parts)) == list(range(COUNT))
        labels = (found.train_labels, found.validation_labels, found.test_labels)
        for part, classes in zip(parts, labels, strict=True):
            if kind == "npy":
                assert classes is None
            else:
                assert classes is not None
                assert classes.tolist() == [number % 3 for number in part]
    assert numbers(again.validation) == numbers(run.data.validation)
    assert numbers(again.test) == numbers(run.data.test)
    assert run.history.part == "validation"


def test_another_seed_has_the_same_parts(tmp_path: Path) -> None:
    path = as_array(tmp_path)
    parts = [numbers(RunConfig.of(data=path, validation="0.2", seed=seed).load().validation)
             for seed in (0, 7)]  # fmt: skip
    assert parts[0] == parts[1]


def parted_file(path: Path, train: int = 40, test: int = 20) -> str:
    np.savez(
        path / "two.npz",
        train=np.stack([image(i) for i in range(train)]),
        train_labels=np.arange(train) % 3,
        test=np.stack([image(100 + i) for i in range(test)]),
        test_labels=np.arange(100, 100 + test) % 3,
    )
    return str(path / "two.npz")


def test_the_last_ones_are_the_last_ones_whatever_is_left_of_them(tmp_path: Path) -> None:
    path = parted_file(tmp_path)
    found = RunConfig.of(data=path, validation="last:15").load()
    assert numbers(found.train) == list(range(25))
    assert numbers(found.validation) == list(range(25, 40))
    assert numbers(found.test) == list(range(100, 120))
    few = RunConfig.of(data=path, validation="last:15", images=12).load()
    assert numbers(few.train) == list(range(12))
    assert numbers(few.validation) == list(range(25, 37))


def test_conditions_go_with_their_images(tmp_path: Path) -> None:
    path = parted_file(tmp_path)
    found = RunConfig.of(data=path, validation="0.25", condition="labels").load()
    for part in (found.train, found.validation, found.test):
        classes = torch.tensor(numbers(part)) % 3
        assert torch.equal(part.covariates, torch.eye(3)[classes])


def write_table(path: Path, rows: range) -> str:
    with path.open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["square", "size", "kind"])
        lines.writerows([i * i, (i * 37 % 11) / 4, "abc"[i % 3]] for i in rows)
    return str(path)


def test_rows_of_tables(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", range(60))
    run = RunConfig.of(data=table, validation="0.2", **TINY).run(tmp_path / "run")
    again, _ = load_data(None, None, False, pv.training.read_config(tmp_path / "run"))
    for found in (run.data, again):
        parts = [part.x["square"].flatten().tolist()
                 for part in (found.train, found.validation, found.test)]  # fmt: skip
        assert list(map(len, parts)) == [43, 11, 6]
        assert sorted(itertools.chain(*parts)) == [i * i for i in range(60)]


def test_another_table_is_read_as_the_first_one(tmp_path: Path) -> None:
    """Its categories have the numbers that they have there: b is 1 although no a comes before."""
    table = write_table(tmp_path / "t.csv", range(60))
    (tmp_path / "v.csv").write_text(
        "square,size,kind\n" + "".join(f"{i},1.5,{'bc'[i % 2]}\n" for i in range(100, 120))
    )
    other = str(tmp_path / "v.csv")
    found = RunConfig.of(data=table, validation=other, **TINY).run(tmp_path / "run").data
    assert found.validation.x["square"].flatten().tolist() == list(range(100, 120))
    assert found.validation.x["kind"].flatten().tolist() == [1, 2] * 10
    assert len(found.train) == 54


def test_a_folder_of_others(tmp_path: Path, cli: Run) -> None:
    """Its classes have the numbers of the training images', although x is not among them."""
    as_folder(tmp_path)
    for i in range(100, 120):
        save(tmp_path / "val" / "yz"[i % 2] / f"{i}.png", image(i))
    said = cli("fit", "--data", "a", "--validation", "val", "--out", "run", *SMALL)
    assert said.exit_code == 0, said.output
    assert f"validation part: 20 of {tmp_path / 'val'}" in said.stderr
    found, _ = load_data(None, None, False, pv.training.read_config(tmp_path / "run"))
    assert sorted(numbers(found.validation)) == list(range(100, 120))
    assert found.validation_labels is not None
    assert found.validation_labels.tolist() == [1 + n % 2 for n in numbers(found.validation)]
    assert sorted(numbers(found.train) + numbers(found.test)) == list(range(COUNT))


def three(path: Path) -> Path:
    for part, first in {"train": 0, "val": 40, "test": 60}.items():
        for i in range(first, first + 20):
            save(path / part / f"{i}.png", image(i))
    return path


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ({}, (20, 20, 20)),
        ({"keep_best": True}, (20, 20, 20)),
        ({"validation": "none"}, (20, None, 20)),
        ({"validation": "val"}, (20, 20, 20)),
    ],
    ids=str,
)
def test_a_part_that_the_data_have(
    tmp_path: Path, asked: dict[str, Any], parts: tuple[int | None, ...]
) -> None:
    if asked.get("validation") == "val":
        asked = {"validation": str(tmp_path / "d" / "val")}
    found = RunConfig.of(data=str(three(tmp_path / "d")), **asked).load()
    there = (found.train, found.validation, found.test)
    assert tuple(None if part is None else len(part) for part in there) == parts
    if found.validation is not None:
        assert sorted(numbers(found.validation)) == list(range(40, 60))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--validation", "1.5"), "validation must be a share of the training images between 0"),
        (("--validation", "0"), "validation must be a share"),
        (("--validation", "-1"), "validation must be a share"),
        (("--validation", "nan"), "validation must be a share"),
        (("--validation", ""), "--validation is empty"),
        (("--validation", "0.00001"), "leaves one part empty"),
        (("--validation", "last:0"), "last:N takes a number of images from 1 on, got 'last:0'"),
        (("--validation", "last:half"), "last:N takes a number of images"),
        (("--validation", "last:4500"), "leaves nothing to train on: there are 4,500 training"),
        (("--validation", "last:" + "9" * 18), "leaves nothing to train on"),
        (("--validation", "nowhere/val"), "got 'nowhere/val': there is none so called"),
        (("--validation", "mnist"), "got 'mnist': there is none so called"),
        (("--validation", "none", "--keep-best"), "keep-best chooses by the validation part"),
        (("--validation", "none", "--patience", 3), "patience chooses by the validation part"),
        (("--data", "d", "--validation", "0.1"), "a validation part of their own, of 20"),
        (("--data", "d", "--validation", "d"), "d holds parts: give the folder of one of them"),
        (("--data", "two", "--validation", "two/val"), "20 of its 20 are in the test part"),
        (("--data", "d", "--validation", "d/train"), "20 of its 20 are in the training part"),
        (("--data", "d", "--validation", "t.csv"), "the data are images, and so must be these"),
        (("--validation", "d/val"), "must have shape (N, *(1, 28, 28)), got (20, 1, 8, 8)"),
        (("--data", "d", "--validation", "f.npy"), "are torch.float32, those to train on"),
        (("--data", "t.csv", "--validation", "d/val"), "the data are a table"),
        (("--obs", "bernoulli", "--binarise", "fixed"), "fixed:SEED takes a seed from 0"),
        (("--obs", "bernoulli", "--binarise", "fixed:-1"), "fixed:SEED takes a seed from 0"),
        (("--obs", "bernoulli", "--binarise", f"fixed:{2**32}"), "fixed:SEED takes a seed"),
        (("--obs", "bernoulli", "--binarise", "fixt:1"), "unknown --binarise 'fixt:1'"),
        (("--binarise", "fixed:1"), "--binarise suits an observation of 0 and 1"),
        (
            ("--data", "f.npy", "--obs", "bernoulli", "--binarise", "fixed:1"),
            "binarise fixed takes 8-bit images, these are floats",
        ),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_mistakes(
    words: tuple[object, ...], said: str, mistake: Callable[..., str], tmp_path: Path
) -> None:
    three(tmp_path / "d")
    shutil.copytree(tmp_path / "d" / "train", tmp_path / "two" / "train")
    shutil.copytree(tmp_path / "d" / "val", tmp_path / "two" / "val")
    write_table(tmp_path / "t.csv", range(60))
    np.save(tmp_path / "f.npy", np.random.default_rng(0).random((20, 1, 8, 8), np.float32))
    assert said in mistake("fit", *words, "--out", "run", *SMALL)


def test_a_folder_to_write_is_none_of_the_validation_images(
    mistake: Callable[..., str], tmp_path: Path
) -> None:
    three(tmp_path / "d")
    said = mistake("fit", "--data", "d/train", "--validation", "d/val", "--out", "d/val/run")
    assert "lies inside --validation" in said


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


@pytest.mark.parametrize(
    ("given", "steps", "held_out"),
    [
        (lambda images, folder: "0.25", 30, 1),
        (lambda images, folder: 0.25, 30, 1),
        (lambda images, folder: "last:12", 28, 1),
        (lambda images, folder: "none", 40, 0),
        (lambda images, folder: as_array(folder), 40, 1),
        (lambda images, folder: Path(as_array(folder)), 40, 1),
        (
            lambda images, folder: data.Data(images, None, images, None, validation=images[:9]),
            40,
            1,
        ),
        (lambda images, folder: images[:7].numpy(), 40, 1),
    ],
    ids=["0.25", "number", "last", "none", "path", "Path", "data set", "array"],
)
def test_fit_takes_what_the_command_line_takes(
    given: Callable[[torch.Tensor, Path], Any], steps: int, held_out: int, tmp_path: Path
) -> None:
    images = torch.from_numpy(np.stack([image(i) for i in range(40)]))[:, None]
    validation = given(images, tmp_path)
    history = pv.fit(small(shape=(1, 8, 8)), images, validation, epochs=1, batch_size=1)
    assert (len(history.steps), len(history.epochs("held-out"))) == (steps, held_out)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda few: data.Data(few, None, few[:5], None),
            "a data set without a validation part: give images, as data.test",
        ),
        (lambda few: "last:300", "leaves nothing to train on: there are 300"),
        (lambda few: "lats:30", "'lats:30': there is none so called"),
        (lambda few: "2", "a share of the training images between 0 and 1, last:N"),
    ],
    ids=["a data set of two parts", "all images", "a name", "a number"],
)
def test_fit_says_what_it_does_not_take(
    given: Callable[[torch.Tensor], Any], said: str, few: torch.Tensor
) -> None:
    with pytest.raises(InputError, match=said):
        pv.fit(small(), few, given(few), epochs=1)


def bits_by_hand(images: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    """One number after the other, as numpy's legacy generator gives them."""
    drawn = [generator.binomial(1, level / 255) for level in images.reshape(-1).tolist()]
    return np.array(drawn, np.uint8).reshape(images.shape)


def test_bits_are_those_of_numpy_validation_first(cli: Run, tmp_path: Path) -> None:
    path = parted_file(tmp_path)
    with np.load(path) as archive:
        train, test = archive["train"], archive["test"]
    generator = np.random.RandomState(777)
    wanted = {"validation": bits_by_hand(train[-15:], generator)}
    wanted["test"] = bits_by_hand(test, generator)
    said = cli(
        *("fit", "--data", path, "--validation", "last:15", "--obs", "bernoulli"),
        *("--binarise", "fixed:777", "--out", "run", *SMALL),
    )
    assert said.exit_code == 0, said.output
    config = pv.training.read_config(tmp_path / "run")
    told = json.loads(cli("evaluate", "run", "--json").stdout)
    found, described = load_data(None, None, False, config)
    assert told["binarised"] == config["data"]["binarised"] == described["binarised"]
    assert told["binarised"]["seed"] == 777
    lines = "".join(cli("evaluate", "run").stdout.splitlines())
    for part, bits in wanted.items():
        digest, total = hashlib.sha256(bits.tobytes()).hexdigest(), int(bits.sum())
        grey = {"validation": train[-15:], "test": test}[part] / 255
        score = scipy.stats.bernoulli.logpmf(bits, grey).sum() / len(bits)
        found_grey = told["binarised"][part].pop("grey")
        assert found_grey == pytest.approx(score, rel=1e-12)
        assert told["binarised"][part] == {"images": len(bits), "sum": total, "sha256": digest}
        if part == "test":
            assert f"  the grey images       {score:10.2f} nats per image on their bits" in lines
        assert np.array_equal(getattr(found, part).numpy()[:, 0], bits * 255)
        line = f"{part} sum {total:,}, SHA-256 {digest}"
        assert line in said.stderr
        assert line in lines
    assert np.array_equal(found.train.numpy()[:, 0], train[:-15])
    assert told["kind"] == "mass"
    vae = pv.load(tmp_path / "run")
    bits = torch.from_numpy(wanted["test"])[:, None]
    assert torch.equal(vae.observe(found.test), bits.float())
    assert told["elbo"] == pv.evaluate(vae, bits * 255, parts=())["elbo"]


def test_training_images_are_binarised_anew_in_every_batch(tmp_path: Path) -> None:
    """Both ways train on the same noise: with fixed bits only what is held out is another."""
    path, weights = parted_file(tmp_path), []
    for way in ("stochastic", "fixed:5"):
        options = {**TINY, "epochs": 3, "obs": "bernoulli", "binarise": way}
        weights.append(RunConfig.of(data=path, **options).run().vae.state_dict())
    assert len(weights[0]) > 3
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_the_first_images_have_the_bits_that_they_have_among_all(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "data": parted_file(tmp_path),
        "validation": "last:10",
        "obs": "bernoulli",
        "binarise": "fixed:3",
    }
    whole, few = (RunConfig.of(**options, images=count).load() for count in (None, 4))
    assert torch.equal(few.validation, whole.validation[:4])
    assert torch.equal(few.test, whole.test[:4])


def test_bits_of_images_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = data.load(as_array(tmp_path))
    expected, _ = binarised(in_memory, 9)
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    there = data.load(str(tmp_path / "a.npy"))
    with pytest.raises(InputError, match="binarise fixed keeps bits in memory, and 6 images do"):
        binarised(there, 9)
    monkeypatch.setattr(stored, "IN_MEMORY", 0.25)
    assert torch.equal(binarised(there, 9)[0].test, expected.test)


@pytest.mark.slow
def test_the_published_bits_of_fashion_mnist(cli: Run) -> None:
    """Of Norouzi, Fleet and Norouzi 2020, whose code has this seed; taken by other code."""
    try:
        data.load("fashion-mnist")
    except InputError:
        pytest.skip("Fashion-MNIST is not at hand")
    said = cli(
        *("fit", "--data", "fashion-mnist", "--validation", "last:10000"),
        *("--binarise", "fixed:777", "--obs", "bernoulli", "--images", 100, "--out", "run", *SMALL),
    )
    assert said.exit_code == 0, said.output
    told = json.loads(cli("evaluate", "run", "--json").stdout)["binarised"]
    assert told["test"].pop("grey") == pytest.approx(-189.87, abs=0.005)
    assert told["validation"].pop("grey") < -180
    assert told == {
        "seed": 777,
        "validation": {
            "images": 10_000,
            "sum": 2_263_696,
            "sha256": "b0087ff633317072b4d0b97725ba7f87f5233daf6df29dc5432f421601877c61",
        },
        "test": {
            "images": 10_000,
            "sum": 2_248_637,
            "sha256": "33bc86729d1a5fabe7fc26556683b981e41cc8e110df6b260f45f515fd283c24",
        },
    }
