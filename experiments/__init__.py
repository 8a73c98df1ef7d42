"""Experiments: one module a claim, run as ``python -m experiments.NAME --config FILE``."""
