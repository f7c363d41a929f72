"""A small classifier of the data set at hand, whose features samples are scored by."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyro_vae.data import Data, as_images, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import InputError
from pyro_vae.files import expanded, in_utf8, replace
from pyro_vae.metrics.classifier_network import (
    FEATURES,
    RECIPE,
    Network,
    as_unit,
    in_blocks,
    trained_network,
)

__all__ = ["Classifier", "classifier_for"]

CACHE = Path("~/.cache/pyro_vae/classifiers")
"""Folder of trained classifiers."""

_OURS = re.compile(rb'.{5}\0{3}\{"|\{\s*"recipe"', re.DOTALL)
"""How weights and the record beside them begin."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        network: Its weights, in evaluation mode.
        data_shape: (C, H, W) of the images it takes.
        accuracy: Fraction of the test images that it classifies correctly.
        tested: Number of test images.
        sha256: Hash of its weights: features are comparable where it is the same.
        path: Where its weights are cached.
        fresh: Whether it was trained by this call.
    """

    network: Network
    data_shape: tuple[int, ...]
    accuracy: float
    tested: int
    sha256: str
    path: Path
    fresh: bool

    @property
    def dims(self) -> int:
        """Length of a feature vector."""
        return FEATURES

    def features(self, images: Loaded) -> Tensor:
        """Features of images, in blocks.

        Args:
            images: uint8 levels or floats on [0, 1], (N, C, H, W).

        Returns:
            Shape (N, 64), float64.

        Raises:
            InputError: If the images have another shape, or floats lie outside [0, 1].
        """
        return self._through(self.network.features, images)

    def logits(self, images: Loaded) -> Tensor:
        """Logits of the classes, (N, classes), float64; arguments as for :meth:`features`."""
        return self._through(self.network, images)

    def _through(self, part: Callable[[Tensor], Tensor], images: Loaded) -> Tensor:
        checked = as_images(images, self.data_shape)
        _check_range(checked)
        return in_blocks(part, as_unit(checked))

    def __str__(self) -> str:
        return f"classifier {self.sha256[:12]}, accuracy {self.accuracy:.4f} on {self.tested}"


def classifier_for(
    data: Data, cache: str | Path | None = None, progress: Callable[[str], object] | None = None
) -> Classifier:
    """The classifier of a labelled data set, trained or from the cache.

    The same data give the same weights, bit for bit on one machine: the seed is fixed and training
    uses one thread. Classes may be numbered with gaps: the network has an output for each that
    training images have. 4,500 digits take about 12 seconds of processor time, 60,000 images 45. A
    damaged entry of the cache is trained anew.

    Args:
        data: Images and labels, for training and for the accuracy.
        cache: Folder of weights; by default ``CACHE``.
        progress: Called with a line for every epoch.

    Raises:
        InputError: If labels are missing or of one class, or the data are no images on [0, 1]; or
            if another file has the name of the entry.

    Example:
        >>> import tempfile
        >>> from pyro_vae.data import load
        >>> images, labels, test, test_labels = load("mnist-5k")
        >>> small = Data(images[:256], labels[:256], test, test_labels)
        >>> found = classifier_for(small, tempfile.mkdtemp())
        >>> found.features(test[:3]).shape, found.fresh
        (torch.Size([3, 64]), True)
    """
    part = labelled(data)
    folder = expanded(cache or CACHE)
    path = folder / f"{_key(part)}.safetensors"
    shape, numbers = tuple(part.train.shape[1:]), part.train_labels.unique()
    classes = len(numbers)
    found = _cached(path, shape, classes)
    if found is not None:
        return found
    _check_entry(path)
    folder.mkdir(parents=True, exist_ok=True)
    with _one_thread():
        places = torch.searchsorted(numbers, part.train_labels)
        network = trained_network(part.train, places, classes, progress)
        logits = in_blocks(network, as_unit(part.test))
    accuracy = float((numbers[logits.argmax(1)] == part.test_labels).double().mean())
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    sha256, tested = sha256_of(weights), len(part.test)
    record = {"recipe": RECIPE, "sha256": sha256, "accuracy": accuracy, "tested": tested}
    replace(path, lambda there: save_file(weights, there))
    text = json.dumps(record, indent=2) + "\n"
    replace(path.with_suffix(".json"), lambda there: there.write_text(text, encoding="utf-8"))
    return Classifier(network, shape, accuracy, tested, sha256, path, fresh=True)


class Labelled(NamedTuple):
    """A data set that a classifier can be trained on, as :class:`~pyro_vae.data.Data`."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def labelled(data: Data) -> Labelled:
    """The same data, whose labels are there.

    Raises:
        InputError: If labels are missing or of one class, or the data are no images on [0, 1].
    """
    train, train_labels = plain(data.train), data.train_labels
    test, test_labels = plain(data.test), data.test_labels
    if train_labels is None or test_labels is None:
        raise InputError(
            "a classifier needs labels, and these data have none: give a data set with labels "
            "(an .npz with train_labels and test_labels, or images and labels)"
        )
    if not (isinstance(train, Tensor) and isinstance(test, Tensor)):
        raise InputError("a classifier needs images in memory: give fewer, these stay on disk")
    if train.dim() != 4:
        raise InputError(
            f"a classifier needs images (N, C, H, W), got data of shape {tuple(train.shape)}"
        )
    if int(min(train_labels.min(), test_labels.min())) < 0:
        raise InputError("labels must be 0, 1, 2, ..., got negative ones")
    if len(train_labels.unique()) < 2:
        raise InputError(
            f"a classifier needs at least 2 classes, got only class {int(train_labels[0])}"
        )
    _check_range(train)
    _check_range(test)
    return Labelled(train, train_labels, test, test_labels)


def _check_range(images: Tensor) -> None:
    low, high = float(images.min()), float(images.max())
    if images.dtype != torch.uint8 and not 0 <= low <= high <= 1:
        raise InputError(
            f"images must be uint8 levels or floats on [0, 1], got {low:g} to {high:g}"
        )


def _key(data: Labelled) -> str:
    """SHA-256 of the recipe's version and the data."""
    digest = hashlib.sha256(f"recipe {RECIPE}".encode())
    for part in data:
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def sha256_of(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, their names and shapes."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def _check_entry(path: Path) -> None:
    """Make sure that what has an entry's name is an entry, however damaged.

    Raises:
        InputError: If nothing in it shows that.
    """
    there = [each for each in (path, path.with_suffix(".json")) if os.path.lexists(each)]
    if there and not any(each.is_file() and _OURS.match(each.read_bytes()[:80]) for each in there):
        raise InputError(f"{there[0]} is in the way of a classifier's weights: move it away")


def _cached(path: Path, data_shape: tuple[int, ...], classes: int) -> Classifier | None:
    """What the cache holds, or None if that is nothing, or damaged."""
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with in_utf8(path) as there:
            weights = load_file(there)
        if record["sha256"] != sha256_of(weights):
            return None
        network = Network(data_shape, classes)
        network.load_state_dict(weights)
        accuracy, tested = float(record["accuracy"]), int(record["tested"])
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError):
        return None
    network.eval()
    return Classifier(network, data_shape, accuracy, tested, record["sha256"], path, fresh=False)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over one thread, so that weights do not depend on how many the caller has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
