"""Where the documentation explains what a command prints."""

from __future__ import annotations

__all__ = ["DOCS", "PAGES", "explained"]

DOCS = "docs"
"""The folder of the pages, beside README."""

PAGES = {
    "fit": "logs.md",
    "evaluate": "logs.md",
    "diagnose": "diagnosis.md",
    "compare": "words.md",
    "forecast": "words.md",
    "audit": "audit.md",
}
"""The page of each command that prints figures."""


def explained(command: str) -> str:
    """The line that names a command's page."""
    return f"explained in {DOCS}/{PAGES[command]}"
