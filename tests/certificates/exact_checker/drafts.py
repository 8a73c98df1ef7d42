"""A writer of the format, for tests: a claim and its arrays become a file whose seal is honest, whatever they say."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sealing import form_of

from optprobe.certificates.exact.fits import fit
from optprobe.certificates.exact.standard import Problem, as_rows, state

NAMES = {"f8": "F64", "i8": "I64", "i4": "I32", "i1": "I8"}
Arrays = dict[str, np.ndarray]


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(values: np.ndarray) -> str:
    text = ",".join(map(str, values.shape)) + ":"
    return hashlib.sha256(text.encode() + np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()


def entries_of(arrays: Arrays) -> tuple[dict[str, Any], bytes]:
    entries: dict[str, Any] = {}
    body = b""
    for name in sorted(arrays):
        raw = np.ascontiguousarray(arrays[name]).tobytes()
        offsets = [len(body), len(body) + len(raw)]
        kind = NAMES[arrays[name].dtype.str[1:]]
        entries[name] = {"data_offsets": offsets, "dtype": kind, "shape": list(arrays[name].shape)}
        body += raw
    return entries, body


def sealed(text: str, entries: dict[str, Any], body: bytes, form: str = "optprobe-certificate/2") -> bytes:
    """The bytes of a file with a claim given as text, and any entries."""
    seal = hashlib.sha256(f"{text}\n{canonical(entries)}\n".encode() + body).hexdigest()
    header = canonical({**entries, "__metadata__": {"format": form, "claim": text, "sha256": seal}}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + body


@dataclass(eq=False)
class Draft:
    """A certificate that can be changed before it is written."""

    claim: dict[str, Any]
    arrays: Arrays

    def write(self, path: Path) -> Path:
        path.write_bytes(sealed(canonical(self.claim), *entries_of(self.arrays), form_of(self.claim)))
        return path


@dataclass(eq=False)
class Case:
    """Data, the problem that a claim is about, and F of every set by float64 fits."""

    X: np.ndarray
    y: np.ndarray
    g: np.ndarray | None
    problem: Problem
    given: dict[str, Any]
    sets: list[tuple[int, ...]]
    values: np.ndarray

    @property
    def data(self) -> tuple[Any, ...]:
        return self.X, self.y, self.g

    @property
    def best(self) -> tuple[int, ...]:
        return self.sets[int(np.argmin(self.values))]

    @property
    def optimum(self) -> float:
        return float(self.values.min())


def case(
    loss: str,
    seed: int,
    n: int = 30,
    p: int = 6,
    k: int = 2,
    ridge: float = 0.1,
    class_weight: str = "none",
    X: np.ndarray | None = None,
    g: np.ndarray | None = None,
    among: list[int] | None = None,
) -> Case:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) if X is None else X
    y = np.where(np.nan_to_num(X[:, 0]) + 0.8 * rng.standard_normal(len(X)) > 0, 1.0, 0.0)
    y[:2] = 0.0, 1.0
    given = {"loss": loss, "ridge": ridge, "k": k, "class_weight": class_weight, "among": among}
    problem = state(as_rows(X, y, g), *given.values())
    sets = list(itertools.combinations(problem.candidates, problem.size))
    array = np.array(sets, dtype=np.int64).reshape(len(sets), -1)
    fits = fit(problem, array)
    values = [objective(problem, s, b, b0) for s, b, b0 in zip(array, fits.coef, fits.intercept)]
    return Case(X, y, g, problem, given, sets, np.array(values))


def objective(problem: Problem, columns: np.ndarray, coef: np.ndarray, intercept: float) -> float:
    f = problem.Z[:, columns] @ coef + intercept
    m = problem.y * f
    losses = {"squared": (1 - m) ** 2 / 2, "logistic": np.logaddexp(0, -m), "hinge": np.maximum(0, 1 - m)}
    return float(problem.w @ losses[problem.loss] + problem.ridge / 2 * coef @ coef)


def draft(of: Case, slack: float = 1e-7, proof: str = "sweep") -> Draft:
    """A true certificate: the best set, and bounds with a slack."""
    columns = np.array([of.best], dtype=np.int64).reshape(1, -1)
    found = fit(of.problem, columns)
    coef, intercept = found.coef[0], float(found.intercept[0])
    value = objective(of.problem, columns[0], coef, intercept)
    rows = as_rows(*of.data)
    data = {**rows.digests(), "kind": "rows", "n_rows": len(of.y), "n_neurons": of.X.shape[1]}
    result = {
        "support": list(of.best),
        "intercept": intercept,
        "upper_bound": value + 1e-12,
        "lower_bound": of.optimum - slack,
        "tolerance": 1e-6,
    }
    box = 0.5 if of.problem.loss == "logistic" else None
    author = {"engine": "test", "regime": "", "scope": {"layer": 3}, "versions": {"a": [1, 2.5, None, True, "x"]}}
    claim = {
        "data": data,
        "problem": of.given,
        "result": result,
        "proof": {"kind": "sweep", "box": box},
        "author": author,
    }
    arrays: Arrays = {"coef": coef}
    if box is not None:
        arrays["reference"] = np.zeros(len(of.y))
    if proof == "tree":
        plant(of, claim, arrays)
    return Draft(claim, arrays)


def plant(of: Case, claim: dict[str, Any], arrays: Arrays, listed: list[tuple[int, ...]] | None = None) -> None:
    """A tree that branches on every candidate: its leaves are the sets, each with the vector of its own fit.

    The sets of even number have a point, the others a stored vector, as have all sets of the hinge loss, whose
    derivative is not unique at the fit. Before the first branch, the tree is screened.

    With a pool it is the tree of the rest, after the former where a listed set is smaller than the largest ones: nodes
    that contain a listed set are leaves without a vector, and columns listed alone are no candidates.
    """
    sets = np.array(of.sets, dtype=np.int64).reshape(len(of.sets), -1)
    fits = fit(of.problem, sets)
    by_point = [i for i in range(len(sets)) if i % 2 == 0 and of.problem.loss != "hinge"]
    stored = [i for i in range(len(sets)) if i not in by_point]
    number = {of.sets[i]: at for at, i in enumerate([*by_point, *stored])}
    entries: list[tuple[int, int]] = []

    def grow(inside: tuple[int, ...], free: list[int], besides: list[tuple[int, ...]]) -> None:
        need = of.problem.size - len(inside)
        if any(set(one) <= set(inside) for one in besides):
            entries.append((0, -1))
        elif need == 0:
            entries.append((0, number[inside]))
        elif len(free) < need:
            entries.append((0, -1))
        else:
            entries.append((1, free[0]))
            grow((*inside, free[0]), free[1:], besides)
            grow(inside, free[1:], besides)

    if not listed or any(len(one) < of.problem.size for one in listed):
        entries.append((2, 0))
        grow((), of.problem.candidates, [])
    if listed:
        grow((), [j for j in of.problem.candidates if (j,) not in listed], listed)
    k = sets.shape[1]
    arrays["tree.kind"] = np.array([kind for kind, _ in entries], dtype="<i1")
    arrays["tree.argument"] = np.array([argument for _, argument in entries], dtype="<i4")
    arrays["points.start"] = np.arange(len(by_point) + 1, dtype="<i8") * k
    arrays["points.columns"] = sets[by_point].ravel().astype("<i4")
    arrays["points.coef"] = fits.coef[by_point].ravel()
    arrays["points.intercept"] = fits.intercept[by_point]
    arrays["duals"] = np.ascontiguousarray(fits.dual[stored]).reshape(len(stored), len(of.y))
    counts = {"nodes": len(entries), "points": len(by_point), "entries": len(by_point) * k, "duals": len(stored)}
    claim["proof"] = {**claim["proof"], "kind": "tree", **counts}
