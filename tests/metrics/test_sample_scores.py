"""Scores of samples: their floors, what they say of known pictures, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor, nn

from pyro_vae import VAE, InputError
from pyro_vae.data import Batch, Data
from pyro_vae.metrics.classifier import Classifier, classifier_for
from pyro_vae.metrics.fid import (
    frechet_distance,
    kernel_distance,
    least,
)
from pyro_vae.metrics.sample_scores import draw, rows, sample_scores, score_pictures

FAILURE_RATE = 1e-3
"""Of each statistical test here, had its seed been another."""


@pytest.fixture
def vae() -> VAE:
    return VAE((1, 28, 28), 4, "normal")


def test_scores_of_held_out_digits_beat_those_of_noise(
    digits: Data, classifier: Classifier
) -> None:
    real, held_out = digits.test.float() / 255, digits.train[1000:2000].float() / 255
    digit, noise = (
        score_pictures(pictures, real, classifier)
        for pictures in (held_out, torch.rand(1000, 1, 28, 28))
    )
    assert digit["classifier_fid_at_floor"] < 2 * digit["classifier_fid_floor"]
    assert noise["classifier_fid"] > 10 * digit["classifier_fid"]
    assert noise["classifier_kid"] > 10 * noise["classifier_kid_se"]
    assert noise["classifier_is"] < digit["classifier_is"]
    assert (digit["n"], digit["n_real"], digit["n_floor"]) == (1000, 500, 250)
    assert digit["classifier_accuracy"] == classifier.accuracy
    assert digit["dark_real"] == pytest.approx(np.mean(np.asarray(real) < 0.02), abs=1e-12)


def test_the_order_of_the_images_does_not_make_blocks_of_one_class(
    digits: Data, classifier: Classifier
) -> None:
    assert digits.test_labels is not None
    real = digits.test.float() / 255
    ordered = real[digits.test_labels.argsort()]
    scores = score_pictures(digits.train[1000:1500].float() / 255, ordered, classifier)
    wide = scipy.stats.norm.ppf(1 - FAILURE_RATE / 2)
    assert abs(scores["classifier_kid_floor"]) < wide * scores["classifier_kid_floor_se"]


def test_scores_are_the_same_from_call_to_call(
    vae: VAE, digits: Data, classifier: Classifier
) -> None:
    first = sample_scores(vae, digits.test, classifier, n=300)
    torch.manual_seed(7)
    vae.train()
    assert sample_scores(vae, digits.test, classifier, n=300) == first
    assert vae.training
    assert sample_scores(vae, digits.test, classifier, n=300, seed=1) != first
    assert first["kind"] == "sample"


class Told(nn.Module):
    """A decoder that gives a picture for each class, whatever z is."""

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(40 * (pictures.flatten(1) - 0.5))

    def forward(self, z: Tensor, covariates: Tensor) -> Tensor:
        return covariates @ self.logits


class Deaf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor, covariates: Tensor) -> Tensor:
        return self.raw.expand(len(x), -1)


@pytest.mark.parametrize(("shift", "right"), [(0, 1.0), (1, 0.0), (None, 0.5)])
def test_samples_are_of_the_class_asked_for(
    digits: Data, classifier: Classifier, shift: int | None, right: float
) -> None:
    """Pictures of each class that the classifier knows; of its neighbour; of every other."""
    assert digits.train_labels is not None
    taken = classifier.logits(digits.train).argmax(1)
    pictures = torch.stack(
        [
            (digits.train[(digits.train_labels == k) & (taken == k)][0].float() > 127).float()
            for k in range(10)
        ]
    )
    assert classifier.logits(pictures).argmax(1).tolist() == list(range(10))
    order = torch.arange(10)
    order = order // 2 * 2 if shift is None else (order + shift) % 10
    vae = VAE((1, 28, 28), 2, "bernoulli", (Deaf(), Told(pictures[order])), covariates=10)
    labels = torch.arange(500) % 10
    batch = Batch(digits.test, torch.eye(10)[labels])
    scores = sample_scores(vae, batch, classifier, n=300, kind="mean")
    assert scores["right_class"] == right
    assert any("of the class asked for" in label for label, _ in rows(scores))


def test_of_a_model_that_is_told_nothing_no_class_is_asked(
    vae: VAE, digits: Data, classifier: Classifier
) -> None:
    assert sample_scores(vae, digits.test, classifier, n=300)["right_class"] is None


def test_more_samples_begin_with_the_same_ones(vae: VAE) -> None:
    torch.testing.assert_close(draw(vae, 300)[:130], draw(vae, 130))
    assert not torch.equal(draw(vae, 20, seed=1), draw(vae, 20))


def test_every_line_names_the_classifier(vae: VAE, digits: Data, classifier: Classifier) -> None:
    scores = sample_scores(vae, digits.test, classifier, kind="mean")
    printed = rows(scores)
    assert all(len(f"  {label:<22} {text}") <= 80 for label, text in printed)
    names = [label for label, _ in printed if label.endswith(("FID", "KID", "IS"))]
    assert names == ["classifier-FID", "classifier-KID", "classifier-IS"]
    text = dict(printed)
    assert "500 samples and 500 real" in text["classifier-FID"]
    assert classifier.sha256[:10] in text["  classifier"]


class _Flat(nn.Module):
    """Features of one's own: pixels at every seventh place."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1)[:, 300:500:7]


def test_features_of_ones_own_take_the_classifiers_place(vae: VAE, digits: Data) -> None:
    scores = sample_scores(vae, digits.test, None, features=_Flat())
    assert scores["features"] == 29
    assert scores["classifier_is"] is None
    assert "classifier_fid" not in scores
    sets = (draw(vae, 500), digits.test.float() / 255)
    expected = frechet_distance(*(_Flat()(pictures).double() for pictures in sets))
    assert scores["custom_fid"] == pytest.approx(expected, abs=1e-6)
    assert rows(scores)[0][0] == "custom-FID"


def test_colour(tmp_path: Path) -> None:
    labels = torch.arange(200) % 2
    images = (torch.rand(200, 3, 16, 16) * 100 + 100 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    colour = classifier_for(Data(images, labels, images, labels), tmp_path)
    scores = sample_scores(VAE((3, 16, 16), 4, "normal"), images, colour)
    figures = {name: value for name, value in scores.items() if isinstance(value, float)}
    assert {"classifier_fid", "classifier_kid", "classifier_is"} <= set(figures)
    assert all(np.isfinite(value) for value in figures.values())
    # Grey noise of one class is far from two classes of colours; an inception score is at least 1.
    assert scores["classifier_fid"] > 10 * abs(scores["classifier_fid_floor"])
    assert 1 <= scores["classifier_is"] <= 2


def test_the_least_number_is_enough(digits: Data, vae: VAE, classifier: Classifier) -> None:
    fewest = least(classifier.dims)
    assert fewest == 130
    scores = sample_scores(vae, digits.test[:fewest], classifier)
    assert scores["n"] == scores["n_real"] == fewest


def test_too_few_images_says_how_many(digits: Data, vae: VAE, classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"^FID on 64 features needs at least 130 real .*got 129$"):
        sample_scores(vae, digits.test[:129], classifier)
    with pytest.raises(InputError, match=r"^FID on 64 .* 130 samples, got 100$"):
        sample_scores(vae, digits.test, classifier, n=100)


def test_bad_input_is_refused(digits: Data, vae: VAE, classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"got \(200, 3, 32, 32\)"):
        sample_scores(vae, torch.rand(200, 3, 32, 32), classifier)
    with pytest.raises(InputError, match=r"the classifier takes images of shape \(1, 28, 28\)"):
        sample_scores(VAE((3, 32, 32), 4), torch.rand(200, 3, 32, 32), classifier)
    with pytest.raises(InputError, match="need a classifier"):
        sample_scores(vae, digits.test, None)
    with pytest.raises(InputError, match=r"\(N, D\), got \(250, 1, 28, 28\)"):
        sample_scores(vae, digits.test, None, features=lambda pictures: pictures)
    with pytest.raises(InputError, match="finite"):
        sample_scores(vae, digits.test, None, features=lambda x: x.flatten(1)[:, :3] / 0)
    with pytest.raises(InputError, match="did you mean 'mean'"):
        sample_scores(vae, digits.test, classifier, kind="men")
    with pytest.raises(InputError, match="at least 65 images in a set, got 64"):
        frechet_distance(torch.rand(64, 64), torch.rand(100, 64))
    with pytest.raises(InputError, match=r"got \(30, 4\) and \(30, 5\)"):
        kernel_distance(torch.rand(30, 4), torch.rand(30, 5))
