"""Frames of pandas and polars, and the files that they write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from pyro_vae.data import read_table

COLUMNS = {
    "height": [1.5, None, 2.25, 3.125] * 10,
    "visits": [1, 2, None, 40] * 10,
    "city": ["Rome", "Oslo", None, "Oslo"] * 10,
    "smoker": [True, False, True, None] * 10,
}
TEXT = (
    "height,visits,city,smoker\n"
    + "1.5,1,Rome,True\n,2,Oslo,False\n2.25,,,True\n3.125,40,Oslo,\n" * 10
)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", ["frame", "parquet", "feather"])
def test_frames_are_the_tables_that_their_csv_would_be(
    library: str, kind: str, tmp_path: Path
) -> None:
    package = pytest.importorskip(library)
    frame = package.DataFrame(COLUMNS)
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        write = frame.to_parquet if library == "pandas" else frame.write_parquet
    elif kind == "feather":
        pytest.importorskip("pyarrow")
        write = frame.to_feather if library == "pandas" else frame.write_ipc
    if kind != "frame":
        write(tmp_path / f"a.{kind}")
    found = read_table(frame if kind == "frame" else tmp_path / f"a.{kind}")
    (tmp_path / "a.csv").write_text(TEXT)
    wanted = read_table(tmp_path / "a.csv")
    assert found.described() == wanted.described()
    for one, other in zip(found.columns, wanted.columns, strict=True):
        assert torch.equal(one.values.isnan(), other.values.isnan())
        assert torch.equal(one.values.nan_to_num(), other.values.nan_to_num())
        assert one.missing == 0.25


def _pandas_categories(texts: list[str], declared: tuple[str, ...]) -> Any:
    return pytest.importorskip("pandas").Categorical(texts, declared)


def _polars_categories(texts: list[str], declared: tuple[str, ...]) -> Any:
    polars = pytest.importorskip("polars")
    return polars.Series(texts, dtype=polars.Enum(declared))


@pytest.mark.parametrize(
    ("package", "categories"), [("pandas", _pandas_categories), ("polars", _polars_categories)]
)
def test_declared_categories_are_kept_in_their_order(
    package: str, categories: Callable[[list[str], tuple[str, ...]], Any]
) -> None:
    wanted = ("low", "mid", "high", "never")
    column = categories(["low", "high", "low", "mid"] * 6, wanted)
    table = read_table(pytest.importorskip(package).DataFrame({"a": column}))
    assert (table["a"].kind, table["a"].categories) == ("category", wanted)
    assert table["a"].values[:4, 0].tolist() == [0.0, 2.0, 0.0, 1.0]


def test_categories_that_are_numbers_are_categories() -> None:
    pandas = pytest.importorskip("pandas")
    column = read_table(pandas.DataFrame({"n": pandas.Categorical([3, 1, 2, 3] * 6)}))["n"]
    assert (column.kind, column.categories) == ("category", ("1", "2", "3"))


def test_gaps_of_a_parquet_file_are_filled_into_a_csv(
    cli: Callable[..., Result], tmp_path: Path, no_pictures: None
) -> None:
    polars = pytest.importorskip("polars")
    polars.DataFrame(COLUMNS).write_parquet(tmp_path / "a.parquet")
    fitted = cli("fit", "--data", "a.parquet", "--out", "run", "--epochs", 1, "--hidden", 4)
    assert fitted.exit_code == 0, fitted.stderr
    filled = cli("impute", "run", "--out", "b.csv")
    assert filled.exit_code == 0, filled.stderr
    rows = [line.split(",") for line in (tmp_path / "b.csv").read_text().splitlines()]
    assert rows[0] == list(COLUMNS)
    assert len(rows) == 41
    assert all(cell for row in rows for cell in row)
    assert [row[2] for row in rows[1:3]] == ["Rome", "Oslo"]
