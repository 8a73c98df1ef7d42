"""The claim of a certificate, parsed: frozen objects of which every entry has its type, or a rejection.

docs/certificates.md, sections 2 and 3, says what each entry means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .outcome import require
from .text import canonical, count, described, digest, entries, number, one_of, parsed, rising

LEAST, LARGEST = 1e-100, 1e100
LARGEST_TOLERANCE = 0.01
"""In units of the loss: with a larger one everything would be optimal."""
LARGEST_BOX = 0.9
FORMAT = "optprobe-certificate/2"
POOL_FORMAT = "optprobe-certificate/3"
"""Of claims about labels without a pool, groups, forced columns and a diagonal, and of all others."""
MOST_SETS = 10**5
SWEEPS = {"squared": 6, "logistic": 3, "hinge": 2}
"""The largest k that a sweep of each loss proves."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """Digests and shape of X, y and, where the rows have weights of their own, those; whether y is a target."""

    X: str
    y: str
    weights: str | None
    n_rows: int
    n_neurons: int
    target: bool = False
    kind = "rows"


@dataclass(frozen=True)
class OfMoments:
    """Digest and sizes of moments."""

    moments: str
    n_rows: int
    n_neurons: int
    kind = "moments"


@dataclass(frozen=True)
class Stated:
    """The four parameters of a problem, the only columns allowed (None: all of them), groups by digest, forced columns.

    Where there are groups, a set has at most one column of each; where columns are forced, every set has all of them.
    """

    loss: str
    ridge: float
    k: int
    class_weight: str
    among: tuple[int, ...] | None
    groups: str | None = None
    forced: tuple[int, ...] = ()


@dataclass(frozen=True)
class Member:
    """A set of a pool, with the intercept of the fit that reaches its upper bound."""

    support: tuple[int, ...]
    intercept: float
    upper_bound: float


@dataclass(frozen=True)
class Pool:
    """Sets none of which contains another, and the lower bound of every set that contains none of them."""

    sets: tuple[Member, ...]
    rest: float

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        sets = [{**vars(one), "support": list(one.support)} for one in self.sets]
        return {"sets": sets, "rest": self.rest}


@dataclass(frozen=True)
class Result:
    """A set with the fit that reaches its upper bound, the lower bound of all sets, and perhaps a pool."""

    support: tuple[int, ...]
    intercept: float
    upper_bound: float
    lower_bound: float
    tolerance: float
    pool: Pool | None = None

    @property
    def optimal(self) -> bool:
        """Whether no set is better by more than the tolerance."""
        return self.upper_bound - self.lower_bound <= self.tolerance


@dataclass(frozen=True)
class Sweep:
    """The checker goes through all sets itself; with a box it starts from the stored reference."""

    box: float | None
    kind = "sweep"


@dataclass(frozen=True)
class Tree:
    """A branch-and-bound tree of so many nodes, with so many points (of so many entries in all) and dual vectors.

    With a ``diagonal`` its points bound by what is left of the curvature.
    """

    box: float | None
    nodes: int
    points: int
    entries: int
    duals: int
    diagonal: bool = False
    kind = "tree"


@dataclass(frozen=True)
class Author:
    """What the author says and nobody checks."""

    engine: str
    regime: str
    scope: Mapping[str, Any]
    versions: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "scope": dict(self.scope), "versions": dict(self.versions)}


@dataclass(frozen=True)
class Claim:
    """What a certificate states, and what its author says besides."""

    data: Rows | OfMoments
    problem: Stated
    result: Result
    proof: Sweep | Tree
    author: Author

    @property
    def text(self) -> str:
        """The claim as canonical JSON."""
        kinds = {name: {"kind": getattr(self, name).kind, **asdict(getattr(self, name))} for name in ("data", "proof")}
        plain = {name: asdict(getattr(self, name)) for name in ("problem", "result")}
        if not self.of_target:
            kinds["data"].pop("target", None)
        if self.result.pool is None:
            del plain["result"]["pool"]
        if self.problem.groups is None:
            del plain["problem"]["groups"]
        if not self.problem.forced:
            del plain["problem"]["forced"]
        if not self.with_diagonal:
            kinds["proof"].pop("diagonal", None)
        return canonical({**kinds, **plain, "author": self.author.as_json()})

    @property
    def of_target(self) -> bool:
        """Whether y holds real numbers, which are standardised as a column is, and not labels."""
        return isinstance(self.data, Rows) and self.data.target

    @property
    def with_diagonal(self) -> bool:
        """Whether a diagonal is taken out of the curvature."""
        return isinstance(self.proof, Tree) and self.proof.diagonal

    @property
    def form(self) -> str:
        """The format of the file: the newer one, which older readers refuse by name, for all that they do not know."""
        plain = self.result.pool is None and self.problem.groups is None and not self.problem.forced
        return FORMAT if plain and not self.of_target and not self.with_diagonal else POOL_FORMAT

    @property
    def arrays(self) -> dict[str, tuple[str, Shape]]:
        """Type and shape of every array that such a certificate holds, by name."""
        table: dict[str, tuple[str, Shape]] = {"coef": ("F64", (len(self.result.support),))}
        if self.result.pool is not None:
            table["pool.coef"] = ("F64", (sum(len(one.support) for one in self.result.pool.sets),))
        if self.problem.groups is not None:
            table["groups"] = ("I32", (self.data.n_neurons,))
        if self.proof.box is not None:
            table["reference"] = ("F64", (self.data.n_rows,))
        if isinstance(self.proof, Tree):
            nodes, points, pieces = (self.proof.nodes,), self.proof.points, (self.proof.entries,)
            table |= {
                "tree.kind": ("I8", nodes),
                "tree.argument": ("I32", nodes),
                "points.start": ("I64", (points + 1,)),
                "points.columns": ("I32", pieces),
                "points.coef": ("F64", pieces),
                "points.intercept": ("F64", (points,)),
                "duals": ("F64", (self.proof.duals, self.data.n_rows)),
            }
        if self.with_diagonal:
            table["tree.diagonal"] = ("F64", (self.data.n_neurons,))
        return table


def parse_claim(text: str) -> Claim:
    """The claim of a text, or a rejection that names the first entry that is not what it must be."""
    data, problem, result, proof, author = entries(
        parsed(text, "the claim"), "the claim", "data", "problem", "result", "proof", "author"
    )
    about = _data(data)
    stated = _problem(problem, about.n_neurons)
    claim = Claim(about, stated, _result(result, stated, about), _proof(proof, stated), _author(author))
    sweep = isinstance(claim.proof, Sweep)
    if isinstance(about, OfMoments):
        require(sweep and stated.loss == "squared", "of moments a sweep proves the squared loss, and nothing else")
    if claim.of_target:
        unclassed = stated.loss == "squared" and stated.class_weight == "none"
        require(unclassed, "of a target a claim has the squared loss, and no class weights")
    swept = isinstance(about, Rows) and stated.loss == "squared"
    require(not (sweep and stated.forced) or swept, "with forced columns a sweep proves the squared loss of rows alone")
    if sweep:
        most = SWEEPS[stated.loss]
        require(stated.k <= most, f"a sweep proves the {stated.loss} loss for k <= {most}, not k = {stated.k}")
        boxed = claim.proof.box is not None
        require(boxed == (stated.loss == "logistic"), "a sweep has a box for the logistic loss, and for no other")
    return claim


def _data(value: Any) -> Rows | OfMoments:
    require(type(value) is dict and value.get("kind") in ("rows", "moments"), "the data must be rows or moments")
    if value["kind"] == "moments":
        _, moments, n, p = entries(value, "the data", "kind", "moments", "n_rows", "n_neurons")
        return OfMoments(digest(moments, "the moments"), count(n, "n_rows", 1), count(p, "n_neurons", 1))
    names = ["kind", "X", "y", "weights", "n_rows", "n_neurons", *(["target"] if "target" in value else [])]
    _, X, y, weights, n, p, *target = entries(value, "the data", *names)
    require(all(said is True for said in target), "the data say that y is a target by true, and otherwise nothing")
    of_weights = None if weights is None else digest(weights, "the weights")
    sizes = count(n, "n_rows", 1), count(p, "n_neurons", 1)
    return Rows(digest(X, "X"), digest(y, "y"), of_weights, *sizes, target=bool(target))


def _problem(value: Any, n_neurons: int) -> Stated:
    more = [name for name in ("groups", "forced") if type(value) is dict and name in value]
    loss, ridge, k, weight, among, *others = entries(
        value, "the problem", "loss", "ridge", "k", "class_weight", "among", *more
    )
    besides = dict(zip(more, others))
    return Stated(
        one_of(loss, "the loss", *SWEEPS),
        number(ridge, "the ridge", LEAST, LARGEST),
        count(k, "k", 1, n_neurons),
        one_of(weight, "the class weight", "none", "balanced"),
        None if among is None else rising(among, "the columns allowed", n_neurons),
        digest(besides["groups"], "the groups") if "groups" in besides else None,
        _forced(besides["forced"], k, n_neurons) if "forced" in besides else (),
    )


def _forced(value: Any, k: int, n_neurons: int) -> tuple[int, ...]:
    columns = rising(value, "the forced columns", n_neurons)
    require(0 < len(columns) <= k, f"{len(columns)} columns are forced, and 1 to k = {k} may be")
    return columns


def _result(value: Any, problem: Stated, about: Rows | OfMoments) -> Result:
    names = ["support", "intercept", "upper_bound", "lower_bound", "tolerance"]
    pooled = type(value) is dict and "pool" in value
    support, intercept, upper, lower, tolerance, *more = entries(
        value, "the result", *names, *(["pool"] if pooled else [])
    )
    columns = rising(support, "the support", about.n_neurons)
    require(len(columns) <= problem.k, f"the support has {len(columns)} columns, and k is {problem.k}")
    result = Result(
        columns,
        number(intercept, "the intercept"),
        number(upper, "the upper bound"),
        number(lower, "the lower bound"),
        number(tolerance, "the tolerance", LEAST, LARGEST_TOLERANCE if isinstance(about, Rows) else LARGEST),
        _pool(more[0], problem, about.n_neurons) if pooled else None,
    )
    require(
        result.lower_bound <= result.upper_bound,
        f"the lower bound {result.lower_bound:.12g} is above the upper bound {result.upper_bound:.12g}",
    )
    return result


def _pool(value: Any, problem: Stated, n_neurons: int) -> Pool:
    sets, rest = entries(value, "the pool", "sets", "rest")
    require(type(sets) is list and 0 < len(sets) <= MOST_SETS, f"the pool must be a list of 1 to {MOST_SETS:,} sets")
    return Pool(tuple(_member(one, problem, n_neurons) for one in sets), number(rest, "the bound of the rest"))


def _member(value: Any, problem: Stated, n_neurons: int) -> Member:
    support, intercept, upper = entries(value, "a set of the pool", "support", "intercept", "upper_bound")
    columns = rising(support, "a set of the pool", n_neurons)
    require(len(columns) <= problem.k, f"the pool has a set of {len(columns)} columns, and k is {problem.k}")
    return Member(columns, number(intercept, "an intercept"), number(upper, "an upper bound"))


def _proof(value: Any, problem: Stated) -> Sweep | Tree:
    require(type(value) is dict and value.get("kind") in ("sweep", "tree"), "the proof must be a sweep or a tree")
    if value["kind"] == "sweep":
        return Sweep(_box(entries(value, "the proof", "kind", "box")[1], problem))
    names = ["kind", "box", "nodes", "points", "entries", "duals", *(["diagonal"] if "diagonal" in value else [])]
    _, box, *others = entries(value, "the proof", *names)
    sizes, diagonal = others[:4], others[4:]
    require(all(said is True for said in diagonal), "a proof says that it has a diagonal by true, or nothing")
    require(not diagonal or problem.loss == "squared", f"a diagonal proves squared loss, not {problem.loss} loss")
    nodes, points, pieces, duals = (count(size, "a size of the tree") for size in sizes)
    return Tree(_box(box, problem), nodes, points, pieces, duals, bool(diagonal))


def _box(value: Any, problem: Stated) -> float | None:
    if value is None:
        return None
    require(problem.loss == "logistic", f"a reference proves logistic loss, not {problem.loss} loss")
    return number(value, "the box", LEAST, LARGEST_BOX)


def _author(value: Any) -> Author:
    engine, regime, scope, versions = entries(value, "the author's part", "engine", "regime", "scope", "versions")
    for name, part in (("scope", scope), ("versions", versions)):
        require(type(part) is dict, f"the {name} must be an object")
    return Author(
        str(described(engine, "the engine", 0)),
        str(described(regime, "the regime", 0)),
        described(scope, "the scope"),
        described(versions, "the versions"),
    )
