"""Every picture and number of docs/blurry.md: ``python -m experiments.blurry``."""
