"""Scores of samples against independent implementations, known truths and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor, nn

from pyro_vae import VAE, InputError
from pyro_vae.data import Data
from pyro_vae.evaluation.classifier import Classifier, classifier_for
from pyro_vae.evaluation.fid import (
    BLOCKS,
    frechet_distance,
    frechet_distance_infinite,
    inception_score,
    kernel_distance,
    least,
)
from pyro_vae.evaluation.sample_scores import draw, rows, sample_scores, score_pictures

FAILURE_RATE = 1e-3
"""Of each statistical test here, had its seed been another."""


@pytest.fixture(scope="module")
def classifier(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A quick one, of few digits."""
    torch.set_num_threads(1)
    images, labels, test, test_labels = digits
    assert labels is not None
    return classifier_for(
        Data(images[:640], labels[:640], test, test_labels), tmp_path_factory.mktemp("cache")
    )


@pytest.fixture(scope="module")
def features(digits: Data, classifier: Classifier) -> Tensor:
    """Of 3,000 digits that it was not trained on, in random order."""
    return classifier.features(digits.train[1000:4000])


@pytest.fixture
def vae() -> VAE:
    return VAE((1, 28, 28), 4, "normal")


def _frechet(a: Tensor, b: Tensor) -> float:
    """Heusel et al.'s formula with scipy's matrix square root."""
    first, second = a.numpy(), b.numpy()
    step = first.mean(0) - second.mean(0)
    s, t = np.cov(first.T), np.cov(second.T)
    return float(step @ step + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real))


def _frechet_by_svd(a: Tensor, b: Tensor) -> float:
    """tr((ΣT)^½) is the nuclear norm of the product of the centred data's triangular factors."""
    parts = [(x.numpy() - x.numpy().mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    r, s = (np.linalg.qr(part)[1] for part in parts)
    step = a.numpy().mean(0) - b.numpy().mean(0)
    nuclear = np.linalg.svd(r @ s.T, compute_uv=False).sum()
    return float(step @ step + (r**2).sum() + (s**2).sum() - 2 * nuclear)


@pytest.mark.parametrize("oracle", [_frechet, _frechet_by_svd])
@pytest.mark.parametrize("case", ["halves", "sizes", "scaled", "float32"])
def test_frechet_distance_is_the_formula(case: str, oracle: object, features: Tensor) -> None:
    a, b = {
        "halves": (features[:1500], features[1500:]),
        "sizes": (features[:100], features[100:900]),
        "scaled": (features[:500], 3 * features[500:1000] - 2),
        "float32": (features[:500].float(), features[500:1000].float()),
    }[case]
    assert callable(oracle)
    expected = oracle(a.double(), b.double())
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_of_known_normals() -> None:
    # Whitened samples have exactly these moments: |μ|² + Σ(σ − τ)².
    draws = torch.randn(2, 300, 5, dtype=torch.float64)
    white = [(x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T for x in draws]
    s, t = torch.tensor([1.0, 2, 3, 4, 5]).double(), torch.tensor([2.0, 2, 1, 6, 0.5]).double()
    expected = 5 * 0.7**2 + float((s - t).square().sum())
    assert frechet_distance(white[0] * s + 0.7, white[1] * t) == pytest.approx(expected, abs=1e-6)


def test_identical_sets_have_no_distance(features: Tensor) -> None:
    for n in (65, 500, 3000):
        assert abs(frechet_distance(features[:n], features[:n].clone())) < 1e-6


def test_extrapolation_takes_the_bias_away() -> None:
    # Two samples of one normal: the truth is 0; at n = 400 the bias alone is above 4.
    a, b = torch.randn(2, 400, 64, dtype=torch.float64).unbind()
    raw, infinite = frechet_distance(a, b), frechet_distance_infinite(a, b)
    assert raw > 3
    assert abs(infinite) < raw / 4
    # Apart by a known distance.
    apart = frechet_distance_infinite(a, b + 1)
    assert abs(apart - 64) < abs(frechet_distance(a, b + 1) - 64)
    assert infinite == frechet_distance_infinite(a, b)


def _kernel(u: Any, v: Any) -> float:
    return float((np.dot(u, v) / len(u) + 1) ** 3)


def _mmd(x: Any, y: Any) -> float:
    """The unbiased squared MMD, a double loop over pairs written out."""
    n = len(x)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    same = sum(_kernel(x[i], x[j]) + _kernel(y[i], y[j]) for i, j in pairs) / (n * (n - 1))
    return same - 2 * sum(_kernel(u, v) for u in x for v in y) / n**2


def test_kernel_distance_is_the_mean_of_disjoint_blocks(features: Tensor) -> None:
    a, b = features[:125], 1.5 * features[200:330]
    parts = (x[:120].numpy().reshape(10, 12, -1) for x in (a, b))
    blocks = [_mmd(x, y) for x, y in zip(*parts, strict=True)]
    value, error = kernel_distance(a, b)
    assert value == pytest.approx(np.mean(blocks), abs=1e-9)
    assert error == pytest.approx(scipy.stats.sem(blocks), abs=1e-9)


def test_kernel_distance_of_two_halves_covers_zero(features: Tensor) -> None:
    value, error = kernel_distance(features[:1500], features[1500:])
    assert abs(value) < scipy.stats.t.ppf(1 - FAILURE_RATE / 2, BLOCKS - 1) * error


def test_intervals_of_kernel_distance_cover_zero_as_often_as_they_say(features: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    wide, covered, trials = scipy.stats.t.ppf(0.975, BLOCKS - 1), 0, 100
    for _ in range(trials):
        chosen = features[torch.randperm(len(features), generator=generator)[:600]]
        value, error = kernel_distance(chosen[:300], chosen[300:])
        covered += abs(value) < wide * error
    assert covered > scipy.stats.binom.ppf(FAILURE_RATE, trials, 0.95)


def test_kernel_distance_sees_a_shift(features: Tensor) -> None:
    value, error = kernel_distance(features[:1500], features[1500:] + 0.3)
    assert value > 5 * error


def test_inception_score_is_the_formula() -> None:
    logits = 3 * torch.randn(400, 7, dtype=torch.float64)
    p = scipy.special.softmax(logits.numpy(), 1)
    kl = scipy.stats.entropy(p, p.mean(0)[None], axis=1)
    value, error = inception_score(logits)
    assert value == pytest.approx(np.exp(kl.mean()), rel=1e-9)
    # The delta method's error; that of ten splits has 9 degrees of freedom.
    delta = np.exp(kl.mean()) * kl.std() / 20
    low, high = scipy.stats.chi2.ppf([FAILURE_RATE / 2, 1 - FAILURE_RATE / 2], BLOCKS - 1)
    assert low < (BLOCKS - 1) * (error / delta) ** 2 < high


@pytest.mark.parametrize(("logits", "expected"), [(torch.zeros(60, 5), 1), (40 * torch.eye(6), 6)])
def test_inception_score_between_one_and_the_classes(logits: Tensor, expected: float) -> None:
    assert inception_score(logits.repeat(10, 1))[0] == pytest.approx(expected, rel=1e-9)


def test_inception_score_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    inception_score(torch.randn(50, 3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)


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
    wide = scipy.stats.t.ppf(1 - FAILURE_RATE / 2, BLOCKS - 1)
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


def test_more_samples_begin_with_the_same_ones(vae: VAE) -> None:
    assert torch.equal(draw(vae, 300)[:130], draw(vae, 130))
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
    expected = _frechet_by_svd(*(_Flat()(pictures).double() for pictures in sets))
    assert scores["custom_fid"] == pytest.approx(expected, abs=1e-6)
    assert rows(scores)[0][0] == "custom-FID"


def test_colour(tmp_path: Path) -> None:
    labels = torch.arange(200) % 2
    images = (torch.rand(200, 3, 16, 16) * 100 + 100 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    colour = classifier_for(Data(images, labels, images, labels), tmp_path)
    scores = sample_scores(VAE((3, 16, 16), 4, "normal"), images, colour)
    assert all(np.isfinite(value) for value in scores.values() if isinstance(value, float))


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


def test_without_torchmetrics_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(InputError, match=r"pip install 'pyro_vae\[evaluate\]'"):
        frechet_distance(torch.rand(20, 3), torch.rand(20, 3))
