"""What the audit says of every loss in the tests' table.

    python -m experiments.audits [NAME ...]

prints a line per loss: its source, the effective beta, the findings, and the verdict: what of the
loss its printed function is, or that none is printed; and whether beta and findings are those that
the table has.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import pyro_vae as pv
from tests.loss_audit.losses import TABLE, Case


def verdict(case: Case, report: pv.AuditReport) -> str:
    """Whether the answer is the table's, and what is printed."""
    beta, codes = report.effective_beta, {code for code, _ in report.findings}
    same = (
        beta is not None and case.beta is not None and math.isclose(beta, case.beta, rel_tol=0.01)
    )
    right = (same or case.beta is None) and codes == case.codes
    shown = "a function to paste" if report.corrected else "no function"
    return f"{'right' if right else 'WRONG'}, {shown}"


def row(name: str, case: Case) -> str:
    """The line of one loss."""
    report: Any = pv.audit(case.loss, **case.sizes)
    beta = "none" if report.effective_beta is None else f"{report.effective_beta:.4g}"
    codes = ", ".join(code for code, _ in report.findings) or "nothing"
    return f"{name} [{case.source}]: beta {beta}; found {codes}; {verdict(case, report)}"


def main() -> None:
    """Print the lines of all losses, or of those named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="losses; all if none is given")
    names = parser.parse_args().names
    for name, case in TABLE.items():
        if not names or name in names:
            print(row(name, case), flush=True)


if __name__ == "__main__":
    main()
