"""Supports without a proof: the paper's rankings, and local searches by the exact objective."""

from optprobe.heuristics.moves import Gram
from optprobe.heuristics.published import read_ranking
from optprobe.heuristics.rankings import PAPER_TOP, RANKINGS, Ranking, RankingScores, top
from optprobe.heuristics.search import (
    Incumbent,
    beam_search,
    forward_selection,
    incumbent,
    swap_descent,
)

__all__ = [
    "PAPER_TOP",
    "RANKINGS",
    "Gram",
    "Incumbent",
    "Ranking",
    "RankingScores",
    "beam_search",
    "forward_selection",
    "incumbent",
    "read_ranking",
    "swap_descent",
    "top",
]
