"""No code branches on the name of an observation, a prior, a posterior or a network.

A name may stand in the table that defines it, and where one is chosen: as a default, as a value
behind a key, as what is asked of ``observations.get``. Whatever else is made of it (a comparison, a
``match``, a set, a key, a constant, a beginning of a name) is found here.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from pyro_vae import networks, observations, posteriors, priors
from tests.docs.pages import ROOT

NAMES = {*observations.TABLE, *priors.PRIORS, *posteriors.POSTERIORS, *networks.NETWORKS}
TABLES = {
    "pyro_vae/observations/table.py": "TABLE",
    "pyro_vae/observations/lookup.py": "_MEANT",
    "pyro_vae/priors.py": "PRIORS",
    "pyro_vae/posteriors.py": "POSTERIORS",
    "pyro_vae/networks/making.py": "NETWORKS",
}
"""Where names are defined: the file, and the variable in it."""

WEIGHT = "beta"
WEIGHTS = {
    "pyro_vae/sweeps/pictures.py": 2,
    "pyro_vae/sweeps/runs.py": 1,
    "pyro_vae/loss_audit/auditing.py": 1,
    "pyro_vae/loss_audit/mending.py": 2,
    "pyro_vae/loss_audit/wording.py": 1,
    "pyro_vae/diagnostics/collapse_causes.py": 3,
    "pyro_vae/diagnostics/score_causes.py": 1,
    "pyro_vae/diagnostics/mends.py": 1,
    "pyro_vae/diagnostics/verifying.py": 1,
    "pyro_vae/training/epochs.py": 1,
    "pyro_vae/plots/runs.py": 3,
    "pyro_vae/training/step_metrics.py": 2,
    "pyro_vae/config/fit.py": 3,
    "pyro_vae/config/own.py": 1,
    "pyro_vae/training/run_config.py": 1,
}
"""How often "beta" is the weight of the KL where the observation of that name could be meant; as
a subscript it is the weight, save of a table."""

PARTS = {
    "-".join(words[i:j])
    for words in (name.split("-") for name in NAMES)
    for i in range(len(words))
    for j in range(i + 1, len(words) + 1)
} - NAMES
ORDINARY = {"learned", "real", "sigma", "logit", "t"}
"""Parts of names that are words of their own: where a parameter is from, levels, an option, and
how the arguments of a loss under audit are called."""

METHODS = {"startswith", "endswith", "removeprefix", "removesuffix", "find", "index", "count"}
PATTERNS = {"compile", "match", "fullmatch", "search", "findall", "fnmatch", "fnmatchcase", "sub"}


def found_in(source: str, file: str) -> list[tuple[int, str]]:
    """Lines of a file where a name decides, and the name.

    Args:
        source: Of the file.
        file: Its path from the root.
    """
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "dict"
        ):
            keys = (str(keyword.arg).replace("_", "-") for keyword in node.keywords)
            found += [(node.lineno, key) for key in keys if key in NAMES - {WEIGHT}]
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        above = [node, *_above(node, parents)]
        name = re.sub(r":\d*$", "", node.value)
        if name in NAMES:
            if not (_defined(above, file) or _chosen(above) or _field(above, name)):
                found.append((node.lineno, name))
        elif _within(above, PATTERNS):
            words = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", node.value))
            found += [(node.lineno, word) for word in sorted(words & (NAMES | PARTS) - ORDINARY)]
        elif node.value.strip("- ") in (NAMES | PARTS) - ORDINARY and (
            _within(above, METHODS) or _within(above, ())
        ):
            found.append((node.lineno, node.value))
    return found


def _above(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> list[ast.AST]:
    found = []
    while node in parents:
        node = parents[node]
        found.append(node)
    return found


def _defined(above: list[ast.AST], file: str) -> bool:
    """Within the table of a room."""
    if len(above) < 2 or not isinstance(above[-2], ast.Assign | ast.AnnAssign):
        return False
    statement = above[-2]
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [ast.unparse(target) for target in targets] == [TABLES.get(file)]


def _chosen(above: list[ast.AST]) -> bool:
    """A default, a value behind a key, or an observation asked for."""
    node, parent, *further = above
    if any(isinstance(one, ast.Compare | ast.pattern | ast.Subscript) for one in above):
        return False
    if isinstance(parent, ast.arguments):
        return True
    if isinstance(parent, ast.keyword):
        return parent.arg == "default"
    if isinstance(parent, ast.AnnAssign):
        constant = re.search("ClassVar|Final", ast.unparse(parent.annotation))
        return isinstance(further[0], ast.ClassDef) and not constant
    if isinstance(parent, ast.Dict):
        return any(node is value for value in parent.values)
    if isinstance(parent, ast.Assign):
        return all(isinstance(target, ast.Subscript) for target in parent.targets)
    if not isinstance(parent, ast.Call):
        return False
    # An option is declared with its default in front.
    declared = ast.unparse(parent.func) == "option" and node is parent.args[0]
    return declared or ast.unparse(parent.func) == "observations.get"


def _field(above: list[ast.AST], name: str) -> bool:
    """The weight of the KL, of a record or of settings."""
    node, parent = above[:2]
    if name != WEIGHT:
        return False
    if isinstance(parent, ast.Subscript) and node is parent.slice:
        holder = parent.value
    elif isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute):
        if parent.func.attr != "get" or node is not parent.args[0]:
            return False
        holder = parent.func.value
    else:
        return False
    # A constant is a table of names, and a dictionary that is written out may be.
    return not (ast.unparse(holder).rpartition(".")[2].isupper() or isinstance(holder, ast.Dict))


def _within(above: list[ast.AST], calls: Collection[str]) -> bool:
    """An argument of a call of these; of none of them, an operand or a pattern of ``match``."""
    holders = (ast.Tuple, ast.List, ast.Set, ast.JoinedStr, ast.FormattedValue)
    first = next(one for one in above[1:] if not isinstance(one, holders))
    if isinstance(first, ast.Call):
        return ast.unparse(first.func).rpartition(".")[2] in calls
    return not calls and isinstance(first, ast.Compare | ast.pattern)


def faults(root: Path) -> list[str]:
    """Where a name decides, in a source tree."""
    lines, weights = [], Counter[str]()
    for path in sorted([*(root / "pyro_vae").rglob("*.py"), *(root / "cli").rglob("*.py")]):
        file = path.relative_to(root).as_posix()
        for line, name in found_in(path.read_text(encoding="utf-8"), file):
            if name == WEIGHT:
                weights[file] += 1
            else:
                lines.append(f"{file}:{line}: {name}")
    for file in sorted(weights.keys() | WEIGHTS.keys()):
        if weights[file] != WEIGHTS.get(file, 0):
            lines.append(f"{file}: {WEIGHT} {weights[file]} times, not {WEIGHTS.get(file, 0)}")
    return lines


def test_no_branch_on_a_name() -> None:
    assert len(NAMES) > 30
    assert faults(ROOT) == []


def test_no_template_and_no_script_of_the_report_knows_a_name() -> None:
    files = [
        path
        for folder in ("templates", "static")
        for path in (ROOT / "pyro_vae/reports" / folder).iterdir()
        if path.suffix in (".j2", ".js", ".html")
    ]
    assert len(files) == 2
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not set(re.findall(r"""["'`]([\w-]+)["'`]""", text)) & NAMES, path


FOUND = {
    "equal": 'x = 1 if name == "normal" else 2',
    "unequal": 'x = "laplace" != name',
    "the weight's name": 'if obs == "beta": pass',
    "the weight's name, in a set": 'if obs in {"beta"}: pass',
    "one of several": 'x = name in ("normal", "laplace")',
    "a set": 'x = name not in {"student-t"}',
    "a prior": 'x = vae.prior_spec != "standard-normal"',
    "a prior with its number": 'x = vae.prior_spec == "vamp:50"',
    "a posterior": 'x = spec.startswith("iaf")',
    "a posterior's beginning": 'x = spec.startswith("iaf:")',
    "a network": 'x = config["net"]["name"] == "conv"',
    "match": 'match name:\n    case "normal":\n        pass',
    "match, one of several": 'match name:\n    case "laplace" | "cauchy":\n        pass',
    "match, within": 'match spec:\n    case {"name": "mlp"}:\n        pass',
    "match, a key": 'match spec:\n    case {"mlp": n}:\n        pass',
    "match, the weight's name": 'match obs:\n    case "beta":\n        pass',
    "keys": 'x = {"normal": 1, "laplace": 2}[name]',
    "a key": 'x = {"poisson": 1}.get(name, 0)',
    "keys, the weight's name": 'SCALE = {"beta": 2.0}',
    "keys by keyword": "x = dict(normal=1, student_t=2)",
    "keys from names": 'x = dict.fromkeys(("normal", "laplace"), 1)',
    "an entry": 'x = observations.TABLE["normal"]',
    "an entry, the weight's name": 'x = observations.TABLE["beta"]',
    "an entry asked for": 'x = TABLE.get("beta")',
    "a dictionary asked at once": 'x = {"beta": 1}["beta"]',
    "a value compared": 'x = {"a": "normal"}["a"] == name',
    "a constant": 'WANTED = "normal"\nx = name == WANTED',
    "constants": 'WANTED = ("normal", "beta")',
    "a constant of a class": 'class Kind(StrEnum):\n    NORMAL = "normal"',
    "a constant with a type": 'class Kind:\n    NORMAL: ClassVar[str] = "normal"',
    "a local constant": 'def f(name):\n    wanted = "normal"\n    return name == wanted',
    "the beginning of names": 'x = name.startswith("discretized-")',
    "the beginnings of names": 'x = name.startswith(("discretized", "continuous"))',
    "the end of names": 'x = name.endswith("-binomial")',
    "a part of names": 'x = "student" in name',
    "a part, cut out": 'x = name.split("-")[0] == "discretized"',
    "a part in a text": 'x = name == f"discretized-{family}"',
    "a pattern": 'x = re.match(r"^(normal|real)-.*", name)',
    "a function": 'x = operator.eq(name, "normal")',
    "objects by name": 'x = head == observations.get("normal")',
    "a type": 'x: Literal["normal", "laplace"]',
}


@pytest.mark.parametrize("case", FOUND)
def test_a_planted_branch_is_found(case: str) -> None:
    assert found_in(FOUND[case], "pyro_vae/training/loop.py"), FOUND[case]
    # The table's own file may not branch either.
    assert found_in(FOUND[case], "pyro_vae/priors.py"), FOUND[case]


@pytest.mark.parametrize(
    "source",
    [
        'def f(obs="normal", *, prior: str = "vamp:50"): pass',
        '@dataclass\nclass RunConfig:\n    net: str = "mlp"',
        'option("--net", default="mlp")',
        'x = {"prior": "standard-normal", **config}',
        'changes["obs"] = "normal-learned-sigma"',
        'x = observations.get("real-normal", scale="dataset")',
        'x = record["beta"] != last["beta"] or settings.get("beta", "1") == "1"',
        'x = param.origin == "learned" or levels in ("counts", "real")',
        'raise InputError("the normal observation")',
        'x = kind.startswith("-") or text.endswith("s")',
    ],
)
def test_what_only_chooses_is_free(source: str) -> None:
    assert found_in(source, "pyro_vae/training/loop.py") == []


def test_a_table_is_free_in_its_own_file_only() -> None:
    source = 'PRIORS: dict[str, type] = {"flow": FlowPrior}'
    assert found_in(source, "pyro_vae/priors.py") == []
    assert found_in(source, "pyro_vae/vae.py") == [(1, "flow")]


@pytest.mark.parametrize(
    ("file", "lines", "fault"),
    [
        ("cli/fit.py", 'X = obs == "normal"', ": normal"),
        ("pyro_vae/training/step_metrics.py", 'X = {"beta": 1}', ": beta 3 times, not 2"),
        ("pyro_vae/vae.py", 'X = obs in ["beta"]', ": beta 1 times, not 0"),
    ],
)
def test_a_branch_planted_in_the_source_is_found(
    tmp_path: Path, file: str, lines: str, fault: str
) -> None:
    for part in ("pyro_vae", "cli"):
        there = shutil.ignore_patterns("__pycache__", "*.npz", "static")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=there)
    path = tmp_path / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n\n{lines}\n", encoding="utf-8")
    (found,) = faults(tmp_path)
    assert found.startswith(file)
    assert found.endswith(fault)


def test_a_weight_that_is_gone_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyro_vae").mkdir()
    (tmp_path / "cli").mkdir()
    assert len(faults(tmp_path)) == len(WEIGHTS) > 0
