"""What an author of certificates can do: state any problem, prove it well or badly, and seal whatever that gives."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from sealing import form_of

from formulations import Fits, SparseProbeProblem, fit_support, fit_supports, sparse_probe_problem
from optprobe.certificates import checker
from optprobe.certificates.checker.bounds import Duals, duals_at, duals_of, node_bound
from optprobe.certificates.checker.pool import Listed
from optprobe.certificates.checker.problem import Problem
from optprobe.certificates.checker.tree import BRANCH, LEAF, SCREEN

NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64", "<i4": "I32", "<i2": "I16", "|i1": "I8", "|b1": "BOOL"}
Arrays = dict[str, np.ndarray]
Json = dict[str, Any]
PARTS = {"nodes": "tree.kind", "points": "points.intercept", "entries": "points.coef", "duals": "duals"}
"""The array whose length each size of a tree is."""


def sealed(claim: Json | str, arrays: Arrays, entries: Mapping[str, Any] | None = None, tail: bytes = b"") -> bytes:
    """A certificate with the digest that fits, whatever claim and arrays say.

    ``entries`` change the header's entries of arrays, by name; ``tail`` follows the arrays.
    """
    layout: Json = {}
    body = b""
    for name, array in sorted(arrays.items()):
        end = len(body) + array.nbytes
        layout[name] = {
            "data_offsets": [len(body), end],
            "dtype": NAMES.get(array.dtype.str, "F64"),
            "shape": list(array.shape),
        }
        body += array.tobytes()
    for name, entry in (entries or {}).items():
        layout[name] = {**layout.get(name, {}), **entry}
    body += tail
    text = claim if isinstance(claim, str) else checker.canonical(claim)
    stated = {"claim": text, "format": form_of(claim), "sha256": checker.content_digest(text, layout, body)}
    return framed(checker.canonical({"__metadata__": stated, **layout}), body)


def framed(header: str, body: bytes = b"") -> bytes:
    """Length, header, padding and body."""
    raw = header.encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + body


@dataclass
class Draft:
    """A claim and its arrays, to be altered before they are sealed."""

    claim: Json
    arrays: Arrays

    def sealed(self) -> bytes:
        return sealed(self.claim, self.arrays)

    def sized(self) -> Draft:
        """The sizes of a tree, as its arrays have them."""
        if "tree.kind" in self.arrays:
            self.claim["proof"].update({name: len(self.arrays[array]) for name, array in PARTS.items()})
        return self


@dataclass(frozen=True, eq=False)
class Case:
    """A problem small enough to know F of every set."""

    X: np.ndarray
    y: np.ndarray
    loss: str
    ridge: float
    k: int
    class_weight: str = "none"
    weight: np.ndarray | None = None
    among: tuple[int, ...] | None = None
    groups: tuple[int, ...] | None = None
    target: bool = False
    forced: tuple[int, ...] = ()
    digests: Json = field(default_factory=dict)

    @cached_property
    def problem(self) -> SparseProbeProblem:
        return sparse_probe_problem(
            self.X,
            None if self.target else self.y,
            self.k,
            targets=self.y if self.target else None,
            loss=self.loss,
            ridge=self.ridge,
            class_weight=self.class_weight,
            sample_weight=self.weight,
            among=self.among,
            groups=self.groups,
            forced=self.forced or None,
        )

    def allowed(self, size: int) -> list[tuple[int, ...]]:
        """The sets of a size that have the forced columns, and at most one column of each group."""
        found = itertools.combinations(self.problem.candidates.tolist(), size)
        closed = Listed(groups=self.groups)
        return [support for support in found if set(self.forced) <= set(support) and not closed.inside(support)]

    @cached_property
    def sets(self) -> np.ndarray:
        return np.array(self.allowed(self.problem.size), dtype=np.int64).reshape(-1, self.problem.size)

    @cached_property
    def fits(self) -> Fits:
        return fit_supports(self.problem, self.sets)

    @cached_property
    def objectives(self) -> np.ndarray:
        """The objective at the fit of every set in extended precision: above F of the set whatever the fit is."""
        p, fits = self.problem, self.fits
        Z, w, y = (np.asarray(part, np.longdouble) for part in (p.Z, p.w, p.y))
        f = (Z.T[self.sets] * np.asarray(fits.coef, np.longdouble)[:, :, None]).sum(axis=1)
        b = np.asarray(fits.coef, np.longdouble)
        return loss_of(self.loss, y, f + fits.intercept[:, None]) @ w + self.ridge * (b * b).sum(axis=1) / 2

    @cached_property
    def best(self) -> int:
        return int(np.argmin(self.objectives))

    @property
    def optimum(self) -> float:
        return float(self.objectives.min())

    @cached_property
    def checked(self) -> Problem:
        """The problem as the checker holds it."""
        p, candidates = self.problem, np.zeros(self.X.shape[1], dtype=np.bool_)
        candidates[p.candidates] = True
        more: Json = {"listed": Listed(groups=self.groups), "target": self.target, "forced": self.forced}
        return Problem(p.Z, p.y, p.w, candidates, self.loss, self.ridge, p.size, **more)

    def objective(self, support: tuple[int, ...], coef: np.ndarray, intercept: float) -> np.longdouble:
        """The objective in extended precision."""
        p, b = self.problem, np.asarray(coef, np.longdouble)
        f = np.asarray(p.Z, np.longdouble)[:, list(support)] @ b + np.longdouble(intercept)
        return np.asarray(p.w, np.longdouble) @ loss_of(self.loss, p.y.astype(np.longdouble), f) + (
            self.ridge * (b @ b) / 2
        )

    def data(self) -> Json:
        """The data's part of a claim."""
        if not self.digests:
            labels = self.y if self.target else np.where(self.y == np.max(self.y), 1.0, -1.0)
            weight = None if self.weight is None else checker.value_digest(np.asarray(self.weight, np.float64))
            self.digests.update(X=checker.value_digest(self.X), y=checker.value_digest(labels), weights=weight)
        n, p = self.X.shape
        target = {"target": True} if self.target else {}
        return {"kind": "rows", **self.digests, "n_rows": n, "n_neurons": p, **target}

    def draft(self, lower: float | None = None, at: int | None = None) -> Draft:
        """A claim about a set (the best), by a sweep that needs nothing."""
        at = self.best if at is None else at
        value = float(self.objectives[at])
        error = 1e-9 * (1 + abs(value))
        claim = {
            "data": self.data(),
            "problem": {
                "loss": self.loss,
                "ridge": self.ridge,
                "k": self.k,
                "class_weight": self.class_weight,
                "among": None if self.among is None else list(self.among),
            },
            "result": {
                "support": self.sets[at].tolist(),
                "intercept": float(self.fits.intercept[at]),
                "upper_bound": value + error,
                "lower_bound": self.optimum - error if lower is None else float(lower),
                "tolerance": 1e-6,
            },
            "proof": {"kind": "sweep", "box": None},
            "author": {"engine": "none", "regime": "none", "scope": {}, "versions": {"optprobe": "1"}},
        }
        arrays = {"coef": self.fits.coef[at].copy()}
        if self.groups is not None:
            arrays["groups"] = np.array(self.groups, np.int32)
            claim["problem"]["groups"] = checker.value_digest(arrays["groups"])
        if self.forced:
            claim["problem"]["forced"] = list(self.forced)
        return Draft(claim, arrays)

    def swept(self, lower: float | None = None, box: float = 0.3, at: int | None = None) -> Draft:
        """A claim by a sweep, with a reference where the loss needs one."""
        draft = self.draft(lower, at)
        if self.loss == "logistic":
            draft.claim["proof"]["box"] = box
            draft.arrays["reference"] = self.reference()
        return draft

    @cached_property
    def smaller(self) -> dict[tuple[int, ...], np.longdouble]:
        """The objective at the fit of every set of fewer columns, in extended precision."""
        found = {}
        for size in range(self.problem.size):
            sets = self.allowed(size)
            fits = fit_supports(self.problem, np.array(sets, dtype=np.int64).reshape(len(sets), size))
            for support, coef, intercept in zip(sets, fits.coef, fits.intercept):
                found[support] = self.objective(support, coef, float(intercept))
        return found

    def pooled(self, draft: Draft, listed: list[tuple[int, ...]], rest: float, screens: bool = True) -> Draft:
        """The same claim with a pool; a tree is grown for what it has to prove, or cannot."""
        members, coef = [], [np.zeros(0)]
        for support in listed:
            fits = fit_support(self.problem, support)
            upper = float(self.objective(support, fits.coef[0], float(fits.intercept[0]))) + 1e-9
            members.append({"support": list(support), "intercept": float(fits.intercept[0]), "upper_bound": upper})
            coef.append(fits.coef[0])
        draft.claim["result"]["pool"] = {"sets": members, "rest": rest}
        draft.arrays["pool.coef"] = np.concatenate(coef)
        if "tree.kind" in draft.arrays:
            closed = Listed(frozenset(tuple(j for j in one if j not in self.forced) for one in listed))
            bounds = self.bounds(draft.arrays["duals"], draft.arrays.get("tree.diagonal"))
            kinds, arguments = Grown(self.checked.besides(closed), bounds, rest, screens).tree()
            whole = all(len(support) == self.problem.size for support in listed)
            before = [] if whole else [draft.arrays["tree.kind"]], [] if whole else [draft.arrays["tree.argument"]]
            draft.arrays["tree.kind"] = np.concatenate([*before[0], np.array(kinds, np.int8)])
            draft.arrays["tree.argument"] = np.concatenate([*before[1], np.array(arguments, np.int32)])
        return draft.sized()

    def reference(self) -> np.ndarray:
        """Predictions of the best set."""
        p, at = self.problem, self.best
        return np.asarray(p.Z[:, self.sets[at]] @ self.fits.coef[at] + self.fits.intercept[at])

    def grown(
        self,
        lower: float | None = None,
        screens: bool = True,
        at: int | None = None,
        diagonal: np.ndarray | None = None,
    ) -> Draft:
        """A claim by a tree that is grown until it proves it, or cannot; with a diagonal, whatever that is."""
        draft = self.draft(lower, at)
        sets, p = self.sets, self.problem
        stored = self.fits.dual if self.loss == "hinge" else np.zeros((0, p.n_rows))
        points = 0 if self.loss == "hinge" else len(sets)
        bounds = self.bounds(stored, diagonal)
        kinds, arguments = Grown(self.checked, bounds, draft.claim["result"]["lower_bound"], screens).tree()
        width = p.size if points else 0
        draft.arrays |= {
            "tree.kind": np.array(kinds, np.int8),
            "tree.argument": np.array(arguments, np.int32),
            "points.start": np.arange(points + 1, dtype=np.int64) * width,
            "points.columns": sets.reshape(-1).astype(np.int32) if points else np.zeros(0, np.int32),
            "points.coef": self.fits.coef.flatten() if points else np.zeros(0),
            "points.intercept": self.fits.intercept.copy() if points else np.zeros(0),
            "duals": stored.copy(),
        }
        draft.claim["proof"] = {"kind": "tree", "box": None}
        if diagonal is not None:
            draft.claim["proof"]["diagonal"], draft.arrays["tree.diagonal"] = True, diagonal.copy()
        return draft.sized()

    def bounds(self, stored: np.ndarray, diagonal: np.ndarray | None = None) -> Duals:
        """What the points of the fits bound, and stored vectors after them."""
        of_stored = duals_of(self.checked, stored)
        if not len(self.duals):
            return of_stored
        if diagonal is None:
            of_points = duals_of(self.checked, self.duals)
        else:
            b, columns = np.zeros((len(self.sets), self.X.shape[1])), self.sets
            np.put_along_axis(b, columns, self.fits.coef, axis=1)
            of_points = duals_at(self.checked, diagonal, self.duals, b, np.abs(b).sum(axis=1) + 1)
        value = np.concatenate([of_points.value, of_stored.value])
        return Duals(value, np.concatenate([of_points.discount, of_stored.discount]))

    @cached_property
    def largest_diagonal(self) -> np.ndarray | None:
        """A multiple of 1 / (G^-1)_jj that is all but too large; None where G is singular."""
        p = self.problem
        whole, gram = np.zeros(self.X.shape[1]), p.gram(p.candidates)
        least = np.linalg.eigvalsh(gram)[0] if len(gram) else 0.0
        if least < 1e-8:
            return None
        d = 1 / np.diagonal(np.linalg.inv(gram))
        root = np.sqrt(d)
        whole[p.candidates] = d * np.linalg.eigvalsh(gram / root / root[:, None])[0]
        return np.minimum(whole, 1.0)

    @cached_property
    def duals(self) -> np.ndarray:
        """The derivatives at the fits."""
        return np.zeros((0, self.problem.n_rows)) if self.loss == "hinge" else np.asarray(self.fits.dual)

    def boxed(self, draft: Draft, box: float = 0.3) -> Draft:
        """A tree of logistic loss that may have pair leaves."""
        draft.claim["proof"]["box"] = box
        draft.arrays["reference"] = self.reference()
        return draft

    def paired(self, lower: float | None = None) -> Draft:
        """A tree whose one node with two columns missing, the root (k = 2), is left to the checker."""
        draft = self.boxed(self.grown(lower))
        draft.arrays["tree.kind"] = np.array([3], np.int8)
        draft.arrays["tree.argument"] = np.array([-1], np.int32)
        return draft.sized()


class Grown:
    """A tree in preorder by best vectors of a pool; ``lower`` decides where it ends."""

    def __init__(self, problem: Problem, pool: Duals, lower: float, screens: bool) -> None:
        self.problem, self.pool, self.lower, self.screens = problem, pool, lower, screens

    def tree(self) -> tuple[list[int], list[int]]:
        kinds: list[int] = []
        arguments: list[int] = []
        first, others = self.problem.root
        stack = [(tuple(first), tuple(np.flatnonzero(others).tolist()))]
        while stack:
            inside, free = stack.pop()
            kind, argument = self._node(inside, free)
            kinds.append(kind)
            arguments.append(argument)
            if kind == BRANCH:
                without = tuple(j for j in free if j != argument)
                stack.append((inside, without))
                if len(inside) < self.problem.size:
                    stack.append(((*inside, argument), without))
            elif kind == SCREEN:
                stack.append((inside, self._left(inside, free, argument)))
        return kinds, arguments

    def _node(self, inside: tuple[int, ...], free: tuple[int, ...]) -> tuple[int, int]:
        need = self.problem.size - len(inside)
        if need > len(free) or self.problem.listed.inside((*inside, *(free if need == len(free) else ()))):
            return LEAF, -1
        bounds = self._bounds(inside, free, need)
        best = int(np.argmax(bounds))
        if bounds[best] >= self.lower or need == 0 or need == len(free):
            return (LEAF, best) if need == 0 or bounds[best] >= self.lower else (BRANCH, free[0])
        if self.screens and len(self._left(inside, free, best)) < len(free):
            return SCREEN, best
        return BRANCH, max(free, key=lambda j: self.pool.discount[best, j])

    def _bounds(self, inside: tuple[int, ...], free: tuple[int, ...], need: int) -> np.ndarray:
        discount = self.pool.discount
        top = np.sort(discount[:, list(free)], axis=1)[:, len(free) - need :] if need else np.zeros((len(discount), 0))
        taken = discount[:, list(inside)].sum(axis=1) + top.sum(axis=1)
        return np.asarray(self.pool.value - taken * (1 + 1e-14) - 1e-15 * (np.abs(self.pool.value) + taken))

    def _left(self, inside: tuple[int, ...], free: tuple[int, ...], at: int) -> tuple[int, ...]:
        value, discount = float(self.pool.value[at]), self.pool.discount[at]
        bound, counted = node_bound(self.problem, value, discount, list(inside), np.array(free, dtype=np.int64))
        if not 1 <= self.problem.size - len(inside) <= len(free):
            return free
        slack = 8 * 2.0**-53 * (abs(value) + abs(bound))
        return tuple(
            j for j in free if not bound + max(counted - discount[j], 0.0) * (1 - 4 * 2.0**-53) - slack >= self.lower
        )


def loss_of(loss: str, y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """The loss of predictions, in their precision."""
    if loss == "squared":
        return (y - f) ** 2 / 2
    return np.maximum(1 - y * f, 0) if loss == "hinge" else np.logaddexp(0, -y * f)


def plain(loss: str, k: int = 2, n: int = 24, p: int = 5, seed: int = 0, **more: Any) -> Case:
    """An ordinary problem."""
    rng = np.random.default_rng([seed, n, p])
    X = rng.standard_normal((n, p))
    y = np.where(X[:, 0] + 0.5 * X[:, 1] + 0.5 * rng.standard_normal(n) > 0, 1.0, -1.0)
    return Case(X, y, loss, **{"ridge": 0.05, "k": k, **more})
