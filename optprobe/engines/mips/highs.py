"""HiGHS as it is called here: it prints nothing, keeps a budget, and may run in several threads at once."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from optprobe.engines.budget import Budget

Floats = NDArray[np.float64]

INFINITY = highspy.kHighsInf
ACCEPTED = "MIP start solution is feasible"


@dataclass(frozen=True, eq=False)
class MilpRun:
    """What one MILP said, none of which is trusted.

    ``visited`` are the solutions it met, the last one at the end, its ``bound``, whether it took the start, and whether
    it ran to its end.
    """

    visited: list[Floats]
    bound: float
    start_accepted: bool
    finished: bool


class Highs(highspy.Highs):
    """A model of one thread whose gap closes fully; options come before anything that would print."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def enableCallbacks(self) -> None:
        """Called by the constructor, and the first that prints: HiGHS's banner."""
        for option, value in (("log_to_console", False), ("threads", 1), ("parallel", "off"), ("mip_rel_gap", 0.0)):
            self.setOptionValue(option, value)
        super().enableCallbacks()  # type: ignore[no-untyped-call]

    def keep(self, budget: Budget) -> None:
        """Let the next run end with the budget."""
        self.setOptionValue("time_limit", min(budget.left + self.getRunTime(), 1e20))

    def search(self, start: Floats, gap: float, budget: Budget) -> MilpRun:
        """Solve as a MILP from the values of a start, to an absolute gap or until the budget is over."""
        log: list[str] = []
        visited: list[Floats] = []
        self.setOptionValue("mip_abs_gap", gap)
        self.keep(budget)
        solution = highspy.HighsSolution()
        solution.col_value = start.tolist()
        self.setSolution(solution)

        def logged(event: highspy.HighsCallbackEvent) -> None:
            log.append(event.message)

        def found(event: highspy.HighsCallbackEvent) -> None:
            visited.append(np.array(event.data_out.mip_solution))

        def poll(event: highspy.HighsCallbackEvent) -> None:
            event.interrupt(budget.over)

        self.cbLogging += logged
        self.cbMipSolution += found
        self.cbMipInterrupt += poll
        try:
            self.run()
        finally:
            self.cbLogging -= logged
            self.cbMipSolution -= found
            self.cbMipInterrupt -= poll
        visited.append(np.array(self.getSolution().col_value))
        return MilpRun(
            visited=visited,
            bound=float(self.getInfo().mip_dual_bound),
            start_accepted=any(ACCEPTED in message for message in log),
            finished=self.getModelStatus() == highspy.HighsModelStatus.kOptimal,
        )
