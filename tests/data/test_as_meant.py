"""Files that are not what they seem: each is read as it is meant, or a line says so."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_vae import InputError, data
from pyro_vae.data import stored
from pyro_vae.data.told import told, told_words

from .pictures import contents, folder, listed, noise, save


def counts(found: data.Data) -> tuple[int, ...]:
    """Numbers of training, validation and test images."""
    parts = (found.train, found.validation, found.test)
    return tuple(0 if part is None else len(part) for part in parts)


# -------------------------------------------------------------------------------- levels


@pytest.mark.parametrize(("bits", "kind"), [(10, "png"), (12, "png"), (12, "tif"), (14, "tif")])
def test_bits_in_sixteen_keep_their_upper_eight(
    tmp_path: Path, bits: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    levels = [noise(i, 6, 7) for i in range(8)]
    levels[3][0, 0] = 255
    for i, values in enumerate(levels):
        deep = values.astype(np.uint16) << (bits - 8)
        Image.fromarray(deep + 1).save(tmp_path / f"{i}.{kind}")
    found = data.load(str(tmp_path))
    assert contents(found) == sorted(map(bytes, levels))
    largest = (255 << (bits - 8)) + 1
    assert f"nothing exceeds {largest}: {2**bits - 1} becomes 255" in caplog.text


def test_bits_in_sixteen_on_disk_are_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(8):
        Image.fromarray(noise(i, 6, 7).astype(np.uint16) * 16).save(tmp_path / f"{i}.png")
    there = contents(data.load(str(tmp_path)))
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    found = data.load(str(tmp_path))
    assert isinstance(found.train, stored.Stored)
    monkeypatch.setattr(stored, "IN_MEMORY", 0.25)
    assert contents(found) == there


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_images_are_turned_as_the_camera_was(tmp_path: Path, kind: str, orientation: int) -> None:
    # The first pixel's corner and the longer side tell all eight apart; blocks survive JPEG.
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8], upright[8:, :8] = 255, 128
    # What a camera stores for each orientation, by EXIF's own description of it.
    stored_as = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(6):
        image = Image.fromarray(np.ascontiguousarray(stored_as))
        options = {"lossless": True} if kind == "webp" else {}
        image.save(tmp_path / f"{i}.{kind}", exif=exif, **options)
    found = data.load(str(tmp_path)).train
    assert found.shape[-2:] == (16, 32)
    assert torch.allclose(found[0, 0].float(), torch.tensor(upright).float(), atol=6)


@pytest.mark.parametrize("kind", ["tif", "webp", "png"])
def test_pages_and_frames_are_told(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path, 6, 16, 16)
    pages = [Image.fromarray(noise(i, 16, 16, 3)) for i in range(3)]
    pages[0].save(tmp_path / f"many.{kind}", save_all=True, append_images=pages[1:])
    data.load(str(tmp_path))
    assert f"1 of 7 images, {tmp_path / f'many.{kind}'} first, have several pages" in caplog.text
    assert "7 of 9 in all" in caplog.text


# ------------------------------------------------------------------------ folders and links


def test_what_is_passed_over_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path / "a", 6)
    folder(tmp_path / "b", 6)
    for name in ("a/x.gif", "a/y.GIF", "b/z.heic", "b/notes", ".hidden.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    save(tmp_path / "a" / "UPPER.PNG", noise(9, 8, 8))
    found = data.load(str(tmp_path))
    assert sum(counts(found)) == 13
    assert (
        found.passed_over == "2 .gif files, 1 .heic file, 1 broken link, 1 file without an ending"
    )
    assert found.passed_over in caplog.text


def around(top: Path) -> None:
    (top / "a" / "up").symlink_to("..")


def far_around(top: Path) -> None:
    (top / "b" / "up").symlink_to(top.parent.parent)


def beside(top: Path) -> None:
    (top / "a" / "also").symlink_to(top / "b")


def to_itself(top: Path) -> None:
    (top / "b" / "me").symlink_to(".")


def in_a_circle(top: Path) -> None:
    (top / "a" / "b").symlink_to(top / "b")
    (top / "b" / "a").symlink_to(top / "a")


def class_again(top: Path) -> None:
    (top / "0-before-a").symlink_to("a")


def to_files(top: Path) -> None:
    (top / "a" / "0.png").symlink_to(top / "b" / "000.png")


@pytest.mark.parametrize(
    "link", [around, far_around, beside, to_itself, in_a_circle, class_again, to_files]
)
def test_an_image_counts_once_whatever_links_lead_to_it(
    tmp_path: Path, link: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    top = tmp_path / "deep" / "top"
    images = [save(top / "ab"[i % 2] / f"{i:03}.png", noise(i, 8, 8)) for i in range(12)]
    before = data.load(str(top))
    link(top)
    found = data.load(str(top))
    assert contents(found) == sorted(map(bytes, images))
    assert sorted(listed(found.train_labels)) == sorted(listed(before.train_labels))
    assert "passed over" in caplog.text
    assert "link" in caplog.text


def test_links_to_images_that_lie_elsewhere_are_followed(tmp_path: Path) -> None:
    images = folder(tmp_path / "store" / "x", 12)
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "cat").symlink_to(tmp_path / "store" / "x")
    assert contents(data.load(str(tmp_path / "top"))) == sorted(map(bytes, images))
    (tmp_path / "single").mkdir()
    for path in (tmp_path / "store" / "x").iterdir():
        (tmp_path / "single" / path.name).symlink_to(path)
    assert contents(data.load(str(tmp_path / "single"))) == sorted(map(bytes, images))


def test_a_held_out_part_that_links_to_the_training_part_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "train", 6)
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(InputError, match=r"val holds no images .* passed over: 1 link to a folder"):
        data.load(str(tmp_path))


# -------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val", "test", "TEST"])
@pytest.mark.parametrize("classes", ["", "a"])
def test_a_second_part_is_held_out(tmp_path: Path, name: str, classes: str) -> None:
    trained = folder(tmp_path / "train" / classes, 6)
    for i in range(3):
        save(tmp_path / name / classes / f"{i}.png", noise(50 + i, 8, 8))
    found = data.load(str(tmp_path))
    assert counts(found) == (6, 0, 3)
    assert sorted(bytes(x.numpy()) for x in found.train) == sorted(map(bytes, trained))
    assert found.held_out is found.test


@pytest.mark.parametrize("as_file", [False, True], ids=["folder", "npz"])
def test_three_parts_are_three(tmp_path: Path, as_file: bool) -> None:
    arrays = {
        name: np.stack([noise(10 * place + i, 8, 8) for i in range(count)])
        for place, (name, count) in enumerate({"train": 6, "val": 4, "test": 3}.items())
    }
    path = tmp_path / ("a.npz" if as_file else "parts")
    if as_file:
        np.savez(path, **arrays)
    else:
        for name, images in arrays.items():
            for i, image in enumerate(images):
                save(path / name / f"{i}.png", image)
    found = data.load(str(path))
    assert counts(found) == (6, 4, 3)
    assert found.held_out is found.validation
    for part, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert np.array_equal(getattr(found, part)[:, 0].numpy(), arrays[name])
    assert counts(data.first(found, 2)) == (2, 2, 2)


def test_training_alone_is_no_class(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "train" / "ab"[i % 2] / f"{i:02}.png", noise(i, 8, 8))
    found = data.load(str(tmp_path))
    assert counts(found) == (11, 0, 1)
    assert set(listed(found.train_labels)) == {0, 1}


def test_trains_are_a_class_beside_cars(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / ("car", "train")[i % 2] / f"{i:02}.png", noise(i, 8, 8))
    assert set(listed(data.load(str(tmp_path)).train_labels)) == {0, 1}


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("val", "test"), "holds test and val and no train"),
        (("train", "val", "valid"), "which is the validation part"),
        (("images/train", "images/val"), "images holds parts, train and val: give"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "cat holds parts"),
    ],
    ids=["no train", "twice", "deeper", "below classes"],
)
def test_parts_that_are_none_are_refused(
    tmp_path: Path, folders: tuple[str, ...], words: str
) -> None:
    for name in folders:
        folder(tmp_path / name, 4)
    with pytest.raises(InputError, match=words) as caught:
        data.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_what_lies_beside_the_parts_is_told(tmp_path: Path) -> None:
    for name in ("train", "val", "extra"):
        folder(tmp_path / name, 4)
    save(tmp_path / "loose.png", noise(0, 8, 8))
    found = data.load(str(tmp_path))
    assert counts(found) == (4, 0, 4)
    assert found.passed_over == "1 folder extra, 1 loose file"


def test_arrays_beside_the_parts_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = np.stack([noise(i, 8, 8) for i in range(12)])
    np.savez(tmp_path / "a.npz", images=images, masks=images, labels=np.arange(12))
    found = data.load(str(tmp_path / "a.npz"))
    assert found.passed_over == "arrays masks"
    assert found.passed_over in caplog.text


# --------------------------------------------------------------------------- what is told


def test_what_was_read_is_told_in_a_line(tmp_path: Path) -> None:
    for part, count in {"train": 6, "val": 4, "test": 3}.items():
        for i in range(count):
            save(tmp_path / part / "ab"[i % 2] / f"{i}.png", np.full((5, 7, 3), i + 1, np.uint8))
    (tmp_path / "train" / "a" / "x.gif").write_bytes(b"")
    found = data.load(str(tmp_path))
    assert told_words(found, "here") == (
        "here: 13 images 3x5x7, levels 1 to 6, 6 train, 4 validation and 3 test, 2 classes; "
        "passed over: 1 .gif file"
    )
    assert told(found)["classes"] == 2


def test_file_names_need_no_ending_in_small_letters(tmp_path: Path) -> None:
    for i, ending in enumerate(("PNG", "Png", "png", "BMP", "TIF", "JPG")):
        save(tmp_path / f"{i}.{ending}", noise(i, 8, 8))
    assert sum(counts(data.load(str(tmp_path)))) == 6
    assert os.listdir(tmp_path)


def test_nothing_is_told_of_what_is_as_it_seems(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path, 12)
    with caplog.at_level(logging.DEBUG, "pyro_vae"):
        assert counts(data.load(str(tmp_path))) == (11, 0, 1)
    assert not caplog.records
