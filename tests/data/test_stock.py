from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from pyro_vae import InputError, data
from pyro_vae.data import augment, stock

FILES = stock._FILES


def write_idx(folder: Path, packed: bool, count: int = 6) -> np.ndarray:
    """The four files of an MNIST-like data set, by the IDX format's description."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    for name in FILES:
        array = images if "images" in name else np.arange(count, dtype=np.uint8)
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        content = header + array.tobytes()
        if packed:
            with gzip.open(folder / f"{name}.gz", "wb") as stream:
                stream.write(content)
        else:
            (folder / name).write_bytes(content)
    return images


def test_the_embedded_digits(digits: data.Data) -> None:
    assert digits.train.shape == (4500, 1, 28, 28)
    assert digits.test.shape == (500, 1, 28, 28)
    assert digits.train.dtype == torch.uint8
    labels = torch.cat([digits.train_labels, digits.test_labels])
    assert torch.bincount(labels).tolist() == [500] * 10
    grey = torch.cat([digits.train, digits.test]).float() / 255
    # Constants of this subset, from its source.
    assert float(grey.mean()) == pytest.approx(0.131, abs=5e-4)
    assert float((grey == 0).float().mean()) == pytest.approx(0.807, abs=5e-4)


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("folder", ["fashion-mnist", "FashionMNIST/raw"])
def test_fashion_mnist_is_found_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, folder: str
) -> None:
    images = write_idx(tmp_path / folder, packed)
    before = sorted(tmp_path.rglob("*"))
    found = data.load("fashion-mnist", tmp_path)
    assert torch.equal(found.train[:, 0], torch.from_numpy(images))
    assert found.test_labels.tolist() == list(range(6))
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path))
    assert torch.equal(data.load("fashion-mnist").test, found.test)
    assert sorted(tmp_path.rglob("*")) == before


def test_data_that_are_not_at_hand_say_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)
    with pytest.raises(InputError, match=r"mnist is not at hand.*--data-root.*--download"):
        data.load("mnist", tmp_path / "nowhere")
    with pytest.raises(InputError, match="did you mean 'mnist-5k'"):
        data.load("mnist5k")


def test_damaged_files_are_told(tmp_path: Path) -> None:
    write_idx(tmp_path / "FashionMNIST/raw", packed=False)
    (tmp_path / "FashionMNIST/raw" / FILES[0]).write_bytes(b"not an IDX file")
    with pytest.raises(InputError, match="could not be read"):
        data.load("fashion-mnist", tmp_path)


@pytest.mark.parametrize("name", list(augment.TABLE))
def test_augmentation_keeps_levels_and_shape(name: str, few: torch.Tensor) -> None:
    transform = augment.make([name], (1, 28, 28))
    assert transform is not None
    out = transform(few[:20])
    assert out.shape == (20, 1, 28, 28)
    assert out.dtype == torch.uint8
    assert not torch.equal(out, few[:20])


def test_augmentation_needs_images() -> None:
    assert augment.make([], (4,)) is None
    with pytest.raises(InputError, match="needs images"):
        augment.make(["flip"], (4,))
