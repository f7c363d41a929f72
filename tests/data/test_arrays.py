from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from pyro_vae import InputError
from pyro_vae.data import as_images, split


def test_uint8_stays_and_other_numbers_become_float32() -> None:
    levels = np.arange(2 * 9, dtype=np.uint8).reshape(2, 3, 3)
    assert as_images(levels).dtype == torch.uint8
    assert as_images(levels).shape == (2, 1, 3, 3)
    assert as_images(levels.astype(np.float64)).dtype == torch.float32
    assert as_images(levels.reshape(2, 9)).shape == (2, 9)


def test_a_data_set_is_stacked() -> None:
    x = torch.rand(5, 1, 4, 4)
    assert torch.equal(as_images(TensorDataset(x, torch.arange(5))), x)


def test_the_callers_array_is_not_changed() -> None:
    array = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    array.setflags(write=False)
    assert as_images(array).sum() == 0


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((0, 1, 28, 28)), "there are no images"),
        (np.zeros((5, 1, 28, 27)), r"shape \(N, \*\(1, 28, 28\)\), got \(5, 1, 28, 27\)"),
        (np.zeros((5,)), "must have shape"),
        (np.full((3, 1, 28, 28), np.nan), "finite: 2352 values are not, the first in image 0"),
        (np.array([[["a"]]]), "must be numbers"),
        (np.zeros((2, 1, 28, 28), dtype=complex), "must be numbers"),
        (torch.zeros((2, 1, 28, 28), dtype=torch.complex64), "real numbers"),
    ],
    ids=range(7),
)
def test_mistakes(images: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_images(images, (1, 28, 28))


def test_split_holds_out_a_fraction_without_losing_an_image() -> None:
    images = torch.arange(20.0).reshape(10, 2)
    train, held_out = split(images, 0.3)
    assert held_out is not None
    assert (len(train), len(held_out)) == (7, 3)
    assert sorted(torch.cat([train, held_out])[:, 0].tolist()) == images[:, 0].tolist()
    assert split(images, None) == (images, None)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 0.01, float("nan")])
def test_split_refuses_a_fraction_that_leaves_nothing(fraction: float) -> None:
    with pytest.raises(InputError, match="fraction"):
        split(torch.zeros(10, 2), fraction)
