"""A small classifier of the data set at hand, whose features samples are scored by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pyro_vae.data import Data, as_images
from pyro_vae.errors import InputError
from pyro_vae.training.runs import replace

__all__ = ["CACHE", "FEATURES", "Classifier", "classifier_for"]

CACHE = Path("~/.cache/pyro_vae/classifiers")
FEATURES = 64
"""Length of a feature vector."""

RECIPE = 1
"""Version of the network and its training; another version is another classifier."""
PASSES, EPOCHS, BATCH, RATE, SHIFT, SEED = 240_000, (5, 16), 64, 3e-3, 2, 0
_CHUNK = 1000


class Network(nn.Module):
    """Two strided convolutions and two linear layers.

    Args:
        data_shape: (C, H, W) of an image.
        classes: Their number.
    """

    def __init__(self, data_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(data_shape[0], 16, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(7),
            nn.Flatten(),
            nn.Linear(32 * 49, FEATURES),
            # Units of variance 1 and no dead ones: the covariance of the features has full rank.
            nn.BatchNorm1d(FEATURES, affine=False),
            nn.GELU(),
        )
        self.head = nn.Linear(FEATURES, classes)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("width", torch.ones(()))
        self.centre: Tensor
        self.width: Tensor

    def features(self, images: Tensor) -> Tensor:
        """Images on [0, 1], (N, C, H, W) → the penultimate layer, (N, 64)."""
        out: Tensor = self.body((images - self.centre) / self.width)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Images on [0, 1], (N, C, H, W) → logits (N, classes)."""
        out: Tensor = self.head(self.features(images))
        return out


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

    def features(self, images: Any) -> Tensor:
        """Features of images, in blocks.

        Args:
            images: uint8 levels or floats on [0, 1], (N, C, H, W).

        Returns:
            Shape (N, 64), float64.

        Raises:
            InputError: If the images have another shape, or floats lie outside [0, 1].
        """
        return self._through(self.network.features, images)

    def logits(self, images: Any) -> Tensor:
        """Logits of the classes, (N, classes), float64; arguments as for :meth:`features`."""
        return self._through(self.network, images)

    def _through(self, part: Callable[[Tensor], Tensor], images: Any) -> Tensor:
        checked = as_images(images, self.data_shape)
        _check_range(checked)
        return _in_blocks(part, _unit(checked))

    def __str__(self) -> str:
        return f"classifier {self.sha256[:12]}, accuracy {self.accuracy:.4f} on {self.tested}"


def classifier_for(
    data: Data, cache: str | Path | None = None, progress: Callable[[str], object] | None = None
) -> Classifier:
    """The classifier of a labelled data set, trained or from the cache.

    The same data give the same weights, bit for bit on one machine: the seed is fixed and training
    uses one thread. 4,500 digits take about 12 seconds of processor time, 60,000 images 45. A
    damaged entry of the cache is trained anew.

    Args:
        data: Images and labels, for training and for the accuracy.
        cache: Folder of weights; by default :data:`CACHE`.
        progress: Called with a line for every epoch.

    Raises:
        InputError: If labels are missing or of one class, or the data are no images on [0, 1].

    Example:
        >>> import tempfile
        >>> from pyro_vae.data import load
        >>> images, labels, test, test_labels = load("mnist-5k")
        >>> small = Data(images[:256], labels[:256], test, test_labels)
        >>> found = classifier_for(small, tempfile.mkdtemp())
        >>> found.features(test[:3]).shape, found.fresh
        (torch.Size([3, 64]), True)
    """
    part = _checked(data)
    folder = Path(cache or CACHE).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_key(part)}.safetensors"
    shape, classes = tuple(part.train.shape[1:]), int(part.train_labels.max()) + 1
    found = _cached(path, shape, classes)
    if found is not None:
        return found
    with _one_thread():
        network = _trained(part, classes, progress)
        logits = _in_blocks(network, _unit(part.test))
    accuracy = float((logits.argmax(1) == part.test_labels).double().mean())
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    sha256, tested = _sha256(weights), len(part.test)
    record = {"recipe": RECIPE, "sha256": sha256, "accuracy": accuracy, "tested": tested}
    replace(path, lambda there: save_file(weights, there))
    text = json.dumps(record, indent=2) + "\n"
    replace(path.with_suffix(".json"), lambda there: there.write_text(text, encoding="utf-8"))
    return Classifier(network, shape, accuracy, tested, sha256, path, fresh=True)


class _Labelled(NamedTuple):
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def _checked(data: Data) -> _Labelled:
    train, train_labels, test, test_labels = data
    if train_labels is None or test_labels is None:
        raise InputError(
            "a classifier needs labels, and these data have none: give a data set with labels "
            "(an .npz with train_labels and test_labels, or images and labels)"
        )
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
    return _Labelled(train, train_labels, test, test_labels)


def _check_range(images: Tensor) -> None:
    low, high = float(images.min()), float(images.max())
    if images.dtype != torch.uint8 and not 0 <= low <= high <= 1:
        raise InputError(
            f"images must be uint8 levels or floats on [0, 1], got {low:g} to {high:g}"
        )


def _unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _key(data: _Labelled) -> str:
    """SHA-256 of the recipe's version and the data."""
    digest = hashlib.sha256(f"recipe {RECIPE}".encode())
    for part in data:
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def _sha256(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _cached(path: Path, data_shape: tuple[int, ...], classes: int) -> Classifier | None:
    """What the cache holds, or None if that is nothing, or damaged."""
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        weights = load_file(path)
        if record["sha256"] != _sha256(weights):
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


def _trained(data: _Labelled, classes: int, progress: Callable[[str], object] | None) -> Network:
    """AdamW with one cycle of the learning rate, images shifted by up to two pixels."""
    n = len(data.train)
    epochs = min(max(round(PASSES / n), EPOCHS[0]), EPOCHS[1])
    batch = min(BATCH, n)
    with torch.random.fork_rng([]):
        torch.manual_seed(SEED)
        network = Network(tuple(data.train.shape[1:]), classes).float().train()
        sample = _unit(data.train[:10_000])
        network.centre.copy_(sample.mean())
        network.width.copy_(sample.std().clamp_min(1e-3))
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, RATE, total_steps=epochs * (n // batch), pct_start=0.2
        )
        for epoch in range(epochs):
            for chosen in torch.randperm(n)[: n - n % batch].split(batch):
                images = _shifted(_unit(data.train[chosen]))
                loss = F.cross_entropy(network(images), data.train_labels[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            if progress is not None:
                progress(f"epoch {epoch + 1} of {epochs}, last loss {loss.item():.4f}")
    return network.eval()


def _shifted(images: Tensor) -> Tensor:
    """Each image moved by up to :data:`SHIFT` pixels along both axes, edges repeated."""
    n, _, height, width = images.shape
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    offset = torch.randint(0, 2 * SHIFT + 1, (2, n, 1, 1))
    rows = offset[0] + torch.arange(height)[:, None]
    columns = offset[1] + torch.arange(width)
    moved = padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows, columns]
    return moved.permute(0, 3, 1, 2)


@torch.no_grad()
def _in_blocks(part: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.cat([part(block) for block in images.cpu().split(_CHUNK)]).double()
