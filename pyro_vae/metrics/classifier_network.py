"""The network of a classifier, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__: list[str] = []

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


def as_unit(images: Tensor) -> Tensor:
    """Levels (uint8) or floats on [0, 1] as floats on [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def trained_network(
    images: Tensor, labels: Tensor, classes: int, progress: Callable[[str], object] | None
) -> Network:
    """AdamW with one cycle of the learning rate, images shifted by up to two pixels.

    Args:
        images: uint8 levels or floats on [0, 1], (N, C, H, W).
        labels: Their classes, (N,).
        classes: Number of classes.
        progress: Called with a line for every epoch, or None.
    """
    n = len(images)
    epochs = min(max(round(PASSES / n), EPOCHS[0]), EPOCHS[1])
    batch = min(BATCH, n)
    with torch.random.fork_rng([]):
        torch.manual_seed(SEED)
        network = Network(tuple(images.shape[1:]), classes).float().train()
        sample = as_unit(images[:10_000])
        network.centre.copy_(sample.mean())
        network.width.copy_(sample.std().clamp_min(1e-3))
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, RATE, total_steps=epochs * (n // batch), pct_start=0.2
        )
        for epoch in range(epochs):
            for chosen in torch.randperm(n)[: n - n % batch].split(batch):
                batch_images = _shifted(as_unit(images[chosen]))
                loss = F.cross_entropy(network(batch_images), labels[chosen])
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
def in_blocks(part: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """``part`` of images a thousand at a time, float64 on the CPU."""
    return torch.cat([part(block) for block in images.cpu().split(_CHUNK)]).double()
