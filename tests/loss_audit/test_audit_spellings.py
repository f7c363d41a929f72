"""Whatever a loss is called with and returns, its terms are found."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_vae.loss_audit import audit

from .plain import SIZES, plain, terms


def in_place(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    error = x_hat.sub_(x).pow_(2).flatten(1).sum(1).mean()
    x.zero_()
    kl = 0.5 * (mean.pow(2) - 1 - log_var + log_var.exp()).sum(1).mean()
    mean.mul_(0)
    return error + kl


def ends_in_place(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    loss = plain(x, x_hat, mean, log_var)
    x_hat.zero_()
    log_var.add_(1)
    return loss


Parts = collections.namedtuple("Parts", ["reconstruction", "kl"])
SPELLINGS: dict[str, Any] = {
    "dict": lambda *a: {"recon": terms(*a)[0], "kl": terms(*a)[1], "loss": plain(*a), "x": a[0]},
    "dict without a total": lambda *a: dict(zip(("recon_loss", "kl_loss"), terms(*a), strict=True)),
    "pair of parts": lambda *a: terms(*a),
    "namedtuple of parts": lambda *a: Parts(*terms(*a)),
    "total last": lambda *a: (*terms(*a), plain(*a)),
    "total and a dict": lambda *a: (plain(*a), {"kl": terms(*a)[1]}),
    "list": lambda *a: [plain(*a)],
    "shape (1,)": lambda *a: plain(*a).reshape(1),
    "float32": lambda *a: plain(*a).float(),
    "float16": lambda *a: plain(*a).half(),
    "casts its inputs": lambda *a: plain(*(t.float() for t in a)),
    "python float": lambda *a: plain(*a).item(),
    "numpy scalar": lambda *a: plain(*a).detach().numpy()[()],
    "numpy throughout": lambda x, x_hat, mean, log_var: float(
        np.square(x_hat.numpy() - x.numpy()).sum() / len(x)
        - 0.5 * (1 + log_var.numpy() - mean.numpy() ** 2 - np.exp(log_var.numpy())).sum() / len(x)
    ),
    "in place": in_place,
    "in place behind the graph's back": ends_in_place,
}


@pytest.mark.parametrize("loss", SPELLINGS.values(), ids=SPELLINGS)
def test_whatever_a_loss_returns(loss: Any) -> None:
    report = audit(loss, **SIZES)
    assert report.effective_beta == pytest.approx(1, rel=1e-3)
    assert report.implied_sigma == pytest.approx(0.5**0.5, rel=1e-3)
    assert report.reductions["reconstruction"] == {"batch": "mean", "height": "sum", "width": "sum"}
    assert [code for code, _ in report.findings if code != "no-gradient"] == []


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda *a: terms(*a), "parts 0 and 1 were added"),
        (lambda x, x_hat, mean, log_var: (x_hat - x).pow(2).flatten(1).sum(1), "averaged"),
        (lambda x, x_hat, mean, log_var: (x_hat - x).pow(2).mean(1), "(8, 6, 5)"),
        (lambda *a: plain(*a).item(), "plain number"),
    ],
    ids=["pair", "vector", "map", "number"],
)
def test_what_had_to_be_assumed_of_the_result_is_noted(loss: Any, words: Any) -> None:
    assert any(words in note for note in audit(loss, **SIZES).notes)


def test_a_loss_in_float32_only_is_given_float32() -> None:
    weight = torch.ones(6, 5)

    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        error = (x_hat - x).flatten(1) @ torch.eye(30)
        return (error.pow(2) * weight.flatten()).sum(1).mean() + terms(x, x_hat, mean, log_var)[1]

    report = audit(loss, **SIZES)
    assert report.effective_beta == pytest.approx(1, rel=1e-3)
    assert any("float32" in note for note in report.notes)


def test_a_broadcast_between_shapes_is_found() -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        return F.mse_loss(x_hat, x.unsqueeze(1)) + terms(x, x_hat, mean, log_var)[1]

    report = audit(loss, data_shape=(5,), latent_dim=4, batch_size=8)
    assert "shapes-broadcast" in [code for code, _ in report.findings]


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda x, x_hat, mean, log_var: 1 / 0, ["ZeroDivisionError", "(8, 1, 6, 5)", "float32"]),
        (lambda x, x_hat, mean, log_var: None, ["returned no number"]),
        (lambda x, x_hat: 0.0, ["no parameter is left for mean, log_var"]),
        (lambda x, x_hat, mean, log_var, decoder: 0.0, ["also needs decoder", "wrap it"]),
    ],
    ids=["crashes", "returns nothing", "too few", "too many"],
)
def test_what_was_tried_is_named_in_one_line(loss: Any, words: Any) -> None:
    with pytest.raises(ValueError, match=r"loss|lambda") as caught:
        audit(loss, **SIZES)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words)


def test_what_is_no_function_or_no_size_is_refused() -> None:
    not_a_function: Any = 3
    with pytest.raises(TypeError, match="a function is needed"):
        audit(not_a_function, **SIZES)
    with pytest.raises(ValueError, match="latent_dim is"):
        audit(plain, data_shape=(4,), latent_dim=0)
    with pytest.raises(ValueError, match="data_shape is"):
        audit(plain, data_shape=(), latent_dim=2)


@pytest.mark.parametrize("shape", [(1,), (2,), (7, 3), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_small_sizes(shape: Any, batch: Any) -> None:
    report = audit(plain, data_shape=shape, latent_dim=2, batch_size=batch)
    assert report.effective_beta == pytest.approx(1)
    assert report.findings == ()


def test_star_arguments_get_everything_by_position() -> None:
    def loss(*args: Tensor) -> Any:
        return plain(*args)

    assert audit(loss, **SIZES).effective_beta == pytest.approx(1)


def test_a_module_is_called_by_the_names_of_its_forward() -> None:
    class Loss(torch.nn.Module):
        def forward(self, recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Any:
            error = F.binary_cross_entropy(recon_x, x, reduction="sum") / len(x)
            return error + terms(x, x, mu, logvar)[1]

    report = audit(Loss(), **SIZES)
    assert report.findings == ()
    assert report.effective_beta == pytest.approx(1)


def test_a_sampled_kl_in_a_small_batch() -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        kl = 0.5 * (z**2 - (z - mean) ** 2 / log_var.exp() - log_var)
        return terms(x, x_hat, mean, log_var)[0] + kl.sum(1).mean()

    report = audit(loss, **SIZES)
    assert report.findings == ()
    # 16 seeds at means of 31 on average: a standard error of 0.1%; the seeds are the audit's own.
    assert report.effective_beta == pytest.approx(1, rel=0.02)


def test_a_partial_and_a_callable_object_are_functions_too() -> None:
    class Loss:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
            self.calls += 1
            return plain(x, x_hat, mean, log_var)

    from functools import partial

    loss = Loss()
    assert audit(loss, **SIZES).findings == ()
    assert loss.calls == 0
    assert audit(partial(plain), **SIZES).findings == ()


def test_a_fixed_batch_size_leaves_the_batch_to_the_weights() -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        return plain(x.view(8, -1), x_hat.view(8, -1), mean.view(8, -1), log_var.view(8, -1))

    report = audit(loss, **SIZES)
    assert report.effective_beta == pytest.approx(1)
    assert report.reductions["kl"] == {"batch": "mean", "latents": "sum"}


def test_the_report_is_frozen_and_becomes_plain_data() -> None:
    import json

    report: Any = audit(plain, **SIZES)
    with pytest.raises(AttributeError):
        report.kl = "other"
    assert json.loads(json.dumps(report.to_dict()))["effective_beta"] == pytest.approx(1)


def test_the_forecast_is_asked_for_the_implied_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    auditing = importlib.import_module("pyro_vae.loss_audit.auditing")
    asked = []

    def forecast(data: Any, sigma: float, sizes: Any) -> str:
        asked.append(sigma)
        return "dark"

    monkeypatch.setattr(auditing, "_forecast", forecast)
    images = torch.rand(20, 1, 6, 5)
    report = audit(plain, **SIZES, data=images)
    assert report.forecast == "dark"
    assert "dark" in str(report)
    assert asked == [pytest.approx(0.5**0.5)]
    assert audit(plain, **SIZES).forecast is None
