"""Experiments: commands that print the figures which README and docs quote."""
