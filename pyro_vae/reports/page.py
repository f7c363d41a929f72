"""The page: a template filled in, with its script and its style inside and nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.metadata import version
from importlib.resources import files

__all__: list[str] = []


def render(**contents: object) -> str:
    """The whole page; every text is escaped.

    Args:
        **contents: What ``templates/report.html.j2`` asks for.
    """
    # Imported only here: nobody who makes no report waits for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=PackageLoader("pyro_vae", "reports/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A run's name may be broken after its folders and settings, rather than anywhere.
    environment.filters["breakable"] = lambda name: Markup(
        re.sub("[,/]", r"\g<0><wbr>", str(escape(name)))
    )
    static = files("pyro_vae.reports") / "static"
    script = (static / "report.js").read_text(encoding="utf-8").replace("\r\n", "\n")
    return environment.get_template("report.html.j2").render(
        **contents,
        version=version("pyro_vae"),
        script=script,
        style=(static / "report.css").read_text(encoding="utf-8"),
        policy=_policy(script),
    )


def _policy(script: str) -> str:
    """What the page may do: show its own pictures, and run the one script that it holds."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
