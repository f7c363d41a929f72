"""Data sets in .npy and .npz files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyro_vae import InputError, data

IMAGES = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)


def test_one_array_loses_a_tenth_that_is_always_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    found = data.load(str(tmp_path / "a.npy"))
    assert found.train.shape == (36, 1, 4, 4)
    assert found.test.shape == (4, 1, 4, 4)
    assert found.train_labels is None
    both = torch.cat([found.train, found.test])[:, 0].numpy()
    assert sorted(map(bytes, both)) == sorted(map(bytes, IMAGES))
    assert torch.equal(data.load(str(tmp_path / "a.npy")).test, found.test)


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    vectors = np.arange(80.0).reshape(40, 2)
    np.savez(tmp_path / "a.npz", images=vectors, labels=np.arange(40))
    found = data.load(str(tmp_path / "a.npz"))
    assert found.test_labels is not None
    assert torch.equal(found.test[:, 0], 2.0 * found.test_labels)
    assert found.train.dtype == torch.float32


def test_train_and_test_of_the_users_own(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", train=IMAGES, test=IMAGES[:3], test_labels=np.array([5, 6, 7])
    )
    found = data.load(str(tmp_path / "a.npz"))
    assert found.train.shape == (40, 1, 4, 4)
    assert found.train_labels is None
    assert found.test_labels is not None
    assert found.test_labels.tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.array([{}, {}])}, "not a readable .npz file: it holds Python objects"),
        ({"a": IMAGES, "b": IMAGES}, "it holds a, b"),
        ({"train": IMAGES, "test": IMAGES[:, :2]}, "shape"),
        ({"images": IMAGES, "labels": np.arange(3)}, "40 images and 3 labels"),
        ({"images": IMAGES, "labels": np.zeros(40)}, "integers"),
        ({"images": np.array(["a", "b"])}, "numbers"),
        ({"images": np.zeros((3, 2, 2, 2, 2))}, "shape"),
        ({"images": np.array([[np.nan, 1.0]] * 20)}, "finite"),
    ],
    ids=range(8),
)
def test_other_files_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=words) as caught:
        data.load(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"), [("a.npy", b"not numbers"), ("b.npz", b"PK\x03\x04broken"), ("c.npz", b"")]
)
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(InputError, match="no such file"):
        data.load(str(tmp_path / "none.npy"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="not a readable") as caught:
        data.load(str(tmp_path / name))
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("count", range(1, 12))
def test_how_many_images_are_needed_is_told(tmp_path: Path, count: int) -> None:
    np.save(tmp_path / "a.npy", IMAGES[:1].repeat(count, 0))
    if count >= 6:
        assert len(data.load(str(tmp_path / "a.npy")).test) == 1
        return
    with pytest.raises(InputError, match=f"{count} images are too few .* give at least 6$"):
        data.load(str(tmp_path / "a.npy"))
