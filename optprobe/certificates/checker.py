"""The independent checker of optprobe certificates: one file, numpy and the standard library, nothing of the solver.

    python checker.py CERTIFICATE DATA.npz        exit 0 accepted, 1 rejected (with the reason), 2 unusable input

A certificate claims, for the data with its digests, a loss, a ridge and k: the support S has F(S) <= upper, and every
set T of at most k columns has F(T) >= lower, where, with Z_ij = (X_ij - shift_j) * inv_scale_j in float64,

    F(S) = min over b, b0 of  sum_i w_i loss(y_i, Z_iS b + b0) + (ridge / 2) |b|^2.

The checker trusts the data and IEEE float64 (u = 2^-53, any order of summation: gamma_n = n u / (1 - n u)), and numpy's
log to a few units in the last place. Everything else is recomputed.

Upper bound: the objective at the stored coefficients, plus its rounding error.

Dual bound. For a in the domain of the conjugate l* with e = sum_i w_i a_i, let g = -sum_i w_i l*(a_i), v = Z'(w a).
Fenchel and Young on each row give, at the optimum (b, b0) of any S,
F(S) >= g + v_S'b + e b0 + (ridge/2)|b|^2 >= g - |v_S|^2 / (2 ridge) - |e| B with B >= |b0| (`_intercept_bound`). Hence
for all supports of `size` columns that contain `inside` and otherwise use `free` only:

    F(S) >= g - |e| B - sum_{inside} d_j - (the size - |inside| largest d_j over free),   d_j = v_j^2 / (2 ridge).

Proof "tree": a binary tree in preorder whose leaves carry a dual vector each; a branch splits on one column (inside or
outside), a screen discards the free columns j whose bound with j forced inside reaches `lower` already.

Proof "sweep" (squared loss): no data but the claim; see `check_sweep`.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Array = NDArray[Any]

FORMAT = "optprobe-certificate/1"
U = 2.0**-53
DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I8": "|i1"}
LEAF, BRANCH, SCREEN = 0, 1, 2
SHARE = 0.1
"""Of the gap: a column that gains more than this alone is strong. Any value is valid; it decides the time only."""
BLOCK = 256


class Rejected(Exception):
    """A statement of the certificate does not hold."""


class Unusable(Exception):
    """There is nothing to check: a file is missing or is not what it should be."""


@dataclass(frozen=True)
class Verdict:
    """Whether a certificate is accepted, and the sentence that says why."""

    accepted: bool
    reason: str

    def __str__(self) -> str:
        return f"{'accepted' if self.accepted else 'rejected'}: {self.reason}"


def verify(path: str, X: Array, y: Array, sample_weight: Array | None = None) -> Verdict:
    """Check the certificate at ``path`` against X (n_rows, n_neurons), y and, where it used them, weights (n_rows,)."""
    try:
        claim, arrays = read(path)
        try:
            problem = _problem(claim, arrays, X, y, sample_weight)
            return Verdict(True, _check(claim, arrays, problem))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise Rejected(f"the claim cannot be read ({type(error).__name__}: {error})") from error
    except Rejected as rejected:
        return Verdict(False, str(rejected))


# ---------------------------------------------------------------------------------------------------- the file


def read(path: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Claim and arrays of a certificate file: 8 bytes of header length, a JSON header, raw little-endian arrays."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Unusable(f"the certificate {path} cannot be read: {error.strerror}") from error
    if len(data) < 8:
        raise Rejected(f"the file is truncated: {len(data)} bytes")
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise Rejected(
            f"the file is truncated or no certificate: its header needs {length} bytes, it has {len(data) - 8}"
        )
    body = data[8 + length :]
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__")
        stated, claim = metadata["sha256"], json.loads(metadata["claim"])
        if metadata["format"] != FORMAT:
            raise Rejected(f"the format is {metadata['format']!r}, and this checker reads {FORMAT!r}")
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        if end != len(body):
            raise Rejected(f"the file is truncated: its arrays need {end} bytes, and {len(body)} are there")
        found = content_digest(metadata["claim"], header, body)
        if found != stated:
            raise Rejected(f"the content was altered: its sha256 is {found[:16]}..., the file says {stated[:16]}...")
        return claim, {name: _array(name, entry, body) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise Rejected(f"the header is no certificate's ({type(error).__name__}: {error})") from error


def content_digest(claim: str, layout: Mapping[str, Any], body: bytes) -> str:
    """sha256 of the claim's text, the arrays' names, types and places, and their bytes."""
    places = json.dumps(layout, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{claim}\n{places}\n".encode() + body).hexdigest()


def _array(name: str, entry: Mapping[str, Any], body: bytes) -> Array:
    begin, end = entry["data_offsets"]
    array = np.frombuffer(body[begin:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Rejected(f"the array {name} holds a value that is not finite")
    return array


# -------------------------------------------------------------------------------------------- data and problem


@dataclass(frozen=True)
class Problem:
    """What the claim is about, rebuilt from the data: Z, y, w, the columns allowed, and the parameters."""

    Z: Floats
    y: Floats
    w: Floats
    candidates: NDArray[np.bool_]
    loss: str
    ridge: float
    size: int


def _problem(claim: dict[str, Any], arrays: dict[str, Array], X: Array, y: Array, weight: Array | None) -> Problem:
    data, stated = claim["data"], claim["problem"]
    if X.ndim != 2 or X.shape != (data["n_rows"], data["n_neurons"]) or len(y) != len(X):
        raise Rejected(f"the data has shape {X.shape}, and the claim is about {data['n_rows']} x {data['n_neurons']}")
    labels = _labels(y)
    w = _weights(stated, labels, weight, arrays)
    for name, array in (("X", X), ("y", labels), ("w", w)):
        digest = value_digest(array)
        if digest != data[name]:
            raise Rejected(f"{name} is not the claim's: its digest is {digest[:16]}..., not {data[name][:16]}...")
    shift, inv_scale = arrays["shift"], arrays["inv_scale"]
    if shift.shape != (X.shape[1],) or inv_scale.shape != shift.shape:
        raise Rejected("shift and inv_scale do not have one entry for each neuron")
    Z = np.empty(X.shape, order="F")
    np.subtract(X, shift, out=Z)
    Z *= inv_scale
    if not np.isfinite(Z).all():
        raise Rejected("the data hold a value that is not finite")
    _check_standardisation(X, Z, w, shift, inv_scale)
    candidates = np.asarray(inv_scale > 0)
    if stated["among"] is not None:
        among = np.asarray(stated["among"], dtype=np.int64)
        if len(among) and not 0 <= among.min() <= among.max() < X.shape[1]:
            raise Rejected("the columns allowed are not all columns of the data")
        candidates &= np.isin(np.arange(X.shape[1]), among)
    k, ridge = stated["k"], float(stated["ridge"])
    if stated["loss"] not in ("squared", "logistic", "hinge"):
        raise Rejected(f"the loss {stated['loss']!r} is unknown")
    if not (isinstance(k, int) and k >= 1) or not 0 < ridge < math.inf:
        raise Rejected(f"k = {k} or the ridge {ridge:g} is not positive")
    return Problem(Z, labels, w, candidates, stated["loss"], ridge, min(k, int(candidates.sum())))


def value_digest(array: Array) -> str:
    """sha256 of an array's shape and values (as little-endian float64 in row order)."""
    sha = hashlib.sha256(f"{','.join(map(str, array.shape))}:".encode())
    rows = max(1, 2**20 // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[start : start + rows], dtype="<f8").tobytes())
    return sha.hexdigest()


def _labels(y: Array) -> Floats:
    values = np.unique(y)
    if len(values) != 2:
        raise Rejected(f"the labels have {len(values)} distinct values, not two")
    return np.where(y == values[1], 1.0, -1.0)


def _weights(stated: dict[str, Any], y: Floats, given: Array | None, arrays: dict[str, Array]) -> Floats:
    """w from the claim's rule: equal, or one half for each class, times the data's own weights where they were used."""
    positive, balanced = y > 0, stated["class_weight"] == "balanced"
    if not balanced and stated["class_weight"] != "none":
        raise Rejected(f"the class weight {stated['class_weight']!r} is unknown")
    if not stated["weighted"]:
        if not balanced:
            return np.full(len(y), 1.0 / len(y))
        return np.asarray(np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()))
    if given is None:
        raise Rejected("the claim is about weighted rows, and the data brings no weights")
    expected = np.asarray(given, dtype=np.float64)
    for rows in (positive, ~positive) if balanced else (np.full(len(y), True),):
        expected = np.where(rows, expected * ((0.5 if balanced else 1.0) / expected[rows].sum()), expected)
    w = arrays["w"]
    if w.shape != expected.shape or not np.allclose(w, expected, rtol=1e-12, atol=0.0):
        raise Rejected("the stored weights are not those of the data, normalised")
    if (w < 0).any() or not (w[positive].sum() > 0 and w[~positive].sum() > 0):
        raise Rejected("a weight is negative, or a class has none")
    return w


def _check_standardisation(X: Array, Z: Floats, w: Floats, shift: Floats, inv_scale: Floats) -> None:
    """Every column has mean 0 and mean square 1 to 1e-9 (and the rounding of its shift), or is constant and left out.

    Constant: its standard deviation is at most 1e-9 of its largest absolute value.
    """
    total, used = w.sum(), inv_scale > 0
    means = np.abs(w @ Z) / total
    squares = np.empty(len(means))
    for start in range(0, len(means), BLOCK):
        squares[start : start + BLOCK] = w @ Z[:, start : start + BLOCK] ** 2 / total
    allowed = 1e-9 + 8 * U * np.abs(shift) * inv_scale
    for j in np.flatnonzero(used & ((means > allowed) | (np.abs(squares - 1) > 1e-9)))[:1]:
        raise Rejected(f"column {j} is not standardised: its mean is {means[j]:.3g}, its mean square {squares[j]:.12g}")
    for j in np.flatnonzero(~used):
        column = X[w > 0, j].astype(np.float64)
        centred = column - (w[w > 0] @ column) / total
        deviation = math.sqrt(float(w[w > 0] @ (centred * centred)) / total)
        if inv_scale[j] != 0 or deviation > 1.001e-9 * np.abs(column).max():
            raise Rejected(f"column {j} is left out as constant, and it is not")


# ------------------------------------------------------------------------------------------ bounds with rounding


def gamma(n: int) -> float:
    """n u / (1 - n u): the relative error of n roundings."""
    return n * U / (1 - n * U)


def _objective(problem: Problem, support: list[int], coef: Floats, intercept: float) -> tuple[float, float]:
    """The objective at one point, and a bound of its rounding error."""
    terms = problem.Z[:, support] * coef
    f = terms.sum(axis=1) + intercept
    error_f = gamma(len(support) + 4) * (np.abs(terms).sum(axis=1) + abs(intercept))
    if problem.loss == "squared":
        loss = 0.5 * (problem.y - f) ** 2
        slope = np.abs(problem.y - f) + error_f
    else:
        loss = np.logaddexp(0.0, -problem.y * f) if problem.loss == "logistic" else np.maximum(0.0, 1.0 - problem.y * f)
        slope = np.ones_like(f)
    penalty = 0.5 * problem.ridge * float(coef @ coef)
    value = float(problem.w @ loss) + penalty
    error = float(problem.w @ (slope * (error_f + 16 * U * (1 + np.abs(f))))) * (1 + 1e-6)
    return value, error + gamma(len(f) + 24) * value


@dataclass(frozen=True)
class Duals:
    """A block of feasible dual vectors: their values rounded down, their discounts rounded up."""

    value: Floats
    discount: Floats


def _intercept_bound(problem: Problem) -> float:
    """B >= |b0| at the optimum of every support.

    F(S) <= F(empty) <= F0 = (1/2, log 2, 1) W at the zero fit, so |b| <= sqrt(2 F0 / ridge). Logistic and hinge loss
    are at least -y f, so over one class W_c (|b0| - |m_c'b|) <= F0 with the class mean m_c, whose entries are at most
    sqrt(W / W_c) for columns of unit square (Cauchy and Schwarz). For the squared loss b0 = mean y - (mean z)'b is
    smaller still.
    """
    total = float(problem.w.sum())
    smaller = min(float(problem.w[problem.y > 0].sum()), float(problem.w[problem.y < 0].sum()))
    start = {"squared": 0.5, "logistic": math.log(2.0), "hinge": 1.0}[problem.loss] * total
    slope = math.sqrt(problem.size * total / smaller) * math.sqrt(2 * start / problem.ridge)
    return 1.01 * (start / smaller + slope)


def _duals(problem: Problem, a: Floats) -> Duals:
    """Make the rows of ``a`` (m, n_rows) feasible, then bound value and discounts from the safe side."""
    y, w, n = problem.y, problem.w, len(problem.y)
    if problem.loss == "squared":
        a = a - (a @ w)[:, None] / w.sum()
        value = -((a * y + 0.5 * a * a) @ w)
        error = gamma(n + 8) * ((np.abs(a) + 0.5 * a * a) @ w)
    else:
        t = np.clip(-y * a, 0.0, 1.0)
        positive = y > 0
        sums = t @ (w * positive), t @ (w * ~positive)
        target = np.minimum(*sums)
        scale = [np.divide(target, part, out=np.zeros_like(part), where=part > 0)[:, None] for part in sums]
        t = np.minimum(t * np.where(positive, scale[0], scale[1]), 1.0)
        a = -y * t
        value = (_entropy(t) if problem.loss == "logistic" else t) @ w
        error = gamma(n + 32) * value
    unbalanced = np.abs(a @ w) + gamma(n + 4) * (np.abs(a) @ w)
    v = (w * a) @ problem.Z
    norm = np.sqrt((a * a) @ w) * (1 + gamma(n + 8)) * 1.001 * math.sqrt(w.sum())
    v_up = np.abs(v) + (gamma(n + 8) * norm)[:, None]
    discount = v_up * v_up * ((1 + 16 * U) / (2 * problem.ridge))
    return Duals(value - error - unbalanced * _intercept_bound(problem) - 8 * U * np.abs(value), discount)


def _entropy(t: Floats) -> Floats:
    """-t log t - (1 - t) log(1 - t) on [0, 1]: two non-negative terms, each to a relative error of a few u."""
    tiny = np.finfo(np.float64).tiny
    return np.asarray(-t * np.log(np.maximum(t, tiny)) - (1.0 - t) * np.log1p(-np.minimum(t, 1.0 - U)))


def _node(problem: Problem, value: float, discount: Floats, inside: list[int], free: Array) -> tuple[float, float]:
    """Node bound rounded down, and the smallest discount counted among the free columns."""
    need = problem.size - len(inside)
    if need > len(free):
        return math.inf, 0.0
    top = np.partition(discount[free], len(free) - need)[len(free) - need :] if need else np.zeros(0)
    taken = (float(discount[inside].sum()) + float(top.sum())) * (1 + gamma(problem.size + 4))
    return value - taken - 4 * U * (abs(value) + taken), float(top.min()) if need else 0.0


# --------------------------------------------------------------------------------------------------- proof: tree


def check_tree(problem: Problem, arrays: dict[str, Array], lower: float) -> str:
    """Walk the tree in preorder; every leaf's node bound must reach ``lower``. Returns a sentence of counts.

    The walk itself rebuilds the nodes, so the leaves cover the search space by construction: a branch has exactly two
    subtrees, and the preorder must end exactly with the last of them.
    """
    kind, argument = arrays["tree.kind"], arrays["tree.argument"]
    if kind.shape != argument.shape or kind.ndim != 1 or not len(kind):
        raise Rejected("the tree is empty, or its arrays differ in length")
    duals = _DualReader(problem, arrays)
    stack: list[tuple[list[int], NDArray[np.bool_]]] = [([], problem.candidates)]
    leaves = 0
    for position in range(len(kind)):
        if not stack:
            raise Rejected(f"the tree is complete after {position} nodes, and {len(kind)} are stored")
        inside, allowed = stack.pop()
        what, index = int(kind[position]), int(argument[position])
        if what == BRANCH:
            if not (0 <= index < len(allowed)) or index in inside:
                raise Rejected(f"node {position} branches on column {index}, which is not free")
            without = allowed.copy()
            without[index] = False
            stack.append((inside, without))
            if len(inside) < problem.size:
                stack.append(([*inside, index], without))
            continue
        value, discount = duals[index] if index >= 0 else (-math.inf, np.zeros(len(allowed)))
        free = np.flatnonzero(allowed)
        bound, counted = _node(problem, value, discount, inside, free)
        if what == LEAF:
            leaves += 1
            if bound < lower:
                raise Rejected(f"leaf {leaves} (node {position}) proves {bound:.12g}, and the claim is {lower:.12g}")
        elif what == SCREEN:
            slack = 8 * U * (abs(value) + abs(bound)) if math.isfinite(bound) else 0.0
            forced = bound + (counted - discount) * (1 - 4 * U) - slack
            kept = allowed & ~((discount < counted) & (forced >= lower))
            stack.append((inside, kept))
        else:
            raise Rejected(f"node {position} has the unknown kind {what}")
    if stack:
        raise Rejected(f"the tree is incomplete: {len(stack)} subtrees are missing after {len(kind)} nodes")
    return f"{leaves} leaves, {duals.count} dual vectors"


class _DualReader:
    """The dual vectors of a tree by number: first the primal points, then the vectors stored as they are."""

    def __init__(self, problem: Problem, arrays: dict[str, Array]) -> None:
        self.problem, self.arrays = problem, arrays
        self.points = len(arrays["points.intercept"])
        self.count = self.points + len(arrays["duals"])
        self.blocks: dict[int, Duals] = {}

    def __getitem__(self, index: int) -> tuple[float, Floats]:
        if not 0 <= index < self.count:
            raise Rejected(f"the dual vector {index} is missing: {self.count} are stored")
        number = index // BLOCK
        if number not in self.blocks:
            while len(self.blocks) >= 16:
                del self.blocks[next(iter(self.blocks))]
            rows = [self._vector(i) for i in range(number * BLOCK, min(self.count, (number + 1) * BLOCK))]
            self.blocks[number] = _duals(self.problem, np.array(rows))
        block = self.blocks[number]
        return float(block.value[index % BLOCK]), block.discount[index % BLOCK]

    def _vector(self, index: int) -> Floats:
        """Any vector may serve, since the bound is taken where it ends after `_duals`; so rounding here is harmless."""
        if index >= self.points:
            return np.asarray(self.arrays["duals"][index - self.points], dtype=np.float64)
        part = slice(self.arrays["points.start"][index], self.arrays["points.start"][index + 1])
        columns, coef = self.arrays["points.columns"][part], self.arrays["points.coef"][part]
        f = self.problem.Z[:, columns] @ coef + self.arrays["points.intercept"][index]
        return derivative(self.problem.loss, self.problem.y, f)


def derivative(loss: str, y: Floats, f: Floats) -> Floats:
    """The derivative of the loss at the predictions f."""
    if loss == "squared":
        return np.asarray(f - y)
    if loss == "hinge":
        return np.where(y * f < 1.0, -y, 0.0)
    e = np.exp(-np.abs(f))
    return np.asarray(-y * np.where(y * f < 0, 1.0, e) / (1.0 + e))


# -------------------------------------------------------------------------------------------------- proof: sweep


def check_sweep(problem: Problem, lower: float) -> str:
    """Squared loss, size <= 4: no set has F below ``lower``, by the pair bound alone. Returns a sentence of counts.

    With centred y and Z, M = Z'WZ + ridge I, c = Z'Wy and v0 = sum w y^2: F(S) = (v0 - q(S)) / 2 with
    q(S) = c_S' M_SS^-1 c_S = max_b 2 c_S'b - b'M_SS b. Divided by 1 + ridge, M becomes A with unit diagonal, c is u.

    *Rounding of A and u.* Stored, they differ from the exact ones by at most eps in every entry (of M and c). At the
    maximiser b of the exact q, ridge |b|^2 <= q <= v0, so q <= q_stored + 2 eps sqrt(k) |b| + eps k |b|^2. So it
    suffices that no set has q_stored > Q := v0 - 2 lower - that sum. All that follows is about the stored numbers.

    *Pair bound.* Project a prefix out: conditional variances d, covariances m, correlations c with y. Let r >= 2
    columns T be left and s = r - 1. If s |m_ij| < sqrt(d_i d_j) for all pairs of T, then 2 c'b - b'Cb is
    (1/s) sum_{i<j} [2 (c_i b_i + c_j b_j) - (d_i b_i^2 + d_j b_j^2 + 2 s m_ij b_i b_j)], and each bracket is at most
    phi_ij = (c_i^2 d_j + c_j^2 d_i - 2 s m c_i c_j) / (d_i d_j - s^2 m^2). Hence a set T that gains more than the gap
    has an *open* pair: s |m| >= sqrt(d_i d_j), or phi > 2 gap / r. For r = 2 this is the exact gain.

    *Tests* are polynomials in numbers of absolute value <= 1, compared with a slack eta above their rounding error.
    The sets that pass them are few; each must have a dual bound of its own that reaches ``lower``.
    """
    if problem.loss != "squared" or not 1 <= problem.size <= 4:
        raise Rejected(f"a sweep proves squared loss and k <= 4, not {problem.loss} loss and k = {problem.size}")
    columns = np.flatnonzero(problem.candidates)
    Z, w, n, k = problem.Z[:, columns], problem.w, len(problem.y), problem.size
    centred = problem.y - (w @ problem.y) / w.sum()
    v0 = float(w @ (centred * centred))
    A = Z.T @ (Z * w[:, None]) / (1 + problem.ridge)
    A = (A + A.T) / 2
    A[np.diag_indices(len(A))] += problem.ridge / (1 + problem.ridge)
    off = float(np.abs(np.diagonal(A) - 1).max())
    np.fill_diagonal(A, 1.0)
    u = Z.T @ (w * centred) / math.sqrt(1 + problem.ridge)
    eps = 1.01 * (4 * gamma(n + 16) * w.sum() + 2 * off + float(np.abs(w @ Z).max() + gamma(n + 4)) ** 2)
    reach = math.sqrt(v0 / problem.ridge)
    Q = v0 * (1 - gamma(n + 16)) - 2 * max(lower, 0.0) - 2 * eps * math.sqrt(k) * reach - eps * k * reach**2
    if eps * k > 0.01 * problem.ridge:
        raise Rejected(f"rounding ({eps * k:.1g}) is not small against the ridge {problem.ridge:g}")
    root = _Conditional(A, np.ones(len(A)), u, Q, 0.98 * problem.ridge / (1 + problem.ridge))
    found = 0
    for sets in {1: _singles, 2: _pairs, 3: _triples, 4: _quadruples}[k](root):
        found += len(sets)
        for start in range(0, len(sets), BLOCK):
            _check_sets(problem, columns[sets[start : start + BLOCK]], lower)
    return f"{math.comb(len(columns), k)} sets, {found} of them by dual vectors of their own"


ETA = 4096 * U
"""Above the rounding error of every polynomial test: fewer than 64 operations, partial sums at most 32."""


@dataclass(frozen=True)
class _Conditional:
    """What a prefix leaves: covariances C (diagonal d), correlations c with y, and the gain that is still missing.

    ``least`` is below every conditional variance that a few columns can have, since A has ridge / (1 + ridge) in it.
    """

    C: Floats
    d: Floats
    c: Floats
    gap: float
    least: float

    def without(self, v: int, later: NDArray[np.int64]) -> _Conditional:
        """Column v, of variance 1, joins the prefix; the columns ``later`` stay. Entries err by at most 4 u."""
        x = self.C[v, later]
        return _Conditional(
            self.C[np.ix_(later, later)] - np.outer(x, x),
            self.d[later] - x * x,
            self.c[later] - x * self.c[v],
            self.gap - self.c[v] ** 2,
            self.least,
        )

    def open_pairs(self, r: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs i < j of which a set of r columns that gains more than the gap must contain one."""
        s, theta = r - 1, 2 * self.gap / r
        if self.gap <= 0:
            raise Rejected("some set of fewer columns is below the claimed lower bound already")
        first, second = [], []
        for i in range(0, len(self.c), 32):
            rows = slice(i, i + 32)
            C, cj, dj = self.C[rows, i:], self.c[i:], self.d[i:]
            ci, di = self.c[rows, None], self.d[rows, None]
            both = di * dj
            squared = C * C
            test = ci * ci * dj + cj * cj * di - (2 * s) * (ci * cj) * C - theta * (both - (s * s) * squared)
            hits = (test > -ETA) | ((s * s) * squared > 0.9 * both - ETA) if s > 1 else test > -ETA
            a, b = np.nonzero(hits)
            upper = b > a
            first.append(a[upper] + i)
            second.append(b[upper] + i)
        return np.concatenate(first), np.concatenate(second)


def _singles(root: _Conditional) -> Iterator[NDArray[np.int64]]:
    yield np.flatnonzero(root.c * root.c > root.gap - ETA)[:, None]


def _pairs(root: _Conditional) -> Iterator[NDArray[np.int64]]:
    yield np.stack(root.open_pairs(2), axis=1)


def _triples(node: _Conditional) -> Iterator[NDArray[np.int64]]:
    """Sets {i, j, l} with an open pair ij: ``c_l^2 > gap d_l`` given i and j, times their squared determinant D^2."""
    first, second = node.open_pairs(3)
    C, d, c = node.C, node.d, node.c
    for start in range(0, len(first), 64):
        i, j = first[start : start + 64], second[start : start + 64]
        m, di, dj, ci, cj = C[i, j][:, None], d[i, None], d[j, None], c[i, None], c[j, None]
        D = di * dj - m * m
        missing = node.gap * D - (ci * ci * dj + cj * cj * di - 2 * m * ci * cj)
        Ci, Cj = C[i], C[j]
        variance = D * d - (dj * Ci * Ci + di * Cj * Cj - 2 * m * Ci * Cj)
        left = D * c - (ci * dj - cj * m) * Ci - (cj * di - ci * m) * Cj
        hits = left * left > missing * variance - ETA
        rows = np.arange(len(i))
        hits[rows, i] = hits[rows, j] = False
        at, third = np.nonzero(hits)
        yield np.stack([i[at], j[at], third], axis=1)


def _quadruples(root: _Conditional) -> Iterator[NDArray[np.int64]]:
    """Strong columns first, each with the triples of the later ones; then sets of the rest by an open pair.

    If T contains a strong column, let v be its strongest: T - v gains more than the rest of the gap given v. Otherwise
    T lies in the rest and has an open pair for r = 4. If a pair of T has 9 rho^2 > 0.9, let e be the heaviest: no pair
    of T has a larger |rho| (cap = |rho_e|). Else T has an open pair that is not heavy, and cap = sqrt(0.1).
    """
    order = np.argsort(-np.abs(root.c), kind="stable")
    strong = int((root.c**2 > SHARE * root.gap).sum())
    for place in range(min(strong, len(order) - 3)):
        later = order[place + 1 :]
        for sets in _triples(root.without(order[place], later)):
            yield np.concatenate([np.full((len(sets), 1), order[place]), later[sets]], axis=1)
    rest = order[strong:]
    if len(rest) < 4:
        return
    C = root.C[np.ix_(rest, rest)]
    node = _Conditional(C, root.d[rest], root.c[rest], root.gap, root.least)
    first, second = node.open_pairs(4)
    caps = np.maximum(np.abs(C[first, second]), math.sqrt(0.1)) * (1 + 1e-12)
    for start in range(0, len(first), 64):
        part = slice(start, start + 64)
        for sets in _completions(node, first[part], second[part], caps[part]):
            yield rest[sets]


def _completions(
    node: _Conditional, i: NDArray[np.int64], j: NDArray[np.int64], caps: Floats
) -> Iterator[NDArray[np.int64]]:
    """Sets {i, j, a, b} without a pair above the cap where a, b close the gap given i and j.

    *Row test.* Given i, j let d_a be the conditional variance, w = d^-1/2, sigma^2 = (1 - d) / d. The conditional
    correlation of a and b is at most |rho_ab| w_a w_b + sigma_a sigma_b in absolute value. With |rho_ab| <= cap and
    sigma <= S on both sides it is at most t_a = cap w_a sqrt(1 + S^2) + sigma_a S, so the pair cannot gain more than
    (U_a^2 + U_b^2 + 2 t |U_a U_b|) / (1 - t^2), U = w c, at t = min(t_a, t_b). So one end of an open pair is *flagged*:
    sigma > S, or |U_a| > V, or t >= 1, or U_a^2 + V^2 + 2 t_a |U_a| V > gap (1 - t_a^2). Any S and V will do: 1/2, and
    V^2 = SHARE gap.

    *Rounding.* With l = ``least`` below 1 - rho^2 and below d, and |x| <= l^-1/2 for the coefficients x of i and j:
    x errs by 7 u l^-3/2, the numerator of U by 26 u l^-3/2, d by 12 u / l, U^2 by 64 u / l^2, and sigma and t, where
    d >= 0.8, by 20 u / l. All tests then err by less than eta = 512 u / l^2.
    """
    C, c, eta = node.C, node.c, 512 * U / node.least**2
    if eta > 1e-3:
        raise Rejected("the ridge is too small for a sweep of sets of four")
    rho = C[i, j][:, None]
    D = 1 - rho * rho
    xi, xj = (c[i, None] - rho * c[j, None]) / D, (c[j, None] - rho * c[i, None]) / D
    gap = node.gap - (c[i, None] * xi + c[j, None] * xj)
    Ci, Cj = C[i], C[j]
    d = 1 - (Ci * Ci + Cj * Cj - 2 * rho * Ci * Cj) / D
    left = c - xi * Ci - xj * Cj
    cap = caps[:, None]
    allowed = (np.abs(Ci) <= cap) & (np.abs(Cj) <= cap)
    allowed[np.arange(len(i)), i] = allowed[np.arange(len(i)), j] = False
    d = np.where(allowed, np.maximum(d, 1e-12), 1.0)
    gains = np.where(allowed, left * left / d, 0.0)
    strong = np.maximum(SHARE * gap, 0.0)
    sigma = np.sqrt((1 - d) / d + eta)
    t = cap * np.sqrt(1.25 / d) + 0.5 * sigma + eta
    reached = gains + strong + 2 * t * np.sqrt(gains * strong) + eta
    flagged = allowed & ((sigma > 0.5) | (gains > strong - eta) | (t >= 1) | (reached > gap * (1 - t * t)))
    edge, a = np.nonzero(flagged)
    for start in range(0, len(edge), 128):
        e, row = edge[start : start + 128], a[start : start + 128]
        Cie, Cje, r = Ci[e], Cj[e], rho[e]
        Ca, ca, da = C[row], left[e, row][:, None], d[e, row][:, None]
        Cia, Cja = Ci[e, row][:, None], Cj[e, row][:, None]
        x = Ca - (Cia * Cie + Cja * Cje - r * (Cia * Cje + Cja * Cie)) / D[e]
        test = ca * ca * d[e] + left[e] ** 2 * da - 2 * x * ca * left[e] - gap[e] * (da * d[e] - x * x)
        hits = (test > -eta) & allowed[e] & (np.abs(Ca) <= cap[e])
        hits[np.arange(len(e)), row] = False
        at, b = np.nonzero(hits)
        yield np.stack([i[e[at]], j[e[at]], row[at], b], axis=1)


def _check_sets(problem: Problem, sets: NDArray[np.int64], lower: float) -> None:
    """Every set (m, k) has a dual bound that reaches ``lower``: the residual of its own least squares."""
    Z, w = problem.Z, problem.w
    duals = np.empty((len(sets), len(w)))
    for row, support in enumerate(sets):
        part = Z[:, support]
        M = part.T @ (part * w[:, None]) + problem.ridge * np.eye(len(support))
        centred = problem.y - (w @ problem.y) / w.sum()
        duals[row] = part @ np.linalg.solve(M, part.T @ (w * centred)) - centred
    bounds = _duals(problem, duals)
    for row, support in enumerate(sets):
        bound, _ = _node(problem, bounds.value[row], bounds.discount[row], [int(j) for j in support], np.zeros(0, int))
        if bound < lower:
            names = [int(j) for j in support]
            raise Rejected(f"the columns {names} reach F = {bound:.12g}, below the claimed bound {lower:.12g}")


# ------------------------------------------------------------------------------------------------- the statements


def _check(claim: dict[str, Any], arrays: dict[str, Array], problem: Problem) -> str:
    result = claim["result"]
    support, upper, lower = result["support"], float(result["upper_bound"]), float(result["lower_bound"])
    if support != sorted(set(support)) or not all(isinstance(j, int) for j in support):
        raise Rejected(f"the support {support} is not a sorted list of distinct columns")
    allowed = set(map(int, np.flatnonzero(problem.candidates)))
    if len(support) > problem.size or not allowed.issuperset(support):
        raise Rejected(f"the support {support} is not among the sets of the claim")
    coef = arrays["coef"]
    if coef.shape != (len(support),):
        raise Rejected(f"there are {len(coef)} coefficients for a support of {len(support)}")
    value, error = _objective(problem, support, coef, float(result["intercept"]))
    if not value + error <= upper:
        raise Rejected(f"the support reaches {value:.12g} (rounding {error:.1g}), and the claim is {upper:.12g}")
    if not lower <= upper:
        raise Rejected(f"the lower bound {lower:.12g} is above the upper bound {upper:.12g}")
    tolerance = float(result["tolerance"])
    if result["optimal"] and not upper - lower <= tolerance:
        raise Rejected(f"the gap is {upper - lower:.3g}, and the claim of optimality has tolerance {tolerance:g}")
    if claim["proof"] == "tree":
        proved = check_tree(problem, arrays, lower)
    elif claim["proof"] == "sweep":
        proved = check_sweep(problem, lower)
    else:
        raise Rejected(f"the proof {claim['proof']!r} is of no known kind")
    scope = "" if claim["problem"]["among"] is None else f" among {int(problem.candidates.sum())} columns"
    return (
        f"the support {support} reaches {value:.9g}, and no set of {claim['problem']['k']} columns{scope} "
        f"is below {lower:.9g} ({claim['proof']}: {proved})"
    )


# -------------------------------------------------------------------------------------------------- the command


def main(arguments: list[str]) -> int:
    """``checker.py CERTIFICATE DATA.npz``: print the verdict; 0 accepted, 1 rejected, 2 unusable input."""
    if len(arguments) != 2:
        print("usage: checker.py CERTIFICATE DATA.npz", file=sys.stderr)
        return 2
    try:
        try:
            with np.load(arguments[1], allow_pickle=False) as data:
                X, y = data["X_train"], data["y_train"]
                weight = data["sample_weight"] if "sample_weight" in data.files else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Unusable(f"{arguments[1]} is no .npz file with X_train and y_train: {error}") from error
        verdict = verify(arguments[0], X, y, weight)
    except Unusable as unusable:
        print(f"unusable: {unusable}", file=sys.stderr)
        return 2
    print(verdict)
    return 0 if verdict.accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
