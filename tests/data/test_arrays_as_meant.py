"""Arrays that are not what they seem: each is read as it is meant, or refused with the cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import InputError, data
from pyro_vae.data import as_images, stored

from .pictures import contents, noise


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("on_disk", [False, True])
def test_channels_that_come_last_are_brought_to_the_front(
    tmp_path: Path,
    channels: int,
    on_disk: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = np.stack([noise(i, 9, 8, channels) for i in range(12)])
    np.save(tmp_path / "a.npy", images)
    monkeypatch.setattr(stored, "IN_MEMORY", 0 if on_disk else 0.25)
    found = data.load(str(tmp_path / "a.npy"))
    assert found.train.shape == (11, channels, 9, 8)
    expected = sorted(image.transpose(2, 0, 1).tobytes() for image in images)
    monkeypatch.setattr(stored, "IN_MEMORY", 0.25)
    assert contents(found) == expected
    assert f"9x8 pixels with {channels} channels, which come last" in caplog.text


@pytest.mark.parametrize("shape", [(12, 16, 16), (5, 16, 4), (12, 4, 4, 3), (12, 3, 16, 16)])
def test_other_shapes_are_left_alone(
    tmp_path: Path, shape: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    images = np.zeros((12, *shape[1:]), np.uint8)
    np.save(tmp_path / "a.npy", images)
    wanted = shape[1:] if len(shape) == 4 else (1, *shape[1:])
    assert data.load(str(tmp_path / "a.npy")).train.shape[1:] == wanted
    assert not caplog.records


@pytest.mark.parametrize("shape", [(16, 16, 3), (3, 16, 16), (20, 12, 4)])
@pytest.mark.parametrize("call", [pv.fit, pv.evaluate], ids=["fit", "evaluate"])
def test_arrays_with_channels_last_are_refused_with_the_cure(
    call: Callable[..., Any], shape: tuple[int, ...]
) -> None:
    images = np.zeros((6, *sorted(shape, reverse=True)), np.uint8)
    vae = pv.VAE(shape, 2, "bernoulli", pv.networks.MLP(hidden=4))
    with pytest.raises(InputError, match=r"transpose\(0, 3, 1, 2\)"):
        call(vae, images)


MASKED = np.ma.masked_array(np.ones((20, 4)), np.arange(80).reshape(20, 4) % 9 == 0)
MASKED_WAYS = {
    "array": MASKED,
    "list": list(MASKED),
    "data set": torch.utils.data.StackDataset(list(MASKED)),
}


TAKERS: dict[str, Callable[[pv.VAE, Any], Any]] = {
    "as_images": lambda vae, images: as_images(images),
    "fit": lambda vae, images: pv.fit(vae, images, epochs=1),
    "fit's validation": lambda vae, images: pv.fit(vae, np.ones((20, 4)), images, epochs=1),
    "evaluate": pv.evaluate,
    "evaluate's train": lambda vae, images: pv.evaluate(vae, np.ones((20, 4)), train=images),
    "diagnose": pv.diagnose,
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("way", MASKED_WAYS)
def test_masks_are_not_dropped(way: str, taker: str) -> None:
    vae = pv.VAE((4,), 2, "real-normal", pv.networks.MLP(hidden=4))
    with pytest.raises(InputError, match=r"images are masked, \d values") as caught:
        TAKERS[taker](vae, MASKED_WAYS[way])
    assert "\n" not in str(caught.value)


def test_a_mask_that_hides_nothing_is_no_mask() -> None:
    values = np.arange(8.0).reshape(4, 2)
    assert np.array_equal(as_images(np.ma.masked_array(values, False)).numpy(), values)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([[1.0, 2.0], [3.0]], "not of one shape"),
        (np.array([[1, None], [2, 3]], object), "numbers"),
        (np.array([[1e300, 1.0]]), "finite"),
    ],
    ids=["ragged", "objects", "too large"],
)
def test_what_is_no_array_of_numbers_is_refused(images: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_images(images)


def test_truth_values_and_integers_are_numbers() -> None:
    truth = np.array([[True, False], [False, True]])
    assert as_images(truth).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert as_images(np.array([[300, -1]], np.int64)).tolist() == [[300.0, -1.0]]
