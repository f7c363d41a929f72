"""Models of p(x|c): covariates in fit, evaluate and diagnose, and classes on the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import VAE, Head, InputError, Param
from pyro_vae.data import Batch, conditioned, first, load

D, L, C, SIGMA, FLOOR = 5, 2, 3, 0.5, 1e-4
HEAD = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real")


class Joined(nn.Module):
    """A linear network of two arguments."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, x: Tensor, covariates: Tensor) -> Tensor:
        found: Tensor = self.linear(torch.cat([x, covariates], 1))
        return found


def exact() -> tuple[VAE, np.ndarray, np.ndarray]:
    """x|z, c ~ N(W z + B c, ½²) with the posterior set by hand: W's columns are orthogonal."""
    rng = np.random.default_rng(0)
    w = np.linalg.qr(rng.normal(size=(D, L)))[0] * np.array([1.5, 0.7])
    b = rng.normal(size=(D, C))
    precision = 1 + (w**2).sum(0) / SIGMA**2
    gain = w.T / SIGMA**2 / precision[:, None]
    vae = VAE((D,), L, HEAD, (Joined(D + C, 2 * L), Joined(L + C, D)), covariates=C)
    raw = np.log(np.expm1(precision**-0.5 - FLOOR))
    weights = {
        "encoder.linear.weight": np.vstack([np.hstack([gain, -gain @ b]), np.zeros((L, D + C))]),
        "encoder.linear.bias": np.concatenate([np.zeros(L), raw]),
        "decoder.linear.weight": np.hstack([w, b]),
        "decoder.linear.bias": np.zeros(D),
    }
    vae.load_state_dict({key: torch.tensor(value) for key, value in weights.items()}, strict=False)
    return vae, w @ w.T + SIGMA**2 * np.eye(D), b


def test_with_the_exact_posterior_the_bound_is_log_p_of_x_given_c() -> None:
    vae, cov, b = exact()
    generator = torch.Generator().manual_seed(0)
    noise, c = (torch.randn(300, n, generator=generator) for n in (D, C))
    x = noise + c @ torch.tensor(b, dtype=torch.float32).T
    wanted = multivariate_normal(np.zeros(D), cov).logpdf(x.numpy() - c.numpy() @ b.T)
    scores = pv.evaluate(vae, x, covariates=c, iwae=3)
    # Its KL is the expected one, its reconstruction of one draw: its deviation is that of half a
    # chi-square of L, 1 nat an image; 4.5 standard errors of 300.
    assert scores["elbo"] == pytest.approx(wanted.mean(), abs=4.5 / math.sqrt(300))
    # Sums of some 10 float32 terms of the order of 10 nats each.
    assert scores["iwae"]["bound"] == pytest.approx(wanted.mean(), abs=1e-5)
    other = pv.evaluate(vae, x, covariates=c.roll(1, 0))
    assert other["elbo"] < scores["elbo"] - 1
    rmse = np.sqrt(scores["mse"])
    shown = vae.reconstruct(Batch(x, c))
    assert rmse == pytest.approx(float((shown - x).square().mean().sqrt()), rel=1e-5)


def test_fit_learns_the_covariates_part() -> None:
    """x is B c and noise: what training reaches is N(B c, ½²), and no latent is used."""
    generator = torch.Generator().manual_seed(1)
    c = torch.randn(600, C, generator=generator)
    b = torch.randn(D, C, generator=generator)
    x = c @ b.T + SIGMA * torch.randn(600, D, generator=generator)
    vae = VAE((D,), L, HEAD, (Joined(D + C, 2 * L), Joined(L + C, D)), covariates=C)
    held_out = Batch(x[500:], c[500:])
    history = pv.fit(vae, x[:500], held_out, epochs=150, batch_size=50, lr=1e-2, covariates=c[:500])
    entropy = D * (0.5 * math.log(2 * math.pi) + math.log(SIGMA) + 0.5)
    # A mean of 100 sums of D squares: 4.5 standard errors of it, and what 500 rows leave to learn.
    assert history.epochs("held-out")[-1]["elbo"] == pytest.approx(-entropy, abs=0.75)
    with torch.no_grad():
        found = vae.decode(torch.zeros(C, L), covariates=torch.eye(C)).mean
    torch.testing.assert_close(found.T, b, atol=0.15, rtol=0)
    found = pv.diagnose(vae, held_out, history, train=Batch(x[:500], c[:500]))
    assert found.verdict == "collapsed"  # as it should be: c says all


@pytest.mark.parametrize("call", [pv.fit, pv.evaluate, pv.diagnose])
@pytest.mark.parametrize(
    ("covariates", "said"),
    [
        (None, "has 3 covariates, to be given in shape .*got none"),
        (torch.zeros(9, 3), r"must have shape \(20, C\), one row for each image; got \(9, 3\)"),
        (torch.zeros(20, 4), r"has 3 covariates.*got shape \(20, 4\)"),
        (torch.full((20, 3), math.nan), "covariates must be finite"),
    ],
)
def test_covariates_that_do_not_fit_are_told(
    covariates: Tensor | None, said: str, call: Callable[..., object]
) -> None:
    vae, _, _ = exact()
    with pytest.raises(InputError, match=said):
        call(vae, torch.randn(20, D), covariates=covariates)  # type: ignore[operator]


def test_a_model_that_is_told_nothing_refuses_them() -> None:
    with pytest.raises(InputError, match="this VAE has none: make it with covariates="):
        pv.fit(VAE((D,), L, HEAD), torch.randn(20, D), covariates=torch.zeros(20, 3))


def test_labels_become_one_hot_rows_of_their_images() -> None:
    data = first(load("mnist-5k"), 40)
    found = conditioned(data, {"by": "labels", "classes": 12})
    assert found.test.x is data.test
    assert data.train_labels is not None
    index = torch.tensor([3, 17])
    part = found.train[index]
    assert torch.equal(part.x, data.train[index])
    assert part.covariates.argmax(1).tolist() == data.train_labels[index].tolist()
    assert part.covariates.sum(1).tolist() == [1.0, 1.0]
    assert part.covariates.shape == (2, 12)


OPTIONS = ("--condition", "labels", "--images", 200, "--hidden", 16, "--latent-dim", 2)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "told"
    pv.training.RunConfig.of(condition="labels", images=200, hidden=16, latent_dim=2, epochs=2).run(
        out
    )
    return out


def test_every_command_takes_classes(
    run_cli: Callable[..., str], run_folder: Path, tmp_path: Path
) -> None:
    scores = json.loads(run_cli("evaluate", run_folder, "--iwae", 2, "--json"))
    assert scores["images"] == 200
    assert math.isfinite(scores["elbo"])
    for words in (("--condition", "3,5"), ()):
        run_cli("sample", run_folder, "--out", tmp_path / "samples.png", "--overwrite", *words)
    run_cli("reconstruct", run_folder)
    assert json.loads(run_cli("diagnose", run_folder, "--json"))["verdict"]
    run_cli("report", run_folder, "--out", tmp_path / "report.html")
    assert "no pictures" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    loaded = pv.load(run_folder)
    assert loaded.covariates == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--condition", "13"), "class 13 is not among the 10 that the model knows, 0 to 9"),
        (("--condition", "three"), "--condition must be classes, as 3 or 0,1,2; got 'three'"),
        (("--condition", "3,,5"), "--condition must be classes, as 3 or 0,1,2; got '3,,5'"),
    ],
)
def test_classes_that_there_are_not_are_told(
    mistake: Callable[..., str], run_folder: Path, words: tuple[str, ...], said: str
) -> None:
    assert said in mistake("sample", run_folder, "--out", "s.png", *words)


def test_data_without_labels_cannot_tell_classes(
    mistake: Callable[..., str], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((50, 1, 8, 8), np.uint8))
    words = ("--condition", "labels", "--out", tmp_path / "run")
    said = mistake("fit", "--data", tmp_path / "x.npy", *words)
    assert "needs labels, and the data set has none" in said
    said = mistake("fit", "--condition", "label", "--out", tmp_path / "run")
    assert "did you mean 'labels'" in said
