"""Columns of a table as observations: each has its head, and the command line says which."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from pyro_vae import Head, InputError, observations
from pyro_vae.data import read_table
from pyro_vae.data.levels import LEVELS
from pyro_vae.data.levels import get as levels_of
from pyro_vae.observations import head_of_column, parse_columns
from pyro_vae.observed import Observed
from pyro_vae.testing import check_head

from .table_files import KINDS, ROWS, made, write_mixed


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return write_mixed(tmp_path / "mixed.csv")


def heads(path: Path, *columns: str) -> dict[str, tuple[Head, Tensor]]:
    table, found = parse_columns(columns, read_table(path))
    return {name: (head, table[name].values) for name, head in found.items()}


def test_every_columns_head_keeps_the_contract_and_is_plain_data(mixed: Path) -> None:
    found = heads(mixed)
    assert list(found) == list(KINDS)
    for head, _ in found.values():
        said = observations.spec(head)
        assert said is not None
        assert observations.read(json.loads(json.dumps(said))) == head
        assert check_head(head, (1,))[-2:] == ("display", "pickle")


def learned(head: Head, raw: Tensor, own: float) -> Any:
    built = head.build((1,)).double()
    with torch.no_grad():
        for parameter in built.learned.parameters():
            parameter.fill_(own)
    return built(raw)


def test_real_numbers_have_a_normal_in_their_own_unit(mixed: Path) -> None:
    head, values = heads(mixed)["height"]
    x = values[~values.isnan()].double().numpy()
    mean, sd = x.mean(), x.std()
    raw = torch.tensor([[-1.5], [0.0], [2.0]], dtype=torch.float64)
    scale = sd * (math.log1p(math.exp(0.3)) + 1e-3)
    expected = scipy.stats.norm(mean + sd * raw.numpy(), scale).logpdf(181.0)
    found = learned(head, raw, 0.3).log_prob(torch.full((3, 1), 181.0, dtype=torch.float64))
    np.testing.assert_allclose(found.detach(), expected[:, 0], rtol=1e-6)
    seen = Observed((1,), head).seen(values[:1])
    assert float(seen) == pytest.approx((float(values[0]) - mean) / sd, rel=1e-4)


def test_positive_numbers_have_a_log_normal(mixed: Path) -> None:
    head, values = heads(mixed)["income"]
    x = values[~values.isnan()].double().numpy()
    middle = np.exp(np.log(x).mean())
    found = learned(head, torch.zeros(1, dtype=torch.float64), 0.0)
    sigma = math.sqrt(1e-2 * 10)  # the middle of its bounds on the logarithmic scale
    expected = scipy.stats.lognorm(sigma, scale=middle).logpdf(5000.0)
    log_prob = found.log_prob(torch.tensor([5000.0], dtype=torch.float64))
    assert float(log_prob.detach()) == pytest.approx(expected, rel=1e-5)
    seen = Observed((1,), head).seen(values[:1])
    assert float(seen) == pytest.approx(math.log(float(values[0]) / middle), abs=1e-4)


def test_counts_have_a_negative_binomial(mixed: Path) -> None:
    head, values = heads(mixed)["visits"]
    p = learned(head, torch.zeros(1, dtype=torch.float64), 0.0)
    mean, r = math.sqrt(1e-4 * 1e6), math.sqrt(1e-2 * 1e3)  # the middles of their bounds
    k = torch.tensor([[0.0], [7.0], [40.0]], dtype=torch.float64)
    expected = scipy.stats.nbinom(r, r / (r + mean)).logpmf(k.numpy())[:, 0]
    np.testing.assert_allclose(p.log_prob(k).detach(), expected, rtol=1e-6)
    seen = Observed((1,), head).seen(values[~values.isnan()][:, None])
    logs = np.log1p(np.array(made()["visits"], dtype=float))
    logs = np.delete(logs, 2 + 3)  # the column's gap
    np.testing.assert_allclose(seen[:, 0], (logs - logs.mean()) / logs.std(), atol=1e-4)


@pytest.mark.parametrize("name", ["smoker", "flag"])
def test_two_values_have_a_bernoulli(mixed: Path, name: str) -> None:
    head, _ = heads(mixed)[name]
    assert head.kind_on(torch.tensor([0.0, 1.0])) == "mass"
    found = head.build((1,))(torch.tensor([[0.7], [0.7]])).log_prob(torch.tensor([[0.0], [1.0]]))
    expected = scipy.stats.bernoulli(1 / (1 + math.exp(-0.7))).logpmf([0, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["city", "grade", "floor"])
def test_categories_have_a_probability_each(mixed: Path, name: str) -> None:
    head, values = heads(mixed)[name]
    table = read_table(mixed)
    classes = len(table[name].categories)
    built = head.build((1,))
    raw = torch.randn(4, built.numbers)
    p = built(raw)
    layer: Any = built.shared["logits"]
    logits = (raw @ layer.weight.T + layer.bias).detach().double().numpy()
    k = torch.arange(classes, dtype=torch.float32).reshape(-1, 1, 1)
    found = p.log_prob(k.expand(classes, 4, 1)).detach()
    for i in range(4):
        wanted = scipy.stats.multinomial(1, np.exp(logits[i]) / np.exp(logits[i]).sum())
        np.testing.assert_allclose(found[:, i], wanted.logpmf(np.eye(classes)), rtol=1e-4)
    # The encoder sees which class it is, and nothing of one that is missing.
    mask = ~values.isnan()
    seen = Observed((1,), head).seen(values, mask)
    assert seen.shape == (ROWS, classes)
    assert (seen.sum(1) == mask[:, 0]).all()
    assert torch.equal(seen.argmax(1)[mask[:, 0]], values[mask].long())
    assert not bool(seen[~mask[:, 0]].any())
    assert levels_of(head.levels).width(head.interval) == classes


def test_several_entries_of_classes_are_seen_in_a_row() -> None:
    head = observations.get("categorical", "classes", (0.0, 2.0), logits=(3,))
    x = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    mask = torch.tensor([[True, False], [True, True]])
    assert Observed((2,), head).seen(x, mask).tolist() == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0]]


def test_classes_and_the_interval_must_agree() -> None:
    head = observations.get("categorical", "classes", (0.0, 3.0), logits=(3,))
    with pytest.raises(InputError, match=r"classes 0 to 2: its interval must be \(0, 2\)"):
        head.build((1,))


def test_a_unit_changes_nothing_but_the_unit() -> None:
    """x ~ Normal(m + s r, s σ) is (x − m)/s ~ Normal(r, σ)."""
    near = observations.get("real-normal", scale=0.5)
    far = observations.get("real-normal", interval=(70.0, 73.0), scaled=True, scale=0.5)
    raw, x = torch.tensor([0.4]), torch.tensor([1.3])
    found = far.build((1,))(raw).log_prob(70 + 3 * x)
    expected = float(near.build((1,))(raw).log_prob(x)) - math.log(3)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(LEVELS["real"].seen(70 + 3 * x, far.interval)) == pytest.approx(1.3, rel=1e-5)


def test_column_names_a_kind_or_an_observation(mixed: Path) -> None:
    said = ("height=real-student-t", "visits=poisson", "year=category", "flag=skip", "grade=real")
    table, found = parse_columns((*said, "income=laplace"), read_table(mixed))
    assert "flag" not in found
    titles = {name: head.title for name, head in found.items()}
    assert (titles["height"], titles["visits"]) == ("real-student-t", "poisson")
    assert table["year"].kind == "category"
    years = [year for i, year in enumerate(made()["year"]) if i != 10]  # one is missing
    assert table["year"].categories == tuple(str(year) for year in sorted(set(years)))
    assert table["grade"].kind == "real"
    low, high = found["income"].interval  # a location of pixels stays between the ends
    x = table["income"].values
    x = x[~x.isnan()]
    assert (low, high) == (float(x.min()), float(x.max()))


# --- the command line ---


def test_obs_lists_the_columns(cli: Callable[..., Any], mixed: Path) -> None:
    result = cli("obs", "--data", mixed, "--column", "year=skip", "--column", "visits=poisson")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines[1:])
    assert "year" not in result.stdout
    at = next(i for i, line in enumerate(lines) if line.startswith("visits: real, 0 to "))
    assert "0.3% missing" in lines[at]
    assert lines[at + 1].strip() == "poisson"
    assert 'city: category, Paris, FR, Rome, The "Hague"' in result.stdout
    rows = json.loads(cli("obs", "--data", mixed, "--json").stdout)
    assert {row["name"]: row["is"] for row in rows} == KINDS
    assert rows[0]["missing"] == pytest.approx(1 / ROWS)
    assert rows[0]["observation"] == head_of_column(read_table(mixed)["height"]).title


def test_mistakes_of_obs_data(mistake: Callable[..., str], mixed: Path) -> None:
    assert "--column needs --data" in mistake("obs", "--column", "a=real")
    assert "does not go with the NAME" in mistake("obs", "beta", "--data", mixed)
    assert "does not go with --sigma" in mistake("obs", "--sigma", 1, "--data", mixed)
    assert "No such file" in mistake("obs", "--data", "none.csv")
    assert "did you mean 'city'" in mistake("obs", "--data", mixed, "--column", "cty=skip")
