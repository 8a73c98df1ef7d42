"""The compiled loops, each module named after the one that calls it."""
