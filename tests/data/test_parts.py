"""Three parts: no image is in two of them, and each is found in its own again."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import InputError, data
from pyro_vae.data import stored
from pyro_vae.training import RunConfig
from pyro_vae.training.run_data import load_data

from ..training.models import small
from .parted import (
    COUNT,
    SMALL,
    TINY,
    Run,
    as_array,
    as_folder,
    as_labelled,
    as_shards,
    image,
    numbers,
    parted_file,
    three,
)
from .pictures import save

pytestmark = pytest.mark.usefixtures("no_pictures")


KINDS = {"npy": as_array, "npz": as_labelled, "folder": as_folder, "shards": as_shards}
NO_NPZ = ("npz", True)  # which is never mapped


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
