"""Outer approximation with HiGHS: the cutting-plane method of the paper, over the whole layer, with a proof of its own.

Cuts stay from round to round; each round is a MILP over the neurons that safe screening left, started from the best
incumbent, and every support that HiGHS visits becomes a cut. HiGHS has no lazy constraints, so the paper's single tree
becomes a sequence of trees. When HiGHS says that nothing better is left, it is not believed: one tree over the same
cuts, with HiGHS's LP as oracle (`cut_pool`), gives the leaves that the certificate carries.

Sources: Bertsimas, Pauphilet, Van Parys 2021; Gurnee et al. 2023 (hinge loss; its setting is ``--paper``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optprobe.engines.budget import Progress
from optprobe.engines.engine import Engine, Task
from optprobe.engines.mips.cut_pool import CutPool
from optprobe.engines.outcome import Outcome
from optprobe.engines.trees import branch_and_cut

MOST_ROUNDS = 24
"""After so many rounds the tree takes over."""
CUTS_A_ROUND = 8
"""Of the supports that a round visits, so many of least objective become cuts."""


def run(task: Task) -> Outcome:
    pool = CutPool(task.rows)
    search = branch_and_cut.Search(task, pool.bound)
    counts = {"rounds": 0, "starts_accepted": 0}
    finished = not search.heap
    seen: set[tuple[int, ...]] = set()
    while not finished and counts["rounds"] < MOST_ROUNDS and not task.budget.over:
        start = np.searchsorted(search.live.columns, search.found.support)
        if not np.isin(search.found.support, search.live.columns).all():
            break  # the incumbent itself was screened: nothing in play is better
        outcome = pool.of(search.live).candidates(start, search.found.objective, search.slack, task.budget)
        counts["rounds"] += 1
        counts["starts_accepted"] += outcome.start_accepted
        new = [support for support in map(tuple, outcome.supports) if support not in seen]
        seen.update(new)
        if new:
            fits = search.fit(np.array(new))
            for best in np.argsort(fits.objective, kind="stable")[:CUTS_A_ROUND]:
                pool.add_fit(search.live, fits, int(best))
        task.report(Progress("outer approximation", outcome.bound, search.found.upper))
        finished = not (new and outcome.finished) or outcome.bound >= search.target
    search.grow()
    found = search.outcome()
    return replace(found, counts={**found.counts, **counts, "cuts": len(pool.points)})


ENGINE = Engine("outer_approximation", branch_and_cut.refuses, run)
