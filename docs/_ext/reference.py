"""The pages of the API reference, written from every module's ``__all__``, and links into them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

import pyro_vae

__all__ = ["data_docstring", "inner_modules", "names_of", "rooms", "setup"]

ORDER = (
    "pyro_vae",
    "pyro_vae.data",
    "pyro_vae.observations",
    "pyro_vae.heads",
    "pyro_vae.testing",
    "pyro_vae.links",
    "pyro_vae.distributions",
    "pyro_vae.networks",
    "pyro_vae.objectives",
    "pyro_vae.schedules",
    "pyro_vae.controllers",
    "pyro_vae.training",
    "pyro_vae.elbo",
    "pyro_vae.metrics",
    "pyro_vae.diagnostics",
    "pyro_vae.sweeps",
    "pyro_vae.reports",
)
"""In which order rooms are told of; others follow."""

Told = dict[tuple[str, int], str]
"""Under which path a thing is documented, by its name and identity."""


def rooms() -> list[str]:
    """Every room of the library: a module or package right below it that has ``__all__``."""
    below = [f"pyro_vae.{module.name}" for module in pkgutil.iter_modules(pyro_vae.__path__)]
    found = ["pyro_vae", *(n for n in below if hasattr(importlib.import_module(n), "__all__"))]
    return sorted(found, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))


def inner_modules(room: str) -> list[str]:
    """The modules of a room that have public names of their own, at any depth."""
    path = getattr(importlib.import_module(room), "__path__", None)
    if path is None or room == "pyro_vae":
        return []
    below = [module.name for module in pkgutil.walk_packages(path, f"{room}.")]
    return [name for name in below if hasattr(importlib.import_module(name), "__all__")]


def names_of(module: str) -> list[str]:
    """The public names of a module that are no modules, in the order of its ``__all__``."""
    found = importlib.import_module(module)
    return [n for n in found.__all__ if not isinstance(getattr(found, n), ModuleType)]


def data_docstring(module: str, name: str) -> str | None:
    """The docstring below a constant, where it is assigned; None where there is none."""
    value = getattr(importlib.import_module(module), name)
    for each in [module, *inner_modules(module)]:
        if getattr(importlib.import_module(each), name, None) is value:
            found = ModuleAnalyzer.for_module(each).find_attr_docs().get(("", name))
            if found:
                return "\n".join(found).strip()
    return None


def _entry(module: str, name: str) -> str:
    value: Any = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n   :show-inheritance:\n"
    if inspect.isfunction(inspect.unwrap(value)):
        return f".. autofunction:: {module}.{name}\n"
    text = data_docstring(module, name) or ""
    body = "".join(f"   {line}\n" if line else "\n" for line in text.splitlines())
    return f".. py:data:: {name}\n   :module: {module}\n\n{body}"


def _module(name: str, told: Told, line: str) -> list[str]:
    """A module's names; one that has been told of is a line with a link to it."""
    module = importlib.import_module(name)
    lines = [name, line * len(name), ""]
    if inspect.ismodule(_at(name)):  # else something public has the module's own path
        lines += [f".. py:module:: {name}", ""]
    lines += [inspect.getdoc(module) or "", ""]
    for each in names_of(name):
        key = (each, id(getattr(module, each)))
        if key in told:
            lines += [f":py:obj:`{name}.{each} <{told[key]}>`", ""]
            continue
        told[key] = f"{name}.{each}"
        lines += [_entry(name, each), ""]
    return lines


def _pages(told: Told) -> dict[str, str]:
    """Text by name: first the rooms, then what is inside them and not told of yet."""
    pages = {f"api/{room}": "\n".join(_module(room, told, "=")) for room in rooms()}
    for room in rooms():
        if inner := inner_modules(room):
            title = f"Inside {room}"
            lines = [title, "=" * len(title), ""]
            for name in inner:
                lines += _module(name, told, "-")
            pages[f"api/inside/{room}"] = "\n".join(lines)
    return pages


def _write(app: Sphinx) -> None:
    told: Told = {}
    for name, text in _pages(told).items():
        path = Path(app.srcdir) / f"{name}.rst"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")

    def elsewhere(
        app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
    ) -> nodes.Node | None:
        """A name that is documented under another path than the one it is called by."""
        objects = env.domains.python_domain.objects
        name = _documented(str(node["reftarget"]), str(node.get("py:module", "")), told, objects)
        if node.get("refdomain") != "py" or name is None:
            return None
        found = objects[name]
        page = str(node["refdoc"])
        return make_refnode(app.builder, page, found.docname, found.node_id, shown)

    app.connect("missing-reference", elsewhere)


def _at(path: str) -> Any:
    """What a dotted path leads to through attributes, or None."""
    value: Any = pyro_vae
    for part in path.split(".")[1:]:
        value = getattr(value, part, None)
    return value if path.split(".")[0] == "pyro_vae" else None


def _documented(target: str, module: str, told: Told, objects: Any) -> str | None:
    """The path under which the target is documented, or None."""
    for path in (target, f"{module}.{target}"):
        owner, _, last = path.rpartition(".")
        for name, rest in ((path, ""), (owner, f".{last}")):
            known = told.get((name.rpartition(".")[2], id(_at(name))))
            if known is not None and known + rest in objects:
                return known + rest
    last = target.rpartition(".")[2]
    alike = {path for (name, _), path in told.items() if name == last and path in objects}
    return alike.pop() if len(alike) == 1 else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
