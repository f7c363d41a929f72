"""``pyro-vae data`` and the data set that it makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from pyro_vae import InputError, data
from pyro_vae.data import patches, stock

Run = Callable[..., Result]

# Of the arrays as they were first made, with other code.
SHA256 = {
    "train": "51bf214cbc473248c7872fadc4bc8b363bfcb9c5408ff7f3c0a1bdaa1230677a",
    "test": "dd2aa014661c7f30d91e3b08d71fdc1d886c0b428762288e62e8ca245435bc1c",
}
has_photographs = pytest.mark.skipif(
    find_spec("skimage") is None or find_spec("sklearn") is None,
    reason="the extra colour-patches is not installed",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patches") / "not there yet"
    return patches.make(folder)


@has_photographs
def test_patches_are_the_published_ones_and_found_by_name(made: Path) -> None:
    with np.load(made, allow_pickle=False) as archive:
        assert sorted(archive.files) == ["test", "train"]
        for part, digest in SHA256.items():
            assert hashlib.sha256(archive[part].tobytes()).hexdigest() == digest
    assert [path.name for path in made.parent.iterdir()] == ["colour-patches.npz"]
    found = data.load("colour-patches", made.parent)
    assert found.train.shape == (5000, 3, 32, 32)
    assert found.test.shape == (500, 3, 32, 32)
    assert found.train.dtype == torch.uint8
    assert found.train_labels is None


@has_photographs
def test_no_patch_is_flat_and_none_is_held_out_and_trained_on(made: Path) -> None:
    found = data.load("colour-patches", made.parent)
    assert float(found.train.double().flatten(1).std(1, correction=0).min()) >= 6
    trained = {image.numpy().tobytes() for image in found.train}
    assert len(trained) > 4900
    assert not any(image.numpy().tobytes() in trained for image in found.test)


@has_photographs
def test_make_says_whose_the_photographs_are(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path / "root"))
    said = cli("data", "make", "colour-patches")
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith(str(tmp_path / "root" / "colour-patches.npz"))
    assert len(patches.PHOTOGRAPHS) == 7
    for photograph in patches.PHOTOGRAPHS:
        assert f"  {photograph.name}: {photograph.source}" in said.stdout
        assert any(licence in photograph.source for licence in ("public domain", "CC0", "CC BY"))
    before = (tmp_path / "root" / "colour-patches.npz").stat().st_mtime_ns
    again = json.loads(cli("data", "make", "colour-patches", "--json").stdout)
    assert (tmp_path / "root" / "colour-patches.npz").stat().st_mtime_ns == before
    assert len(again["photographs"]) == 7
    listed = {row["name"]: row["at hand"] for row in json.loads(cli("data", "--json").stdout)}
    assert listed["colour-patches"] == str(tmp_path / "root")
    trained = cli(
        "fit", "--data", "colour-patches", "--images", 64, "--epochs", 1, "--hidden", 8, "--json"
    )
    assert trained.exit_code == 0, trained.output


@has_photographs
def test_another_file_of_that_name_is_kept(
    mistake: Callable[..., str], cli: Run, tmp_path: Path
) -> None:
    file = tmp_path / "colour-patches.npz"
    np.savez(file, train=np.zeros((9, 3, 4, 4), np.uint8), test=np.zeros((9, 3, 4, 4), np.uint8))
    words = ("data", "make", "colour-patches", "--data-root", tmp_path)
    assert "--overwrite" in mistake(*words)
    with pytest.raises(InputError, match="SHA-256 of train is"):
        data.load("colour-patches", tmp_path)
    assert cli(*words, "--overwrite").exit_code == 0
    assert len(data.load("colour-patches", tmp_path).train) == 5000
    file.write_text("anything")
    assert "--overwrite" in mistake(*words)


@has_photographs
def test_a_failure_leaves_nothing(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr(patches.os, "replace", full)
    said = cli("data", "make", "colour-patches", "--data-root", tmp_path)
    assert (said.exit_code, said.stderr) == (1, "Error: there: No space left on device\n")
    assert list(tmp_path.iterdir()) == []


@has_photographs
def test_photographs_that_are_read_otherwise_are_refused(
    mistake: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = tuple(reversed(patches.PHOTOGRAPHS))
    monkeypatch.setattr(patches, "PHOTOGRAPHS", flipped)
    said = mistake("data", "make", "colour-patches", "--data-root", tmp_path / "new")
    assert "SHA-256 of train is" in said
    assert not (tmp_path / "new").exists()


def test_without_the_photographs(
    mistake: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "find_spec", lambda name: None)
    said = mistake("data", "make", "colour-patches", "--data-root", tmp_path)
    assert "needs scikit-image, which is not installed" in said
    assert "pip install 'pyro_vae[colour-patches]'" in said


@pytest.mark.parametrize("more", [(), ("--download",)])
def test_patches_that_are_not_made_yet_say_how(
    mistake: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)
    said = mistake("fit", "--data", "colour-patches", "--data-root", "here", *more)
    assert "pyro-vae data make colour-patches --data-root here" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("make", "colour-patch"), "did you mean 'colour-patches'"),
        (("make",), "NAME"),
        (("--json", "make", "colour-patches"), "after `data make`"),
        (("nothing",), "nothing"),
    ],
    ids=["name", "none", "before", "command"],
)
def test_mistakes(mistake: Callable[..., str], words: tuple[str, ...], expected: str) -> None:
    assert expected in mistake("data", *words)


def test_the_list_tells_where_data_are_and_how_to_come_by_them(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)
    said = cli("data").stdout
    assert all(f"{name}: " in said for name in stock.TABLE)
    assert "at hand: in this package" in said
    assert "at hand: no; --data-root DIR or `data make colour-patches`" in said
