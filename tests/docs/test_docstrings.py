"""Every public name has a docstring, with shapes and units where it takes or gives tensors.

The rule is mechanical. A function, method or class

- has a docstring;
- names each of its arguments in ``Args:`` if it has such a section, and has one if it takes a
  tensor;
- says of each tensor that it takes or gives what its shape is: ``(N, ...)``, "shape", "scalar",
  "0-dim", "image" and the like, or where the arguments are described instead ("as for ...").

A constant has a docstring below it. A score says its unit.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyro_vae as pv

from .pages import ROOT

sys.path.insert(0, str(ROOT / "docs/_ext"))
import reference

sys.path.remove(str(ROOT / "docs/_ext"))

SHAPE = re.compile(
    r"\(\.\.\.|\([\w*.]+,|\([\w*]+\)|\bshape|\bscalar|0-dim|\bbatch_shape|[Ii]mages?\b|[Ll]evels\b"
    r"|\bsame\b|\bas for\b|:meth:|:func:|broadcast|a number|elementwise|per image"
)
TENSOR = re.compile(r"\b(Tensor|ndarray|Images)\b")
NOT_GIVEN = re.compile(r"Callable\[\[.*?\], .*?\]|type\[.*?\]")
"""Functions of tensors are no tensors."""
OURS = ("pyro_vae",)
INHERITED = {"forward", "log_prob", "rsample", "sample", "expand", "cdf", "icdf", "entropy"}
"""Methods whose meaning torch defines."""


def public() -> dict[str, Any]:
    """Every public name of every room, with what it is; each thing once."""
    found: dict[int, tuple[str, Any]] = {}
    for room in reference.rooms():
        module = importlib.import_module(room)
        for name in reference.names_of(room):
            value = getattr(module, name)
            key = id(value) if callable(value) else hash((room, name))
            found.setdefault(key, (f"{room}.{name}", value))
    return dict(found.values())


def missing(name: str, value: Any) -> list[str]:
    """What its docstring and those of its methods do not say."""
    if inspect.isclass(value):
        found = [f"{name}: {words}" for words in _missing_of(value, value.__init__)]
        for key, method in _methods(value):
            above = "\n".join(_above(value, key))
            found += [f"{name}.{key}: {words}" for words in _missing_of(method, method, above)]
        return found
    if inspect.isfunction(inspect.unwrap(value)):
        return [f"{name}: {words}" for words in _missing_of(value, value)]
    room, _, last = name.rpartition(".")
    return [] if reference.data_docstring(room, last) else [f"{name}: no docstring"]


def _methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for key, value in vars(cls).items():
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not key.startswith("_") and key not in INHERITED and inspect.isfunction(plain):
            yield key, plain


def _above(cls: type, key: str) -> list[str]:
    """The docstrings of the methods that a method overrides."""
    return [inspect.getdoc(vars(base)[key]) or "" for base in cls.__mro__[1:] if key in vars(base)]


def _missing_of(documented: Any, function: Any, above: str = "") -> list[str]:
    text = inspect.getdoc(documented) or ""
    if not text.strip():
        return ["no docstring"]
    text = f"{text}\n{above}"
    refers = re.search(r"arguments.{0,40}(as for|those of|as in)", text, re.IGNORECASE | re.DOTALL)
    annotations = getattr(function, "__annotations__", {})
    tensors = {k for k, v in annotations.items() if TENSOR.search(NOT_GIVEN.sub("", str(v)))}
    if refers or getattr(function, "__module__", "").split(".")[0] not in OURS:
        return []
    sections = _sections(text)
    given = sections.get("Args", "") or sections.get("Attributes", "")
    # An option is described where it is declared.
    declared = getattr(documented, "__dataclass_fields__", {})
    options = {key for key, each in declared.items() if each.metadata.get("help")}
    described = _described(given) | dict.fromkeys(options, "")
    said = []
    for key in sorted(set(annotations) - {"return"}):
        if given and key not in described and key not in sections.get("Attributes", ""):
            said.append(f"{key} is not described")
        elif key in tensors and not given:
            if not SHAPE.search(text):
                said.append(f"nothing says the shape of {key}")
        elif key in tensors and not SHAPE.search(described.get(key, "")):
            said.append(f"the shape of {key} is not told")
    if "return" in tensors:
        returned = sections.get("Returns", "") or text
        if not SHAPE.search(returned):
            said.append("the shape of what it returns is not told")
    return said


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^(Args|Attributes|Returns|Raises|Example|Yields):$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=False))


def _described(section: str) -> dict[str, str]:
    """What is said of each argument; several may share a line, as ``a, b:``."""
    entries = re.split(r"^ {4}(?=[\w*`])", section, flags=re.M)
    found: dict[str, str] = {}
    for entry in entries:
        names, _, words = entry.partition(":")
        for name in re.findall(r"\w+", names):
            found[name] = words
    return found


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_takes_and_gives(name: str) -> None:
    assert missing(name, PUBLIC[name]) == []


def test_there_are_public_names() -> None:
    assert len(PUBLIC) > 100


UNIT = re.compile(r"nats|bits|units?\b|pixel|share|number|ratio|None|dB|std|standard|distance")


def test_every_score_says_its_unit() -> None:
    import torch

    described = _described(_sections(inspect.getdoc(pv.metrics.Scores) or "")["Attributes"])
    vae = pv.VAE((4,), latent_dim=2, obs="categorical")
    scores = pv.evaluate(vae, torch.zeros(3, 4, dtype=torch.uint8), parts=())
    for key in scores:
        assert key in described, f"the docstring of what evaluate gives does not name {key}"
    assert UNIT.search(described["elbo"])


def bare(x: pv.VAE) -> None: ...


def silent(x: "torch.Tensor", n: int) -> "torch.Tensor":  # type: ignore[name-defined]  # noqa: F821, UP037
    """Do something.

    Args:
        x: What it is done to.
    """


def well(x: "torch.Tensor", n: int) -> "torch.Tensor":  # type: ignore[name-defined]  # noqa: F821, UP037
    """Do something.

    Args:
        x: What it is done to, (N, L).
        n: How often.

    Returns:
        Nats of each, (N,).
    """


def test_what_is_not_said_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.OURS", ("pyro_vae", __name__.split(".")[0]))
    assert missing("bare", bare) == ["bare: no docstring"]
    assert missing("silent", silent) == [
        "silent: n is not described",
        "silent: the shape of x is not told",
        "silent: the shape of what it returns is not told",
    ]
    assert missing("well", well) == []
