"""No text that a diagnosis, a warning or the end of training can print is without a test.

The tests beside this one hold each to be what some run or some evidence comes to, written by hand.
Here the modules' source is read, and each text in it must be among those.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyro_vae_cli.diagnose import _lines, _not_verified, _verified

import pyro_vae as pv
from pyro_vae.diagnostics import Verification
from pyro_vae.diagnostics.diagnosing import diagnosis_of
from pyro_vae.diagnostics.mends import with_commands

from .cases import CASES, FINE, situation
from .said import texts_of
from .test_sentences import FIGURES, FOUR, PROGRAMS, REMARKS, SITES, STILL, Still
from .test_signs import BEATEN, BEST, LAST, NATS, SIGNS

PRINTED: dict[str, tuple[str, bool, list[str]]] = {
    "a healthy run": ("nothing", False, [
        "healthy: nothing speaks against it",
        "",
        "evidence from 200 held-out images; all of it with --full",
        "  ok  score             1,000.0 nats per image; PCA 900.0, uniform 0.0, best",
        "                        constant 400.0",
        "  ok  active units      5 of 5, the largest KL 4 nats",
        "  ok  pictures          squared error 0.2 of the mean image's, spread 0.8 of the",
        "                        data's",
        "  ok  σ against error   0.1 assumed, 0.11 actual, in units of the range",
        "  ok  course            +0.5 nats an epoch at the end, +20 since half-time",
    ]),
    "all evidence of a bad one": ("weights that are not finite", True, [
        "diverging: it gets worse while it trains",
        "",
        "1. learning-rate-too-high",
        "   weights or losses are not finite",
        "   mend: pyro-vae fit ... --lr 0.0001",
        "",
        "evidence from 200 held-out images",
        "  active units            5 of 5, the forecast is 5",
        "  KL of each              4.00 3.00 2.00 1.50 1.50 nats",
        "  β at the end            1",
        "  βσ² over collapse's     0.01; above 1 no unit survives",
        "  squared error           0.2 of the mean image's",
        "  of training images      0.18 of their mean image's",
        "  spread over inputs      0.8 of the data's; 0 if all inputs give one picture",
        "  with others' latents    4.00 times the error; 1 if z is not used",
        "  spread of samples       0.9 of the data's",
        "  over best constant      +612.0 nats per image of reconstruction",
        "  σ against error         0.1 assumed, 0.11 actual",
        "  data                    from 0 to 1 in the observation's unit",
        "  mean reconstructions    from 0 to 0.9 of the range",
        "  at an end of the range  25.0% of all locations",
        "  still gaining           0.1% of all gain in the last tenth of 3000 steps",
        "  gradient norm           12 at the end",
        "  held-out score          10.0 nats below training's, has lost 5% of its gain",
        "                          since its best",
        "  weights and losses      not all finite",
    ]),
    "what only some runs have": ("a warm-up to what would collapse", True, [
        "  β at the end            20 of 66 wanted",
        "  encoder's dead units    30% are 0 for every image",
        "  KL at first             at most 40 nats in the first 50 steps",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", PRINTED)
def test_what_diagnose_prints(case: str) -> None:
    of, full, wanted = PRINTED[case]
    found = diagnosis_of(situation(of))
    lines = list(_lines(found, with_commands(found, {}, "mended"), "held-out", full))
    assert [line for line in lines if line in wanted] == wanted
    assert lines == wanted or wanted[0].startswith(" ")


REMARKED = [
    "remark: judged by 4 images, too few for more than a guess",
]


def test_a_remark_is_printed_beside_the_verdict() -> None:
    found = replace(diagnosis_of(FINE), remarks=(FOUR,))
    lines = list(_lines(found, with_commands(found, {}, "mended"), "training", False))
    assert lines[:4] == ["healthy: with 1 remark", "", *REMARKED, ""]


def test_what_diagnose_prints_of_sites_and_of_verifying() -> None:
    programs = Still(4.0, 4.0)
    x = torch.zeros(20, 3)
    sites = pv.diagnose((programs.model, programs.guide), x)
    assert list(_lines(sites, with_commands(sites, {}, "mended"), "training", False)) == SITE_LINES
    assert _not_verified(sites) == NOT[0]
    assert _not_verified(diagnosis_of(FINE)) == NOT[1]
    copied = diagnosis_of(situation("a decoder that sees its image"))
    assert _not_verified(copied) == NOT[2]
    off = diagnosis_of(situation("a fixed σ of a fiftieth of the error"))
    assert _not_verified(off) is None
    for after, last in ((diagnosis_of(FINE), "mended"), (off, "not mended by this alone")):
        lines = list(_verified(Verification({"scale": "dataset"}, 84, off, after)))
        verdict = f"  verdict                 underfitted       {after.verdict}"
        assert lines == [*VERIFIED[:3], verdict, *VERIFIED[3:], last]


SITE_LINES = [
    STILL,
    "",
    "1. beta-too-large",
    "   the KL of 'z' counts 4 times as much as the data's log-probability",
    "   mend: scale the site by 1, in model and guide",
    "",
    "evidence from 20 training rows",
    "  obs                     log p -2.757 nats",  # 3 × log √(2π)
    "  z                       KL 0 nats, 0 of 2 units active",
]
NOT = (
    "nothing to verify: no option mends a model of several things",
    "nothing to verify: no cause was found",
    "nothing to verify: no option mends decoder-too-strong",
)
VERIFIED = [
    "",
    "verified by 84 epochs from the start with scale = dataset",
    "                          before            after",
    "  active units            5 of 5            5 of 5",
    "  spread over inputs      0.8               0.8",
    "  squared error           0.2               0.2",
]
TOLD = (
    "no records in metrics.jsonl: the course of training is not known",
    "metrics.jsonl ends after 0 of 1 epochs",
    "training anew with the mend ...",
)


def test_what_diagnose_tells_meanwhile(
    cli: Callable[..., Any], tmp_path: Path, digits: pv.data.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = diagnosis_of(situation("four epochs"))
    verified = Verification({"epochs": 67}, 67, found, diagnosis_of(FINE))
    monkeypatch.setattr(pv.diagnostics, "verify", lambda *_, **__: verified)
    vae = pv.VAE((1, 28, 28), 5, "normal", pv.networks.MLP(hidden=8))
    run = tmp_path / "run"
    options: dict[str, Any] = {"epochs": 1, "batch_size": 50, "data": {"name": "mnist-5k"}}
    pv.fit(vae, digits.train[:100], out=run, **options)
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    metrics.write_text(lines[0] + "\n")
    few = {"test": digits.test[:20].numpy(), "train": digits.train[:100].numpy()}
    np.savez(tmp_path / "few.npz", **few)
    result = cli("diagnose", run, "--data", tmp_path / "few.npz", "--verify")
    told = [line for line in result.stderr.splitlines() if "few.npz" not in line]
    assert told == [TOLD[1], TOLD[2]]
    metrics.write_text("")
    assert cli("diagnose", run).stderr.splitlines() == [TOLD[0]]


WIDE = [case for case, (*_, causes) in CASES.items() if causes]


@pytest.mark.parametrize("case", WIDE)
def test_a_diagnosis_fits_80_columns(case: str) -> None:
    """Whatever it says; all of it is there once the lines are put together again."""
    found = diagnosis_of(situation(case))
    options = pv.RunConfig.of(images=60, obs="normal", sigma=4, data="a folder/of.npz").options
    for full in (False, True):
        kept = with_commands(found, options, "runs/a-name-of-some-length-mended")
        lines = list(_lines(found, kept, "validation", full))
        assert max(map(len, lines)) <= 80
        whole = " ".join(" ".join(lines).split())
        assert all(cause.sentence in whole for cause in found.causes)


def _written() -> Iterator[str]:
    """Every text of this page that a test above holds some output to be."""
    for *_, line, causes in CASES.values():
        yield line
        yield from itertools.chain(*causes)
    for _, figures in FIGURES.values():
        yield from (text for label, said, _ in figures for text in (label, said))
    for *_, remarks, summary in REMARKS.values():
        yield from (*remarks, f"healthy: {summary}")
    for *_, line, causes in PROGRAMS.values():
        yield line
        yield from itertools.chain(*causes)
    yield from itertools.chain(*(said for _, said in SITES.values()))
    yield from (said for _, said in SIGNS.values() if said is not None)
    yield from (said for *_, said in LAST.values())
    yield from BEST.values()
    yield from (*itertools.chain(*NATS), BEATEN)
    for *_, lines in PRINTED.values():
        yield " ".join(" ".join(lines).split())
    for printed in (SITE_LINES, VERIFIED, REMARKED):
        yield " ".join(" ".join(printed).split())
    yield from (*NOT, *TOLD, "mended", "not mended by this alone")


MODULES: dict[str, tuple[str, ...]] = {
    "pyro_vae.diagnostics.collapse_causes": (),
    "pyro_vae.diagnostics.score_causes": (),
    "pyro_vae.diagnostics.situations": (),
    "pyro_vae.diagnostics.headlines": (),
    "pyro_vae.diagnostics.diagnosing": (),
    "pyro_vae.diagnostics.programs": (),
    "pyro_vae.diagnostics.evidence": ("below",),
    "pyro_vae.warning_signs": (),
    "pyro_vae.training.notes": (),
    "pyro_vae_cli.diagnose": (),
    "pyro_vae_cli.fit": ("_tell_score", "_tell_best"),
    "pyro_vae_cli.evaluate": ("_nats",),
}
"""Modules that print, and their functions that do; all of them where none is named."""


@pytest.mark.parametrize("module", MODULES)
def test_every_text_of_a_module_is_written_here(module: str) -> None:
    texts, written = texts_of(module, *MODULES[module]), list(_written())
    assert texts
    unproven = [where for where, text in texts.items() if not any(map(text.search, written))]
    assert unproven == []


def test_a_text_that_nothing_says_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = '''
        def said(x, mended):
            """A docstring of several words."""
            if x == "a text that others are compared with":
                return Cause("a-code", f"{x:.2g} nats " + ("more than once" if x > 1 else "once"))
            words = {"the key of a text": "its value"}
            return mended.get("the name of a thing")
        '''
    (tmp_path / "speaking.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = texts_of("speaking")
    assert [where.split(" ", 1)[1] for where in texts] == [
        "'a-code'", "f'{x:.2g} nats '", "'more than once'", "'once'", "'the key of a text'",
        "'its value'",
    ]  # fmt: skip
    (pattern,) = (text for where, text in texts.items() if "nats" in where)
    assert pattern.search("a gain of 3.1 nats a step")
    assert not pattern.search("a gain of 3.1 bits a step")
