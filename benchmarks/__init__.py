"""Measurements: each module is a program that measures in one run, prints a table, and keeps its results."""
