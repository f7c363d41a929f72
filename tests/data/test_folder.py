"""Folders of images."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from pyro_vae import VAE, TrainingError, data, fit, networks
from pyro_vae.data import Stored, stored

from .pictures import folder, listed, noise, save


def deep_png(path: Path, levels: np.ndarray) -> None:
    """A PNG of 16 bits per channel, by the format's description."""
    height, width, *rest = levels.shape
    colour = 2 if rest else 0

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def whole(found: data.Data) -> list[bytes]:
    """Every image of both parts."""
    both = torch.cat([data.looked_at(found.train), data.looked_at(found.test)])
    return sorted(bytes(image.numpy()) for image in both)


def test_a_flat_folder_has_no_labels_and_loses_a_tenth(tmp_path: Path) -> None:
    images = folder(tmp_path, 20)
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / "._000.png").write_text("not looked at")
    found = data.load(str(tmp_path))
    assert found.train.shape == (18, 1, 8, 8)
    assert found.train.dtype == torch.uint8
    assert found.train_labels is None
    assert whole(found) == sorted(map(bytes, images))


def test_classes_are_image_folders(tmp_path: Path) -> None:
    for i in range(15):
        name = ("cat", "ant", "bee/nested")[i % 3]
        save(tmp_path / name / f"{i:02}.png", noise(i, 6, 9, 3))
    theirs = ImageFolder(str(tmp_path))
    found = data.load(str(tmp_path))
    assert found.train_labels is not None
    assert found.test_labels is not None
    ours = {
        bytes(image.permute(1, 2, 0).contiguous().numpy()): int(label)
        for images, labels in (
            (found.train, found.train_labels),
            (found.test, found.test_labels),
        )
        for image, label in zip(data.looked_at(images), labels, strict=True)
    }
    assert len(ours) == 15
    assert ours == {np.asarray(image).tobytes(): label for image, label in theirs}


def test_train_and_test_are_the_parts(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("test", 3)):
        for i in range(count):
            save(tmp_path / part / "ab"[i % 2] / f"{i}.png", noise(10 * count + i, 4, 4))
    found = data.load(str(tmp_path))
    assert listed(found.train_labels) == [0, 0, 0, 1, 1, 1]
    assert listed(found.test_labels) == [0, 0, 1]
    assert bytes(found.test[2].numpy()) == bytes(noise(31, 4, 4))


@pytest.mark.parametrize("shape", [(20, 31), (31, 20, 3), (17, 17)], ids=str)
def test_resize_and_crop_are_torchvisions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    folder(tmp_path, 6, *shape)
    theirs = v2.Compose([v2.Resize(12), v2.CenterCrop(9)])
    images = [theirs(Image.open(path)) for path in sorted(tmp_path.glob("*.png"))]
    expected = sorted(v2.functional.pil_to_tensor(image).numpy().tobytes() for image in images)
    found = data.load(str(tmp_path), resize=12, crop=9)
    assert found.train.shape == (5, 3 if len(shape) == 3 else 1, 9, 9)
    assert whole(found) == expected


def test_sizes_may_differ_where_they_are_resized_and_cropped(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / f"{i}.jpg", noise(i, 10 + i, 30 - i))
    assert data.load(str(tmp_path), resize=10, crop=10).train.shape == (7, 1, 10, 10)
    assert data.load(str(tmp_path), crop=8).train.shape == (7, 1, 8, 8)


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_grey_or_colour(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    colour = mode in ("RGBA", "CMYK", "P")
    for i in range(6):
        levels = noise(i, 5, 5, 3) if colour else noise(i, 5, 5)
        suffix = "jpg" if mode == "CMYK" else "png"
        if mode == "I;16":
            deep_png(tmp_path / f"{i}.png", 257 * levels.astype(np.uint16))
        else:
            save(tmp_path / f"{i}.{suffix}", levels, mode)
    with caplog.at_level(logging.WARNING, "pyro_vae"):
        found = data.load(str(tmp_path))
    assert found.train.shape == (5, 3 if colour else 1, 5, 5)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (mode in ("LA", "RGBA", "I;16"))
    assert all(str(tmp_path / "0.png") in line for line in said)
    if mode in ("L", "LA", "I;16"):
        assert whole(found) == sorted(bytes(noise(i, 5, 5)) for i in range(6))
    if mode == "RGBA":
        expected = (noise(i, 5, 5, 3).transpose(2, 0, 1).tobytes() for i in range(6))
        assert whole(found) == sorted(expected)


def test_sixteen_bits_in_colour_are_told_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(6):
        deep_png(tmp_path / f"{i}.png", 257 * noise(i, 5, 5, 3).astype(np.uint16))
    found = data.load(str(tmp_path))
    assert "65535 becomes 255" in caplog.text
    expected = (noise(i, 5, 5, 3).transpose(2, 0, 1).tobytes() for i in range(6))
    assert whole(found) == sorted(expected)


def test_a_grey_palette_stays_grey_and_colour_anywhere_gives_three_channels(
    tmp_path: Path,
) -> None:
    for i in range(10):
        save(tmp_path / f"{i}.png", noise(i, 4, 4), "P")
    assert data.load(str(tmp_path)).train.shape == (9, 1, 4, 4)
    assert whole(data.load(str(tmp_path))) == sorted(bytes(noise(i, 4, 4)) for i in range(10))
    save(tmp_path / "colour.png", noise(9, 4, 4, 3))
    found = data.load(str(tmp_path))
    assert found.train.shape == (10, 3, 4, 4)
    grey = noise(0, 4, 4)
    assert bytes(np.stack([grey] * 3)) in whole(found)


def test_what_does_not_fit_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(30):
        save(tmp_path / "ab"[i % 2] / f"{i:02}.png", noise(i, 8, 8))
    there = data.load(str(tmp_path))
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    found = data.load(str(tmp_path))
    assert isinstance(found.train, Stored)
    assert isinstance(found.test, Stored)
    assert torch.equal(found.train[:], there.train)
    assert torch.equal(found.test[torch.tensor([2, 0])], there.test[[2, 0]])
    assert listed(found.train_labels) == listed(there.train_labels)


def test_a_damaged_file_on_disk_is_named_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        folder(tmp_path / part, 20)
    odd = tmp_path / "train" / "odd.png"
    save(odd, noise(0, 8, 8))
    odd.write_bytes(odd.read_bytes()[:90])
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    images = data.load(str(tmp_path)).train
    vae = VAE((1, 8, 8), 2, "bernoulli", networks.MLP(hidden=8))
    with pytest.raises(TrainingError, match=r"odd\.png cannot be read"):
        fit(vae, images, epochs=1)
