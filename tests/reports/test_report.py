"""The page and its figures as files: what stands in them, and what becomes of what is there."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import pyro_vae as pv
from pyro_vae.reports import reporting
from tests.reports.conftest import HEALTHY, LOSS, SCRIPT, Reported, add_run


class Parsed(HTMLParser):
    """Tags of a page, and what stands in each cell of its first table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[list[str]]] = []
        self.text: list[str] = []
        self._cell = False
        # A place where a long name may break is nothing to a reader.
        self.feed(html.replace("<wbr>", ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append([])
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(" ".join(data.split()))
            if self._cell:
                self.rows[-1][-1].append(self.text[-1])

    def row(self, name: str) -> dict[str, list[str]]:
        """A run's row of scores by the columns' names."""
        heads = [cell[0] for cell in self.rows[0]]
        (row,) = [row for row in self.rows if row[0][0] == name and len(row) == len(heads)]
        return dict(zip(heads, row, strict=True))


@pytest.fixture(scope="module")
def page(reported: Reported) -> Parsed:
    return Parsed(reported.html)


def test_scores_are_those_of_the_evaluation(reported: Reported, page: Parsed) -> None:
    run = reported.folder / HEALTHY
    digits = pv.data.load("mnist-5k")
    options = {"train": digits.train[:64], "parts": ()}
    wanted = pv.evaluate(pv.load(run), digits.test[:64], **options)
    row = page.row(HEALTHY)
    assert row["KL, nats per image"] == [f"{wanted['kl']:.2f}"]
    elbo, error = row["ELBO, nats per image"][0].split(" ± ")
    assert float(elbo) == pytest.approx(wanted["elbo"], abs=0.006)
    assert float(error) == pytest.approx(wanted["elbo_standard_error"], abs=0.006)
    constant = f"constant {wanted['collapsed']:.2f}"
    assert row["ELBO, nats per image"][1].startswith(constant)
    assert ("not beaten" in row["ELBO, nats per image"][1]) is not wanted["beats_collapsed"]
    bits = row["Bits per dimension"]
    assert bits[0] == f"{wanted['bits_per_dim']:.3f}"
    assert any(line.startswith("uniform 8.000") for line in bits)
    assert row["Squared error per pixel"][0] == f"{wanted['mse']:.4f}"
    assert row["Active units"] == [f"{wanted['active_units']} of 3"]


def test_a_loss_has_no_elbo_and_says_why(reported: Reported, page: Parsed) -> None:
    row = page.row(LOSS)
    assert row["ELBO, nats per image"][0] == row["Bits per dimension"][0] == "none"
    assert row["ELBO, nats per image"][2].startswith("objective -")
    assert any("does not integrate to 1" in text for text in page.text)
    assert "Not side by side:" in page.text
    assert any("densities on 0 to 1" in text for text in page.text)


def test_claims_stand_with_their_verdicts(reported: Reported, page: Parsed) -> None:
    (claim,) = json.loads((reported.folder / "claims.json").read_text())
    assert f"{claim['verdict']}" in page.text
    assert claim["statement"] in page.text
    left = claim["checks"][0]["left"]["mean"]
    (check,) = [text for text in page.text if "kl of beta=16 < beta=1,optimizer=adam" in text]
    assert f"{left:.4g}" in check


FAULTS = {
    "fails/seed-0": "failed: the loss is not finite",
    "bad/no-weights": "it has no model.safetensors",
    "bad/broken-weights": "model.safetensors is damaged",
    "bad/broken-config": "config.json is damaged",
    "bad/broken-metrics": "metrics.jsonl is damaged",
    "bad/cut-short": "unfinished: 1 of 2 epochs",
    "bad/only-records": "it has no config.json",
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_faults_are_listed(page: Parsed, reported: Reported, name: str) -> None:
    start = page.text.index("Faults", page.text.index("Claims") + 5)
    listed = page.text[start : page.text.index("Scores", start)]
    after = listed[listed.index(name) + 1 :]
    known = [place for place, text in enumerate(after) if text in {*FAULTS, HEALTHY, SCRIPT}]
    assert any(FAULTS[name] in text for text in after[: known[0] if known else None]), after
    assert str(reported.folder) not in reported.html


def test_every_run_is_named_and_no_folder_without_one(page: Parsed) -> None:
    runs = {*FAULTS, HEALTHY, LOSS, SCRIPT}
    assert runs < set(page.text)
    assert not any("notes" in text for text in page.text)


def test_names_are_text_and_the_page_holds_one_script(reported: Reported, page: Parsed) -> None:
    html = reported.html
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>keeps" not in html
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)


def test_the_policy_allows_this_script_and_nothing_from_outside(
    reported: Reported, page: Parsed
) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", reported.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        attributes["content"] or ""
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    links = [a[key] for _, a in page.tags for key in ("src", "href", "srcset") if key in a]
    assert len(links) > 50
    assert {(link or "").partition(":")[0] for link in links if (link or "")[0] != "#"} == {"data"}


def test_every_picture_has_words(page: Parsed) -> None:
    alts = [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]
    assert len(alts) > 50
    assert all(alts)


def test_figures_lie_beside_as_png_and_svg(reported: Reported) -> None:
    figures = reported.folder / "report-figures"
    names = {path.stem for path in figures.glob("*.svg")}
    assert names == {path.stem for path in figures.glob("*.png")}
    starts = ("rate-distortion", "training", "calibration", "reconstructions", "traversal")
    assert all(any(name.startswith(start) for name in names) for start in starts)
    for path in figures.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    for path in figures.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 50


def test_settings_that_differ(reported: Reported, page: Parsed) -> None:
    (head,) = [row for row in page.rows[1:] if row[0] == ["Run"]]
    assert " ".join(cell[0] for cell in head) == "Run obs levels lr beta optimizer kind"
    rows = {row[0][0]: row for row in page.rows[page.rows.index(head) :]}
    assert [cell[0] for cell in rows[HEALTHY][1:]] == [
        "normal-learned-sigma",
        "dequantised",
        "0.001",
        "1",
        "adam",
        "density",
    ]
    assert "fit.epochs" in page.text


def test_the_same_runs_give_the_same_bytes(
    reported: Reported, tmp_path: Path, drawing: Callable[[], AbstractContextManager[None]]
) -> None:
    with drawing():
        again = pv.report(reported.folder, out=tmp_path / "report.html")
    assert again.read_text(encoding="utf-8") == reported.html
    ours, theirs = tmp_path / "report-figures", reported.folder / "report-figures"
    for path in theirs.iterdir():
        if path.suffix == ".svg":
            assert (ours / path.name).read_bytes() == path.read_bytes()


def test_a_run_without_scores_or_with_old_ones_is_scored(tmp_path: Path) -> None:
    run = add_run(tmp_path / "run", obs="discretized-logistic")
    scores = pv.evaluate(pv.load(run), pv.data.load("mnist-5k").test[:64], parts=())
    row = Parsed(pv.report(run).read_text(encoding="utf-8")).row("run")
    assert row["Bits per dimension"][0] == f"{scores['bits_per_dim']:.3f}"
    (run / "evaluation.json").write_text(json.dumps({"kind": "mass", "kl": 0.5, "images": 64}))
    os.utime(run / "evaluation.json", (1, 1))
    text = pv.report(run, overwrite=True).read_text(encoding="utf-8")
    assert Parsed(text).row("run")["KL, nats per image"] == [f"{scores['kl']:.2f}"]
    assert "evaluation.json is older than the model" in text


def test_runs_from_several_folders_are_told_apart(reported: Reported, tmp_path: Path) -> None:
    first, second = reported.folder / HEALTHY, tmp_path / "second"
    shutil.copytree(reported.folder / LOSS, second / "seed-0")
    page = Parsed(pv.report(first, second, out=tmp_path / "both.html").read_text(encoding="utf-8"))
    assert {"seed-0", "second/seed-0"} < set(page.text)
    assert (tmp_path / "both-figures").is_dir()


def test_a_run_on_arrays_has_curves_and_no_pictures(tmp_path: Path, few: Any) -> None:
    vae = pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8))
    pv.fit(vae, few[:64], epochs=1, out=tmp_path / "run")
    text = pv.report(tmp_path).read_text(encoding="utf-8")
    assert "trained on arrays from a script" in text
    assert 'id="training"' in text
    assert 'id="reconstructions"' not in text


def _nothing(folder: Path) -> dict[str, Any]:
    (folder / "empty").mkdir()
    return {"runs": [folder / "empty"]}


def _missing(folder: Path) -> dict[str, Any]:
    return {"runs": [folder / "missing"]}


def _file(folder: Path) -> dict[str, Any]:
    (folder / "file").write_text("")
    return {"runs": [folder / "file"]}


def _there(folder: Path) -> dict[str, Any]:
    (folder / "report.html").write_text("mine")
    return {"out": folder / "report.html"}


def _figures(folder: Path) -> dict[str, Any]:
    (folder / "report-figures").mkdir()
    return {"out": folder / "report.html"}


MISTAKES: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "no runs in it": (_nothing, "holds no run"),
    "no folder": (_missing, "does not exist"),
    "a file": (_file, "is a file"),
    "nothing given": (lambda folder: {"runs": []}, "at least one"),
    "there already": (_there, "exists already.*--overwrite"),
    "figures there already": (_figures, "exists already"),
    "other ending": (lambda folder: {"out": folder / "report.pdf"}, r"must end in \.html"),
    "long name": (lambda folder: {"out": folder / f"{'x' * 230}.html"}, "name is too long"),
    "no folder for it": (lambda folder: {"out": folder / "a" / "b.html"}, "there is no folder"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes_write_nothing(reported: Reported, tmp_path: Path, case: str) -> None:
    arrange, said = MISTAKES[case]
    given = arrange(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    runs = given.pop("runs", [reported.folder / HEALTHY])
    with pytest.raises(pv.InputError, match=said) as error:
        pv.report(*runs, **given)
    assert "\n" not in str(error.value)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_overwriting_leaves_no_old_figure(reported: Reported, tmp_path: Path) -> None:
    figures = tmp_path / "one-figures"
    figures.mkdir()
    (figures / "traversal-99-gone.svg").write_text("<svg/>")
    for name in ("notes.txt", "mine.png", "training-plan.svg"):
        (figures / name).write_text("mine")
    # The page of an earlier version, which kept no list of its figures.
    (tmp_path / "one.html").write_text('<a href="one-figures/traversal-99-gone.svg">SVG</a>')
    file = pv.report(reported.folder / HEALTHY, out=tmp_path / "one.html", overwrite=True)
    assert "obs=normal" not in file.read_text(encoding="utf-8")[:5]
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not (figures / "traversal-99-gone.svg").exists()
    for name in ("notes.txt", "mine.png", "training-plan.svg"):
        assert (figures / name).read_text() == "mine"
    drawn = {path.name for path in figures.glob("*.svg")} - {"training-plan.svg"}
    assert len(drawn) > 4
    lines = map(json.loads, (figures / "manifest.jsonl").read_text().splitlines())
    assert drawn <= {line.get("file") for line in lines}
    # Its list tells the next one what to remove.
    gone, kept = sorted(drawn)[0], figures / "training-gone.svg"
    kept.write_text("mine")
    with (figures / "manifest.jsonl").open("a") as stream:
        stream.write('{"file": "traversal-98-gone.svg"}\n')
    (figures / "traversal-98-gone.svg").write_text("<svg/>")
    (figures / gone).unlink()
    pv.report(reported.folder / HEALTHY, out=tmp_path / "one.html", overwrite=True)
    assert not (figures / "traversal-98-gone.svg").exists()
    assert (figures / gone).is_file()
    assert kept.read_text() == "mine"


def test_a_page_is_there_as_a_whole_or_not(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.html").write_text("old")

    def fail(**contents: Any) -> str:
        raise RuntimeError("no more room")

    monkeypatch.setattr(reporting, "render", fail)
    with pytest.raises(RuntimeError, match="no more room"):
        pv.report(reported.folder / HEALTHY, out=tmp_path / "one.html", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"one.html"}
    assert (tmp_path / "one.html").read_text() == "old"


def test_a_place_that_cannot_be_written_is_told_before_the_runs_are_looked_at(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    told: list[str] = []
    with pytest.raises(pv.InputError, match=r"one\.html cannot be written: Permission denied"):
        pv.report(reported.folder / HEALTHY, out=tmp_path / "one.html", progress=told.append)
    assert told == []
    assert list(tmp_path.iterdir()) == []
