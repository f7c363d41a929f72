"""Tables of mixed columns with gaps: every command, and the scores and gaps filled of parts."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae.data import Batch, load, read_table
from pyro_vae.training import Stopped

from .training.stopping import StopAt

COLUMNS = ("height", "income", "visits", "member", "city")
CITIES = ("Bergen, W", "Oslo", "Tromsø")
TINY = {"hidden": 8, "latent_dim": 2, "epochs": 2}
FIT = ("fit", "--hidden", 8, "--latent-dim", 2, "--epochs", 1)
Rows = list[list[str]]


def rows_of_people(count: int, seed: int = 0, gaps: float = 0.15) -> Rows:
    """A header and rows of a real, a positive, a count, a binary column and a category."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=count)
    columns = [
        [f"{value:.3f}" for value in 2 * z + rng.normal(size=count)],
        [f"{value:.4g}" for value in np.exp(z + 0.3 * rng.normal(size=count))],
        [str(value) for value in rng.poisson(np.exp(1 + 0.5 * z))],
        [("no", "yes")[int(value)] for value in rng.random(count) < 0.5],
        [CITIES[value] for value in rng.integers(0, 3, count)],
    ]
    hidden = rng.random((count, 5)) < gaps
    rows = [[c[i] if not hidden[i, j] else "" for j, c in enumerate(columns)] for i in range(count)]
    return [list(COLUMNS), *rows]


def write(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def read(path: Path, delimiter: str = ",") -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, delimiter=delimiter))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a table, a run of it, and a run of images."""
    home = tmp_path_factory.mktemp("people")
    write(home / "people.csv", rows_of_people(100))
    pv.training.RunConfig.of(data=str(home / "people.csv"), **TINY).run(home / "run")
    pv.save(pv.VAE((1, 8, 8), 2, "normal", pv.networks.MLP(hidden=4)), home / "pictures")
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), np.uint8)
    np.save(home / "images.npy", images)
    recipe = pv.training.RunConfig.of(data=str(home / "images.npy"), **{**TINY, "epochs": 1})
    recipe.run(home / "pictures", overwrite=True)
    return home


@pytest.fixture
def run_folder(people: Path, tmp_path: Path) -> Path:
    """A copy of the run of the table."""
    return Path(shutil.copytree(people / "run", tmp_path / "run"))


def check_filled(before: Rows, after: Rows, told: tuple[str, ...] = ()) -> int:
    """What was there is there, gaps are filled by what the columns take; how many."""
    assert len(before) == len(after)
    assert before[0] == after[0]
    filled = 0
    for old, new in zip(before[1:], after[1:], strict=True):
        assert len(old) == len(new)
        for name, one, other in zip(before[0], old, new, strict=True):
            if one or name in told:
                assert one == other
                continue
            filled += 1
            if name == "city":
                assert other in CITIES
            elif name == "member":
                assert other in ("no", "yes")
            elif name == "visits":
                assert other.isdigit()
            else:
                assert math.isfinite(float(other))
                assert name == "height" or float(other) > 0
    return filled


def gaps_of(rows: Rows) -> int:
    return sum(not cell for row in rows for cell in row)


def test_scores_of_a_table(run_cli: Callable[..., str], run_folder: Path, people: Path) -> None:
    scores = json.loads(run_cli("evaluate", run_folder, "--iwae", 30, "--json"))
    assert scores["images"] == 10
    assert {*scores["parts"]} == {*COLUMNS}
    assert {*scores["sites"]} == {"latent", *(f"obs.{name}" for name in COLUMNS)}
    each = [scores["sites"][f"obs.{name}"]["reconstruction"] for name in COLUMNS]
    assert sum(each) == pytest.approx(scores["reconstruction"], rel=1e-5)
    assert scores["reconstruction"] - scores["kl"] == pytest.approx(scores["elbo"], abs=1e-5)
    assert math.isfinite(scores["iwae"]["bound"])
    assert math.isfinite(scores["iwae"]["pareto_shape"])
    collapsed = sum(scores["sites"][f"obs.{name}"]["collapsed"] for name in COLUMNS)
    assert collapsed == pytest.approx(scores["collapsed"], rel=1e-5)
    test = load(str(people / "people.csv")).test
    there = {name: int(mask.sum()) for name, mask in test.mask.items()}
    assert {name: part["observed"] for name, part in scores["parts"].items()} == there
    assert 0 <= scores["parts"]["city"]["wrong"] <= 1
    assert scores["parts"]["height"]["rmse"] > 0
    said = run_cli("evaluate", run_folder)
    assert "people.csv, a density on these 10 rows" in said
    assert json.loads((run_folder / "evaluation.json").read_text())["iwae"] == scores["iwae"]


def test_diagnosis_draws_and_report_of_a_table(
    run_cli: Callable[..., str], run_folder: Path, tmp_path: Path
) -> None:
    found = json.loads(run_cli("diagnose", run_folder, "--json"))
    assert found["verdict"] == "unfinished"  # two epochs
    for words in (("sample", run_folder), ("reconstruct", run_folder)):
        for kind in ("mean", "sample"):
            run_cli(*words, "--count", 7, "--kind", kind)
    run_cli("sample", run_folder, "--count", 7)
    for name in ("samples.csv", "reconstructions.csv"):
        rows = read(run_folder / name)
        assert rows[0] == list(COLUMNS)
        assert len(rows) == 8
        assert {row[4] for row in rows[1:]} <= {*CITIES}
        assert {row[3] for row in rows[1:]} <= {"no", "yes"}
        assert all(float(row[1]) > 0 for row in rows[1:])
    # Draws can be read as what the run was trained on.
    config = pv.training.read_config(run_folder)
    assert len(read_table(run_folder / "samples.csv", config["data"]["columns"])) == 7
    run_cli("evaluate", run_folder)
    run_cli("report", run_folder, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "people.csv" in page
    assert "Traceback" not in page
    for name in COLUMNS:
        assert name in page


def test_gaps_are_filled_and_nothing_else(
    run_cli: Callable[..., str], run_folder: Path, people: Path, tmp_path: Path
) -> None:
    source = people / "people.csv"
    before, text = read(source), source.read_bytes()
    run_cli("impute", run_folder, "--draws", 20)
    assert source.read_bytes() == text
    gaps = gaps_of(before)
    assert gaps > 20
    assert check_filled(before, read(run_folder / "imputed.csv")) == gaps
    own = Path(shutil.copy(source, tmp_path / "own.csv"))
    run_cli("impute", run_folder, "--data", own, "--out", own, "--overwrite", "--draws", 20)
    assert own.read_bytes() == (run_folder / "imputed.csv").read_bytes()
    # What is filled in can be scored by the run: it is of its columns' kinds.
    test = load(str(source)).test
    whole = torch.cat(list(test.mask.values()), 1).all(1)  # the others have changed
    found = json.loads(run_cli("evaluate", run_folder, "--data", own, "--json"))
    assert 0 < int(whole.sum()) <= found["images"] < 10


def test_gaps_of_new_rows_with_further_columns_in_another_order(
    run_cli: Callable[..., str], run_folder: Path, tmp_path: Path
) -> None:
    """Semicolons and decimal commas stay as they are, as do columns that no run knows."""
    header, *rows = rows_of_people(30, seed=1)
    spelt = [[cell.replace(".", ",") for cell in row[:2]] + row[2:] for row in rows]
    turned = [[*row[::-1], f"note; {i}"] for i, row in enumerate(spelt)]
    path = write(tmp_path / "new.csv", [[*header[::-1], "note"], *turned], ";")
    run_cli("impute", run_folder, "--data", path, "--out", "full.csv")
    after = read(tmp_path / "full.csv", ";")
    assert [row[5] for row in after[1:]] == [row[5] for row in turned]
    numbers = [cell for row in after[1:] for cell in row[3:5]]
    assert all("." not in cell for cell in numbers)
    assert any("," in cell for cell in numbers)
    back = [[cell.replace(",", ".") for cell in row[4:2:-1]] + row[2::-1] for row in after[1:]]
    assert check_filled([header, *rows], [header, *back]) == gaps_of([header, *rows])


def test_the_command_goes_on_with_a_table(
    run_cli: Callable[..., str], people: Path, tmp_path: Path
) -> None:
    recipe = pv.training.RunConfig.of(data=str(people / "people.csv"), checkpoint="1", **TINY)
    with pytest.raises(Stopped):
        recipe.run(tmp_path / "parts", progress=StopAt(1))
    run_cli("impute", "parts", "--draws", 2)  # by its last checkpoint
    said = json.loads(run_cli("fit", "--resume", "parts", "--json"))
    assert said["data"]["columns"] == list(COLUMNS)
    found = pv.load(tmp_path / "parts").state_dict()
    wanted = pv.load(people / "run").state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(
    "words",
    [
        ("--condition", "city, height", "--precision", "bfloat16"),
        ("--latent-dim", "3,2", "--net", "ladder", "--column", "visits=poisson"),
        ("--prior", "vamp:4", "--column", "city=skip", "--images", 60),
    ],
    ids=["told", "hierarchy", "skipping"],
)
def test_other_models_of_a_table(
    run_cli: Callable[..., str], people: Path, tmp_path: Path, words: tuple[object, ...]
) -> None:
    told = ("city", "height") if "--condition" in words else ()
    left = [name for name in COLUMNS if name not in told and f"{name}=skip" not in words]
    source = people / "people.csv"
    run_cli(*FIT, "--data", source, "--out", "run", *words)
    scores = json.loads(run_cli("evaluate", "run", "--iwae", 2, "--json"))
    assert {*scores["parts"]} == {*left}
    assert math.isfinite(scores["iwae"]["bound"])
    units = sum(site["units"] for site in scores["sites"].values() if "kl" in site)
    assert units == (5 if "ladder" in words else 2)
    json.loads(run_cli("diagnose", "run", "--json"))
    run_cli("sample", "run", "--count", 5)
    run_cli("reconstruct", "run", "--count", 5)
    for name in ("samples.csv", "reconstructions.csv"):
        assert read(tmp_path / "run" / name)[0] == left
    before = read(source)
    run_cli("impute", "run", "--draws", 3)
    skipped = tuple(name for name in COLUMNS if name not in left)
    filled = check_filled(before, read(tmp_path / "run" / "imputed.csv"), skipped)
    assert filled > 10
    run_cli("report", "run", "--out", "report.html")
    assert "Traceback" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_columns_that_the_model_is_told_stand_in_its_samples(people: Path) -> None:
    """The covariates are what networks see of the columns, 0 in their gaps."""
    options = {**TINY, "epochs": 1, "data": str(people / "people.csv")}
    data = pv.training.RunConfig.of(**options, condition="city,height").run().data
    table = read_table(people / "people.csv")
    seen = torch.cat([data.train.covariates, data.test.covariates])
    assert seen.shape == (100, 4)
    city, height = table["city"].values, table["height"].values
    assert int(seen[:, :3].sum()) == int((~city.isnan()).sum())
    assert int((seen[:, 3] == 0).sum()) == int(height.isnan().sum())
    there = height[~height.isnan()]
    assert float(seen[:, 3].sum()) == pytest.approx(
        float(((there - there.mean()) / there.std(correction=0)).sum()), abs=1e-3
    )


def test_a_comparison_of_a_table(run_cli: Callable[..., str], people: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(people / "people.csv", tmp_path / "people.csv"))
    spec = f"[base]\ndata = '{source}'\nepochs = 1\nhidden = 8\nlatent-dim = 2\n"
    spec += "[grid]\nbeta = [1, 4]\n"
    claim = '[[claims]]\nstatement = "less is coded"\n'
    claim += 'score = "sites.latent.kl"\nof = { beta = 4 }\nis = "<"\nthan = 100\n'
    (tmp_path / "spec.toml").write_text(spec + claim)
    run_cli("compare", "spec.toml", "--dry-run")
    said = run_cli("compare", "spec.toml")
    assert "beta=4" in said
    assert "less is coded" in said
    with (tmp_path / "comparisons/spec/results.csv").open() as stream:
        results = list(csv.DictReader(stream))
    assert len(results) == 2
    assert all(math.isfinite(float(row["scores.parts.height.rmse"])) for row in results)
    run_cli("report", "comparisons", "--out", "report.html")
    assert "Traceback" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_scores_that_no_table_has_are_unknown(
    mistake: Callable[..., str], people: Path, tmp_path: Path
) -> None:
    spec = f"scores = ['mse']\n[base]\ndata = '{people / 'people.csv'}'\n[grid]\nbeta = [1]\n"
    (tmp_path / "spec.toml").write_text(spec)
    assert "unknown score in scores 'mse'" in mistake("compare", "spec.toml")


@pytest.mark.slow
def test_compiled_runs_have_the_losses_of_the_others(people: Path) -> None:
    options = {**TINY, "data": str(people / "people.csv"), "batch_size": 30}
    losses = [
        [
            step["loss"]
            for step in pv.training.RunConfig.of(**options, compile=how).run().history.steps
        ]
        for how in ("on", "off")
    ]
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_rows_that_were_held_out_stay_so(
    run_cli: Callable[..., str], cli: Callable[..., Result], people: Path, tmp_path: Path
) -> None:
    header, *rows = rows_of_people(80, seed=3)
    path = write(tmp_path / "grown.csv", [header, *rows])
    run_cli(*FIT, "--data", path, "--out", "run")
    held = {tuple(row) for row in read_rows_of(load(str(path)).test)}
    write(path, [header, *rows_of_people(40, seed=4)[1:], *rows])
    result = cli("evaluate", "run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == len(held) == 8
    assert "has changed since fit" in result.stderr


def read_rows_of(batch: Any) -> list[list[float]]:
    return [[float(part[i]) for part in batch.x.values()] for i in range(len(batch))]


MISTAKES = {
    "an observation": ((*FIT, "--data", "{t}", "--obs", "normal"), "--obs is not for tables"),
    "a scale": ((*FIT, "--data", "{t}", "--sigma", "0.5"), "--sigma is not for tables"),
    "columns of images": ((*FIT, "--data", "{i}", "--column", "a=real"), "--column is for a .csv"),
    "no column": ((*FIT, "--data", "{t}", "--column", "hight=real"), "did you mean 'height'"),
    "no kind": ((*FIT, "--data", "{t}", "--column", "height=rael"), "did you mean 'real'"),
    "no count": ((*FIT, "--data", "{t}", "--column", "height=count"), "cannot be count"),
    "told twice": ((*FIT, "--data", "{t}", "--condition", "city,city"), "'city' twice"),
    "all told": ((*FIT, "--data", "{t}", "--condition", ",".join(COLUMNS)), "none is left"),
    "labels": ((*FIT, "--data", "{t}", "--condition", "labels"), "unknown column"),
    "conv": ((*FIT, "--data", "{t}", "--net", "conv"), "net='mlp' takes any shape"),
    "augment": ((*FIT, "--data", "{t}", "--augment", "flip"), "--augment is not for tables"),
    "resize": ((*FIT, "--data", "{t}", "--resize", 8), "--resize and --crop are for image files"),
    "few rows": ((*FIT, "--data", "few.csv"), "4 rows are too few"),
    "no table": ((*FIT, "--data", "none.csv"), "none.csv: No such file"),
    "samples": (("evaluate", "{r}", "--samples", 10), "--samples is for images"),
    "labels of a table": (("evaluate", "{r}", "--labels"), "--labels needs labels"),
    "images": (("evaluate", "{r}", "--data", "{i}"), "the run is of a table: --data must be"),
    "images to diagnose": (("diagnose", "{r}", "--data", "{i}"), "the run is of a table"),
    "images to show": (("reconstruct", "{r}", "--data", "{i}"), "the run is of a table"),
    "images to fill": (("impute", "{r}", "--data", "{i}"), "the run is of a table"),
    "a table": (("evaluate", "{p}", "--data", "{t}"), "the run is of images or vectors"),
    "a table to diagnose": (("diagnose", "{p}", "--data", "{t}"), "the run is of images"),
    "a table to show": (("reconstruct", "{p}", "--data", "{t}"), "the run is of images"),
    "other columns": (("evaluate", "{r}", "--data", "other.csv"), "lacks the columns 'height'"),
    "a new category": (("evaluate", "{r}", "--data", "rome.csv"), "has 'Rome', not one of Bergen"),
    "to fill in": (("impute", "{r}", "--data", "rome.csv"), "has 'Rome', not one of Bergen"),
    "other gaps": (("impute", "{r}", "--data", "other.csv"), "lacks the columns 'height'"),
    "images' gaps": (("impute", "{p}"), "was not trained on a .csv table"),
    "no run": (("impute", "nothing"), "there is no run folder nothing"),
    "draws": (("impute", "{r}", "--draws", 0), "0 is not in the range"),
    "no csv": (("impute", "{r}", "--out", "full.txt"), "--out of a table must end in .csv"),
    "no folder": (("impute", "{r}", "--out", "none/full.csv"), "there is no folder 'none'"),
    "another's": (("impute", "{r}", "--out", "other.csv"), "other.csv is there"),
    "classes": (("sample", "{r}", "--condition", 1), "--condition is for a run of images"),
    "mode": (("sample", "{r}", "--kind", "mode"), "unknown --kind of a table 'mode'"),
    "kinds": (("reconstruct", "{r}", "--kind", "all"), "--kind of a table is one"),
    "text": (("sample", "{r}", "--out", "s.txt"), "must end in .png or .csv"),
    "a picture": (("sample", "{r}", "--out", "s.png"), "--out of a table must end in .csv"),
    "rows of images": (("sample", "{p}", "--out", "s.csv"), "--out of images must end in .png"),
    "forecast": (("forecast", "--data", "{t}"), "is a table: a forecast is of images"),
    "classifier": (("classifier", "{t}"), "a classifier needs labels"),
    "finished": (("fit", "--resume", "{r}"), "is finished: there is nothing to resume"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_a_line(
    name: str, mistake: Callable[..., str], people: Path, tmp_path: Path
) -> None:
    rows = rows_of_people(12, gaps=0)
    write(tmp_path / "few.csv", rows[:5])
    write(tmp_path / "rome.csv", [rows[0], *([*row[:4], "Rome"] for row in rows[1:])])
    write(tmp_path / "other.csv", [["a", "b"], *([str(i / 2), str(i % 3)] for i in range(30))])
    for folder in ("run", "pictures"):
        shutil.copytree(people / folder, tmp_path / folder)
    places = {"t": people / "people.csv", "i": people / "images.npy", "r": "run", "p": "pictures"}
    words, said = MISTAKES[name]
    out = ("--out", "new") if words[0] == "fit" and "--resume" not in words else ()
    assert said in mistake(*(str(word).format(**places) for word in words), *out)


def test_a_forecast_of_parts_is_refused() -> None:
    with pytest.raises(pv.InputError, match="a forecast is of one observation"):
        pv.forecast(Batch({"a": torch.zeros(5, 1)}))
