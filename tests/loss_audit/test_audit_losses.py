"""The audit on losses that nobody here wrote: their truth is found by values alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments import audits
from pyro_vae.loss_audit import audit, checking, formulas, kinds, kl, reconstruction
from tests.loss_audit.losses import TABLE, Case
from tests.loss_audit.losses.table import rand
from tests.loss_audit.pieces import run

_REPORTS: dict[str, Any] = {}
NAMES = list(TABLE)


def report_of(name: str) -> Any:
    if name not in _REPORTS:
        case = TABLE[name]
        _REPORTS[name] = audit(case.loss, **case.sizes)
    return _REPORTS[name]


def inputs(report: Any, case: Case, seed: int) -> tuple[Tensor, ...]:
    """Data, an output and codes: log-variances of both signs, standard deviations positive."""
    batch, shape = case.sizes["batch_size"], case.sizes["data_shape"]
    x, x_hat = rand(batch, *shape, seed=seed), 0.05 + 0.9 * rand(batch, *shape, seed=seed + 50)
    if "index of one of" in str(report):
        x = (rand(batch, *shape[:-1], seed=seed) * shape[-1]).long()
    codes = (3, 2, 2) if "3 x 2 x 2" in case.says else (case.sizes["latent_dim"],)
    mean = 4 * rand(batch, *codes, seed=seed + 100) - 2
    last = 3 * rand(batch, *codes, seed=seed + 150) - 1.8
    try:
        defined = bool(total(case.call(x, x_hat, mean, last)).isfinite())
    except ValueError:  # a distribution that refuses a negative standard deviation
        defined = False
    return x, x_hat, mean, last if defined else last.abs() + 0.1


def total(value: Any) -> Tensor:
    parts = value if isinstance(value, tuple) else (value,)
    return torch.stack([part.detach().double().mean() for part in parts]).sum()


def summed(term: Tensor) -> Tensor:
    return term.reshape(len(term), -1).sum(1).mean()


@pytest.mark.parametrize("name", [n for n in NAMES if TABLE[n].beta is not None])
def test_beta_is_that_of_the_values(name: str) -> None:
    case, report = TABLE[name], report_of(name)
    assert report.effective_beta == pytest.approx(case.beta, rel=0.01)
    if case.term is None or case.kl is None:
        return
    x, x_hat, mean, last = inputs(report, case, 0)
    _, other_hat, other_mean, other_last = inputs(report, case, 1)
    base = total(case.call(x, x_hat, mean, last))
    pixels = total(case.call(x, other_hat, mean, last)) - base
    latents = total(case.call(x, x_hat, other_mean, other_last)) - base
    weight = pixels / (summed(case.term(other_hat, x)) - summed(case.term(x_hat, x)))
    of_kl = latents / (summed(case.kl(other_mean, other_last)) - summed(case.kl(mean, last)))
    assert float(of_kl / weight) == pytest.approx(case.beta, rel=0.01)


@pytest.mark.parametrize("name", ["focal", "pos_weight", "foreground", "beta_tc", "l1_and_ssim"])
def test_there_is_no_beta_where_a_term_is_no_known_sum(name: str) -> None:
    report = report_of(name)
    assert report.effective_beta is None
    assert any("effective_beta is null" in note for note in report.notes)


@pytest.mark.parametrize("name", NAMES)
def test_findings(name: str) -> None:
    case, report = TABLE[name], report_of(name)
    assert {code for code, _ in report.findings} == case.codes
    text = " ".join(str(report).split())
    assert [words for words in case.says if words not in text] == []


def printed_call(report: Any, case: Case) -> Any:
    """The printed function by the four, whatever it calls them, in the order of the loss."""
    function = run(report.corrected)
    names = list(function.__code__.co_varnames[:4])
    order = [_role(name, case, report) for name in names]
    return lambda *given: function(*(given[number] for number in order))


def _role(name: str, case: Case, report: Any) -> int:
    """From the note that says how the loss was called."""
    note = next(" ".join(n.split()) for n in report.notes if n.startswith("Called as"))
    for number, role in enumerate(("x", "x_hat", "mean", "log_var")):
        if f"({name}={role}," in note or f" {name}={role}," in note or f" {name}={role})" in note:
            return number
    plain = {"x": 0, "x_hat": 1, "mean": 2}
    return plain.get(name, 3)


@pytest.mark.parametrize("name", [n for n in NAMES if TABLE[n].prints in ("same", "mended")])
def test_the_printed_function_is_the_loss_or_the_loss_mended(name: str) -> None:
    case, report = TABLE[name], report_of(name)
    assert report.corrected
    function = printed_call(report, case)
    truth = case.call if case.prints == "same" else case.mended
    assert truth is not None
    own, new = [], []
    for seed in range(5):
        given = inputs(report, case, seed)
        own.append(total(truth(*given)))
        new.append(total(function(*given)))
    values, printed = torch.stack(own), torch.stack(new)
    assert bool(printed.isfinite().all())
    columns = torch.stack([printed, torch.ones_like(printed)], 1)
    solution = torch.linalg.lstsq(columns, values[:, None]).solution
    rest = (columns @ solution).flatten() - values
    assert float(rest.abs().max()) < 2e-3 * float(values.max() - values.min())
    assert float(solution[0]) > 0


@pytest.mark.parametrize("name", [n for n in NAMES if TABLE[n].prints == "nothing"])
def test_nothing_is_printed_of_what_was_not_understood(name: str) -> None:
    report = report_of(name)
    assert report.corrected == ""
    assert report.unclear
    assert "No function is printed. Not understood:" in str(report)


def told_squared(recognised: Any) -> Any:
    """A recogniser that takes every known term for a squared error of its weight."""

    def broken(probe: Any) -> Any:
        found = recognised(probe)
        return replace(found, name=kinds.SQUARED, kind=kinds.SQUARED_KIND)

    return broken


def told_log_std(recognised: Any) -> Any:
    """A recogniser that takes every KL for one of a log standard deviation."""

    def broken(*args: Any) -> Any:
        return replace(recognised(*args), form=formulas.closed(formulas.LOG_STD))

    return broken


def other_source(written: Any) -> Any:
    """A printer that loses a factor 1/2."""

    def broken(*args: Any) -> Any:
        source: str = written(*args)
        assert "0.5 * (" in source
        return source.replace("0.5 * (", "(")

    return broken


BROKEN = {
    "term, before its values are seen": (reconstruction, "_told", told_squared),
    "term": (reconstruction, "recognise", told_squared),
    "KL": (kl, "recognise", told_log_std),
    "printer": (checking, "corrected_source", other_source),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["fake_and_real", "multi_vae", "softplus_rho"])
def test_with_a_recogniser_broken_on_purpose_no_code_is_printed(
    broken: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, function, breaking = broken
    case = TABLE[name]
    assert audit(case.loss, **case.sizes).corrected
    monkeypatch.setattr(module, function, breaking(getattr(module, function)))
    report = audit(case.loss, **case.sizes)
    assert report.corrected == ""
    assert report.unclear
    assert "def loss_function" not in str(report)


def test_the_script_prints_source_beta_findings_and_verdict_of_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(TABLE) > 100
    names = ["robot_policy", "focal"]
    monkeypatch.setattr("sys.argv", ["audits", *names])
    audits.main()
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == [
        "focal [focal loss]: beta none; found nothing; right, no function",
        "robot_policy [ACT, LeRobot: mean error over chunk x joints, KL x 10]: beta 1.4e+04; "
        "found pixels-averaged; right, a function to paste",
    ]
