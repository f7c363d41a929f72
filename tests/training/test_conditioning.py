"""Augmentation and binarisation: after the split, and what of them held-out images see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import evaluate, fit, observations
from pyro_vae.data import augment, split

from .models import small


def numbered(n: int) -> Tensor:
    """Images that carry their number in the first pixel."""
    images = torch.zeros((n, 1, 28, 28), dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(n)
    images[:, 0, 9:19, 9:19] = 200
    return images


def test_only_training_images_are_augmented(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def negative(image: Tensor) -> Tensor:
        seen.append(int(image[0, 0, 0]))
        return 255 - image

    def mark(v2: Any, shape: tuple[int, ...]) -> Any:
        return negative

    monkeypatch.setitem(augment.TABLE, "mark", mark)
    images = numbered(100)
    train, held_out = split(images, 0.3, seed=4)
    assert held_out is not None
    vae = small()
    options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "augment": ["mark"]}
    history = fit(vae, images, 0.3, seed=4, keep_best=False, **options)
    ids = train[:, 0, 0, 0].tolist()
    assert sorted(seen) == sorted(ids * 2)
    assert set(ids).isdisjoint(held_out[:, 0, 0, 0].tolist())
    last = history.epochs("held-out")[-1]["elbo"]
    assert last == pytest.approx(evaluate(vae, held_out)["elbo"], rel=1e-5)


@pytest.mark.parametrize("name", list(augment.TABLE))
def test_augmentations(few: Tensor, name: str) -> None:
    """Fresh each time, each image on its own; levels stay levels."""
    transform = augment.make([name], (1, 28, 28))
    assert transform is not None
    same = few[:1].expand(20, -1, -1, -1)
    first, second = transform(same), transform(same)
    assert first.shape == same.shape
    assert first.dtype == torch.uint8
    assert not torch.equal(first, second)
    assert len({tuple(image.flatten().tolist()) for image in first}) > 1
    assert torch.equal(same, few[:1].expand(20, -1, -1, -1))


class Spy:
    """A model that notes what it is given, in training and outside."""

    def __init__(self, levels: str) -> None:
        self.vae = small(observations.get("bernoulli", levels))
        self.model, self.seen = self.vae.model, {True: [], False: []}  # type: ignore[var-annotated]
        self.vae.model = self  # type: ignore[method-assign, assignment]

    def __call__(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        self.seen[self.vae.training].append(x)
        return self.model(x, *args, **options)


@pytest.mark.parametrize("levels", ["binary", "threshold"])
def test_binarisation(few: Tensor, levels: str) -> None:
    """Stochastic: drawn afresh in each training step, held-out images the same each time."""
    spy = Spy(levels)
    grey = few[:1].expand(64, -1, -1, -1).contiguous()
    options: dict[str, Any] = {"epochs": 2, "batch_size": 64, "init_from_data": False}
    history = fit(spy.vae, grey, few[:50], **options)
    assert history.kind == "mass"
    for x in (*spy.seen[True], *spy.seen[False]):
        assert set(x.unique().tolist()) == {0.0, 1.0}
    first, second = spy.seen[True]
    _, held_out, again = spy.seen[False]  # before training its sites are looked at
    assert torch.equal(held_out, again)
    dark = (few[:50] < 128).float()
    if levels == "threshold":
        assert torch.equal(first, second)
        assert torch.equal(first, (grey > 127).float())
        assert torch.equal(held_out, 1 - dark)
    else:
        assert not torch.equal(first, second)
        assert not torch.equal(held_out, 1 - dark)
        # Of 64 draws per pixel, 8 standard errors.
        assert (first.mean(0) - grey[0] / 255).abs().max() < 0.5
        assert torch.equal(first[0][few[0] == 0], torch.zeros(int((few[0] == 0).sum())))
