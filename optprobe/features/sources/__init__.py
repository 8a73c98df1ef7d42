"""Readers of the files that features are built from."""
