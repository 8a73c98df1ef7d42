"""The best sets that a search has met: one, for an optimum, or many, for a pool."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable
from itertools import combinations
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Support = tuple[int, ...]


class Listed:
    """What a search passes over: sets that contain a listed one, or two neurons of one group.

    Attributes
    ----------
    sets : tuple of tuple of int
        Each sorted.
    groups : ndarray, shape (n_neurons,), or None
        The group of each neuron, -1 for none.
    """

    def __init__(self, sets: Iterable[Support] = (), groups: Ints | None = None) -> None:
        self.sets, self.groups = tuple(sets), groups
        self._by_size: dict[int, set[bytes]] = {}
        for one in self.sets:
            self._by_size.setdefault(len(one), set()).add(np.array(one, dtype=np.int64).tobytes())

    @property
    def passes_over(self) -> bool:
        """Whether there is anything that it could pass over."""
        return bool(self.sets) or self.groups is not None

    def within(self, supports: Ints) -> NDArray[np.bool_]:
        """Which rows of ``supports`` (n_sets, k), each sorted, are passed over."""
        found = np.zeros(len(supports), dtype=np.bool_)
        if self.groups is not None:
            labels = np.sort(self.groups[supports], axis=1)
            found |= ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] >= 0)).any(axis=1)
        for size, keys in self._by_size.items():
            for places in combinations(range(supports.shape[1]), size):
                part = np.ascontiguousarray(supports[:, places], dtype=np.int64)
                found |= np.fromiter((row.tobytes() in keys for row in part), np.bool_, len(part))
        return found


class Incumbents:
    """
    The best sets met so far, each of the full size.

    Parameters
    ----------
    support : tuple of int
        A first set, sorted.
    objective : float
        Its F.
    most : int
        How many are kept: 1 for the search of an optimum.
    cap : float
        Sets whose F reaches this are never kept.
    listed : Listed
        Sets that contain one of these are not kept either.

    Attributes
    ----------
    upper : float
        A set whose F reaches this is of no interest: that of the worst set once ``most`` are kept, the cap before.
    support, objective : tuple of int and float
        The best set met, kept or not.
    """

    def __init__(
        self, support: Support, objective: float, most: int = 1, cap: float = math.inf, listed: Listed | None = None
    ) -> None:
        self.most, self.cap, self.listed = most, cap, listed or Listed()
        self.support, self.objective, self.upper = support, objective, cap
        self._kept: list[tuple[float, Support]] = []
        self._known: set[Support] = set()
        self._lock = Lock()
        self.offer(np.array([support], dtype=np.int64).reshape(1, -1), np.array([objective]))

    @property
    def kept(self) -> tuple[Support, ...]:
        """The sets that are kept, best first."""
        return tuple(support for _, support in self._kept)

    def offer(self, supports: Ints, objectives: Floats) -> bool:
        """Keep what is worth it of ``supports`` (n_sets, k), each sorted; returns whether ``upper`` fell."""
        with self._lock:
            before = self.upper
            worth = np.flatnonzero(objectives < self.upper)
            if len(worth) and self.listed.passes_over:
                worth = worth[~self.listed.within(supports[worth])]
            for at in worth[np.argsort(objectives[worth], kind="stable")].tolist():
                self._keep(float(objectives[at]), tuple(map(int, supports[at])))
            return self.upper < before

    def _keep(self, objective: float, support: Support) -> None:
        if objective < self.objective:
            self.support, self.objective = support, objective
        if objective >= self.upper or support in self._known:
            return
        insort(self._kept, (objective, support))
        self._known.add(support)
        for _, worst in self._kept[self.most :]:
            self._known.remove(worst)
        del self._kept[self.most :]
        if len(self._kept) == self.most:
            self.upper = min(self.cap, self._kept[-1][0])
