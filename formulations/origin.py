"""Where the rows of a problem came from, and the rows that were held out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations.shown import Shown, Table, facts


@dataclass(frozen=True, eq=False, repr=False)
class Origin(Shown):
    """What a problem need not know to be solved, and whoever tells of its solution does.

    Attributes
    ----------
    scope : mapping of str to JSON values
        Where the rows came from: file, or model, revision, layer, hook point, feature, dataset, split.
    X_test : ndarray, shape (n_test, n_neurons), or None
        Rows that were held out.
    y_test : ndarray, shape (n_test,), or None
        Their labels.
    leakage : tuple of str
        What the held-out rows share with the rows of the problem, a sentence each.
    group_test : ndarray of int, shape (n_test,), or None
        Document of each held-out row.
    """

    scope: Mapping[str, Any] = field(default_factory=dict)
    X_test: NDArray[Any] | None = None
    y_test: NDArray[np.float64] | None = None
    leakage: tuple[str, ...] = ()
    group_test: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Let nobody change the scope."""
        object.__setattr__(self, "scope", MappingProxyType(dict(self.scope)))

    def _line(self) -> str:
        where = " ".join(str(self.scope[name]) for name in ("file", "model", "feature") if self.scope.get(name))
        return f"Origin: {where or 'unknown'}, {0 if self.y_test is None else len(self.y_test):,} rows held out"

    def _table(self) -> Table:
        return facts(self.scope)

    def __reduce__(self) -> tuple[type[Origin], tuple[Any, ...]]:
        """Pickle the scope as a dictionary."""
        return Origin, (dict(self.scope), self.X_test, self.y_test, self.leakage, self.group_test)
