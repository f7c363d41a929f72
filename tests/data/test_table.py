"""Tables from .csv files: what columns are, and every mistake."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyro_vae import InputError
from pyro_vae.data import Table, read_table
from pyro_vae.observations import parse_columns

from .table_files import KINDS, ROWS, made, write_mixed

Write = Callable[..., Path]


def values(table: Table, name: str) -> list[Any]:
    return [None if math.isnan(v) else v for v in table[name].values.flatten().tolist()]


def texts(table: Table, name: str) -> list[Any]:
    categories = table[name].categories
    return [None if v is None else categories[int(v)] for v in values(table, name)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "table.csv") -> Path:
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return write_mixed(tmp_path / "mixed.csv")


# --- what is read ---


def test_columns_are_what_they_were_drawn_from(mixed: Path) -> None:
    table, wanted = read_table(mixed), made()
    assert {column.name: column.kind for column in table.columns} == KINDS
    assert len(table) == ROWS
    for i, (name, column) in enumerate(wanted.items()):
        assert table[name].values.shape == (ROWS, 1)
        assert table[name].values.dtype == torch.float32
        column[i + 3] = None
        found = (texts if table[name].categories else values)(table, name)
        if table[name].categories:
            assert found == [None if v is None else str(v) for v in column], name
        else:
            assert found == pytest.approx(
                [None if v is None else float(np.float32(v)) for v in column]
            ), name
        assert table[name].missing == pytest.approx(1 / ROWS)


FORMS = {
    "commas": b"a,b\n1.5,x\n2.5,y\n,x\n",
    "crlf": b"a,b\r\n1.5,x\r\n2.5,y\r\n,x\r\n",
    "a byte order mark": b"\xef\xbb\xbfa,b\n1.5,x\n2.5,y\n,x\n",
    "tabs": b"a\tb\n1.5\tx\n2.5\ty\n\tx\n",
    "bars": b"a|b\n1.5|x\n2.5|y\n|x\n",
    "semicolons and decimal commas": b"a;b\n1,5;x\n2,5;y\n;x\n",
    "quotes": b'"a","b"\n"1.5","x"\n"2.5","y"\n"","x"\n',
    "spaces": b"a, b\n1.5, x\n2.5, y\nNA , x\n",
    "no end of the last line": b"a,b\n1.5,x\n2.5,y\n,x",
    "empty lines": b"\na,b\n\n1.5,x\n2.5,y\n,x\n\n  \n",
}


@pytest.mark.parametrize("form", list(FORMS))
def test_forms_of_a_file(write: Write, form: str) -> None:
    table = read_table(write(FORMS[form]))
    assert [column.name for column in table.columns] == ["a", "b"]
    table = table.with_kinds({"a": "real"})
    assert values(table, "a") == [1.5, 2.5, None]
    assert texts(table, "b") == ["x", "y", "x"]


HEADERS = {
    "numbers below": ("a,b\n1,x\n2,x\n3,y\n", ["a", "b"], 3),
    "texts only": ("a,b\nx,u\ny,v\nx,v\n", ["a", "b"], 3),
    "texts that come back": ("x,u\ny,v\nx,v\n", ["column_1", "column_2"], 3),
    "numbers in it": ("1,x\n2,y\n3,y\n", ["column_1", "column_2"], 3),
    "an unnamed one": (",a\n7.5,1.5\n8.5,2.5\n", ["column_1", "a"], 2),
    "of other letters": ("größe,名\n1,2\n2,5\n", ["größe", "名"], 2),
}


@pytest.mark.parametrize("case", list(HEADERS))
def test_a_first_row_unlike_the_others_is_a_header(write: Write, case: str) -> None:
    text, names, count = HEADERS[case]
    table = read_table(write(text))
    assert [column.name for column in table.columns] == names
    assert len(table) == count


def test_without_a_header_the_first_row_is_the_first(write: Write) -> None:
    table = read_table(write("3,b\n1,a\n,a\n2,b\n")).with_kinds({"column_1": "real"})
    assert values(table, "column_1") == [3, 1, None, 2]
    assert texts(table, "column_2") == ["b", "a", "a", "b"]


def test_numbers_are_one_category_however_they_are_written(write: Write) -> None:
    table = read_table(write("a\n10\n2\n10.0\n2\n10\n1e1\n"))
    assert table["a"].kind == "binary"
    assert texts(table, "a") == ["10", "2", "10", "2", "10", "10"]
    assert table["a"].categories == ("2", "10")


def test_rows_go_by_one_at_a_time(tmp_path: Path) -> None:
    """Far less memory than the file's size, and the same values."""
    path, rows = tmp_path / "long.csv", 5_000
    with path.open("w") as stream:
        stream.write("a," + ",".join(f"text{i}" for i in range(20)) + "\n")
        for i in range(rows):
            stream.write(f"{i % 999}.25" + f",{'long ' * 6}{i % 4}" * 20 + "\n")
    kept = read_table(path, like=[{"name": "a", "kind": "real", "categories": []}])
    assert values(kept, "a") == [i % 999 + 0.25 for i in range(rows)]
    tracemalloc.start()
    table = read_table(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == rows
    assert table["text7"].categories == tuple(f"{'long ' * 6}{i}" for i in range(4))
    assert most < path.stat().st_size


# --- what cannot be used ---

SKIPPED = {
    "empty": ("a,b\n,1\n,2\n,5\n", "has no value"),
    "constant": ("a,b\n3,1\n3,2\n3,5\n", "is 3 in every row"),
    "one text": ("a,b\nu,1\nu,2\nu,5\n", "is 'u' in every row"),
    "infinite": ("a,b\n1.5,1\ninf,2\n2.5,5\n", "is infinite in row 3 (inf)"),
    "huge": ("a,b\n1e200,1\n2,2\n2.5,5\n", "numbers up to 1e+200"),
    "rows' numbers": (
        "a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(30)),
        "only numbers the rows, 0 to 29",
    ),
    "names": (
        "a,b\n" + "".join(f"n{i},{i % 7}\n" for i in range(30)),
        "has 30 categories in 30 rows",
    ),
    "many texts": (
        "a,b\n" + "".join(f"n{i % 300},{i % 7}\n" for i in range(900)),
        "over 256 categories",
    ),
    "a slip": (
        "a,b\n" + "".join(f"{i}.5,{i % 7}\n" for i in range(40)) + "4o,1\n",
        "has 40 numbers, and in row 42 '4o'",
    ),
    "too fine": (
        "a,b\n" + "".join(f"{1.7e9 + i % 30 + 0.5},{i % 7}\n" for i in range(40)),
        "too little for float32",
    ),
}


@pytest.mark.parametrize("case", list(SKIPPED))
def test_a_column_that_nothing_can_be_made_of_can_be_left_out(write: Write, case: str) -> None:
    text, why = SKIPPED[case]
    path = write(text)
    table = read_table(path)
    assert table["a"].kind == "skip"
    with pytest.raises(InputError) as caught:
        parse_columns((), table)
    said = str(caught.value)
    assert f"{path}: column 'a' " in said
    assert why in said
    assert said.endswith("leave it out with --column a=skip")
    left, heads = parse_columns(["a=skip"], table)
    assert [column.name for column in left.columns] == list(heads) == ["b"]


MISTAKES: dict[str, tuple[str | bytes, str]] = {
    "a ragged row": ("a,b\n1,2\n\n1,2,3\n", "row 4 has 3 fields, row 1 has 2"),
    "a ragged row after a quoted line break": (
        'a,b\n"x\ny",2\n1\n',
        "row 4 has 1 fields, row 1 has 2",
    ),
    "nothing": ("", "has no rows"),
    "blank lines": ("\n\n  \n", "has no rows"),
    "a header alone": ("a,b\n", "has no rows below the names"),
    "one name twice": ("a,b,a\n1,2,3\n", "row 1: columns 1 and 3 have one name, 'a'"),
    "a quote that does not close": ('a,b\n1,"2\n3,4\n', "row 2: unexpected end of data"),
    "another encoding": ("a,b\né,1\n".encode("latin-1"), "is not UTF-8 (byte 0xe9)"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes_in_a_file(write: Write, case: str) -> None:
    text, said = MISTAKES[case]
    path = write(text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="directory"):
        read_table(tmp_path)


COLUMNS = {
    "no such column": ("heigth=real", "did you mean 'height'"),
    "no equals sign": ("height", "--column must read NAME=OBS, got 'height'"),
    "no such observation": ("height=rael", "did you mean 'real'"),
    "texts as numbers": ("city=real", "column 'city' cannot be real: row 2 has"),
    "fractions as counts": ("height=count", "column 'height' cannot be count: row 2 has"),
    "zeros as positive": ("visits=positive", "column 'visits' cannot be positive: row "),
    "three values as two": ("city=binary", "a third of 3 values"),
    "numbers as categories": ("income=category", "over 256 categories"),
    "outside an observation's support": ("height=beta", "column 'height' cannot be beta: row 2"),
    "texts under an observation": ("floor=poisson", "cannot be poisson: row "),
}


@pytest.mark.parametrize("case", list(COLUMNS))
def test_mistakes_of_column(mixed: Path, case: str) -> None:
    text, said = COLUMNS[case]
    with pytest.raises(InputError) as caught:
        parse_columns([text], read_table(mixed))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_named_twice(mixed: Path) -> None:
    with pytest.raises(InputError, match="--column city is given twice: skip and category"):
        parse_columns(["city=skip", "city=category"], read_table(mixed))


def test_the_first_value_that_does_not_fit_is_named_with_its_row(write: Write) -> None:
    path = write('a,b\n1,"x\ny"\n2,z\n\n-3.5,z\n4.5,z\n')
    with pytest.raises(InputError, match=r"row 6 has '-3.5', not positive numbers"):
        parse_columns(["a=positive"], read_table(path))


def test_no_column_left(write: Write) -> None:
    with pytest.raises(InputError, match="no column is left"):
        parse_columns(["a=skip"], read_table(write("a\n1\n2\n3\n")))


# --- another file of the same columns ---


def test_another_file_is_read_like_the_first(mixed: Path, write: Write) -> None:
    table, _ = parse_columns(["year=skip"], read_table(mixed))
    kept = json.loads(json.dumps(table.described()))
    names = [column.name for column in table.columns]
    # In another order, with one more column, and values that would be judged otherwise.
    text = "city,more,grade,floor,flag,smoker,visits,income,height\n"
    text += "Rome,u,3.0,-2,1,no,7,12.5,180\n,u,1,NA,,yes,3,100,\n"
    again = read_table(write(text, "new.csv"), like=kept)
    assert [column.name for column in again.columns] == names
    assert [column.kind for column in again.columns] == [column.kind for column in table.columns]
    assert again.passed_over == ("more",)
    assert again.described() == kept
    assert texts(again, "city") == ["Rome", None]
    assert texts(again, "grade") == ["3", "1"]
    assert texts(again, "smoker") == ["no", "yes"]
    assert values(again, "height") == [180, None]
    whole = read_table(mixed, like=kept)
    for name in names:
        assert torch.equal(whole[name].values.nan_to_num(-9), table[name].values.nan_to_num(-9))


LIKE = {
    "an unknown category": ("city,height\nRome,1\nOslo,2\n", "'city' cannot be category: row 3"),
    "a text for a number": ("city,height\nRome,1\nRome,tall\n", "'height' cannot be real: row 3"),
    "a column that is missing": ("city\nRome\n", "lacks the column 'height'; it has 'city'"),
    "one name twice": ("city,height,city\nRome,1,Rome\n", "columns 1 and 3 have one name"),
}


@pytest.mark.parametrize("case", list(LIKE))
def test_mistakes_in_another_file(mixed: Path, write: Write, case: str) -> None:
    text, said = LIKE[case]
    kept = [row for row in read_table(mixed).described() if row["name"] in ("city", "height")]
    path = write(text, "new.csv")
    with pytest.raises(InputError) as caught:
        read_table(path, like=kept)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_column_may_be_absent_where_that_is_said(mixed: Path, write: Write) -> None:
    kept = [row for row in read_table(mixed).described() if row["name"] in ("city", "height")]
    again = read_table(write("city\nRome\n"), like=kept, absent=True)
    assert values(again, "height") == [None]
    assert texts(again, "city") == ["Rome"]


def test_a_file_without_a_header_is_read_like_one_without(write: Write) -> None:
    kept = read_table(write("3.5,b\n1.5,a\n2.5,b\n")).described()
    again = read_table(write("9.5,a\n8.5,a\n", "new.csv"), like=kept)
    assert values(again, "column_1") == [9.5, 8.5]
    assert texts(again, "column_2") == ["a", "a"]


def test_a_gap_in_the_first_row_makes_no_header(write: Write) -> None:
    path = write("3.5,\n1.5,a\n2.5,b\n")
    again = read_table(path, like=read_table(path).described())
    assert values(again, "column_1") == [3.5, 1.5, 2.5]
    assert texts(again, "column_2") == [None, "a", "b"]


@pytest.mark.parametrize(
    ("form", "gap", "kind"),
    [
        ("{}", False, "count"),
        ("{}.0", False, "real"),
        ("{}.0", True, "count"),  # as programs write whole numbers with gaps among them
    ],
    ids=["digits", "points", "gaps"],
)
def test_counts_are_written_without_a_point(
    tmp_path: Path, form: str, gap: bool, kind: str
) -> None:
    numbers = np.random.default_rng(0).poisson(30.0, 60)
    cells = ["" if gap and i == 5 else form.format(n) for i, n in enumerate(numbers)]
    (tmp_path / "a.csv").write_text("n,x\n" + "\n".join(f"{cell},a" for cell in cells))
    assert read_table(tmp_path / "a.csv")["n"].kind == kind
