"""Reporting: one page of HTML on any number of runs."""

from pyro_vae.reports.reporting import report

__all__ = ["report"]
