"""What an audit found, as fields, as plain data and as a page of text."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["AuditReport"]

_WIDTH = 79


class Finding(NamedTuple):
    """A mistake: a code for machines, a sentence for people."""

    code: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class AuditReport:
    r"""The result of an audit; printing it gives a page that says what to do.

    Attributes:
        effective_beta: Weight :math:`\beta` of the summed KL per image against the summed squared
            error, cross-entropy or other ``reconstruction`` per image; None with a note that says
            why.
        implied_sigma: :math:`\sqrt{\beta/2}`, the standard deviation of the Gaussian decoder that
            the loss amounts to; None unless the term is a squared error or a Gaussian.
        reconstruction: Kind of the reconstruction term.
        reductions: "sum" or "mean" by term ("reconstruction", "kl") and axis.
        kl: "closed form", or what is known of the KL term.
        findings: Mistakes, each a code and a sentence.
        notes: Things to know that are no mistakes.
        forecast: The forecast for the data given, or None.
        corrected: Source of a function to paste: the loss per image, spelt out, with its mistakes
            mended. Its values were compared with the loss's; empty where they are not the same.
        subject: What was audited, with its sizes.
        unclear: What of the loss was not understood, so that nothing is printed.
    """

    effective_beta: float | None
    implied_sigma: float | None
    reconstruction: str
    reductions: Mapping[str, Mapping[str, str]]
    kl: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    forecast: Any
    corrected: str
    subject: str = ""
    unclear: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        forecast = self.forecast
        if dataclasses.is_dataclass(forecast) and not isinstance(forecast, type):
            forecast = dataclasses.asdict(forecast)
        return {
            "subject": self.subject,
            "effective_beta": self.effective_beta,
            "implied_sigma": self.implied_sigma,
            "reconstruction": self.reconstruction,
            "reductions": {term: dict(axes) for term, axes in self.reductions.items()},
            "kl": self.kl,
            "findings": [finding._asdict() for finding in self.findings],
            "notes": list(self.notes),
            "forecast": dict(forecast) if isinstance(forecast, Mapping) else forecast,
            "corrected": self.corrected,
            "unclear": list(self.unclear),
        }

    def __str__(self) -> str:
        lines = [*_wrap(self.subject, ""), ""]
        lines += _row("reconstruction", self._term(self.reconstruction, "reconstruction"))
        lines += _row("KL", self._term(self.kl, "kl"))
        lines += _row("effective beta", self._beta())
        if self.implied_sigma is not None:
            sampled = "sampled" in self.kl
            sigma = f"about {self.implied_sigma:,.2g}" if sampled else f"{self.implied_sigma:,.4g}"
            lines += _row("implied sigma", sigma)
        lines += ["", self._verdict()]
        for code, sentence in self.findings:
            lines += _wrap(f"{code}: {sentence}", "  - ")
        if self.notes:
            lines += ["", "Notes:"]
            for note in self.notes:
                lines += _wrap(note, "  - ")
        if self.forecast is not None:
            lines += ["", "Forecast for the data given:", str(self.forecast)]
        if not self.corrected:
            what = "; ".join(self.unclear) or "the loss"
            lines += ["", *_wrap(f"No function is printed. Not understood: {what}.", "")]
            return "\n".join(lines)
        title = "Paste this instead:" if self.findings else "The same per image, spelt out:"
        return "\n".join([*lines, "", title, "", self.corrected])

    def _verdict(self) -> str:
        if self.findings:
            return "Wrong:"
        return "No mistake found" + (" in what was understood." if self.unclear else ".")

    def _term(self, kind: str, term: str) -> str:
        axes = self.reductions.get(term, {})
        words: dict[str, list[str]] = {}
        for axis, how in axes.items():
            words.setdefault(how, []).append(axis)
        said = {"other": "neither sum nor mean"}
        spelt = [f"{said.get(how, how)} over {', '.join(a)}" for how, a in words.items()]
        return "; ".join([kind, *spelt])

    def _beta(self) -> str:
        if self.effective_beta is None:
            return "none (see the notes)"
        what = f"x KL per image, against {self.reconstruction} per image"
        if "sampled" in self.kl:
            return f"about {self.effective_beta:,.2g} {what} (the KL is sampled)"
        return f"{self.effective_beta:,.6g} {what}"


def _row(title: str, text: str) -> list[str]:
    return _wrap(text, f"  {title:<16}")


def _wrap(text: str, first: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
