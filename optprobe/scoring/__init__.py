"""Scores of decision values on labelled rows, each by its definition, and their intervals over documents."""

from optprobe.scoring.bootstrap import DRAWS, LEVEL, GroupBootstrap, interval, middle
from optprobe.scoring.definitions import NAMES, Scores, score_values, scores, scores_of

__all__ = [
    "DRAWS",
    "LEVEL",
    "NAMES",
    "GroupBootstrap",
    "Scores",
    "interval",
    "middle",
    "score_values",
    "scores",
    "scores_of",
]
