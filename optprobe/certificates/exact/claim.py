"""The claim of a certificate: what section 3 of docs/certificates.md allows in it, key by key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from optprobe.certificates.exact.reading import FORMAT, POOL_FORMAT, Layout, Sealed, rising
from optprobe.certificates.exact.verdict import Rejected

LIMIT = 2**31
LOSSES = ("squared", "logistic", "hinge")
MOST_SETS = 100_000
"""Of a pool."""


@dataclass(frozen=True)
class Claim:
    """A claim whose keys and values are allowed.

    Attributes
    ----------
    data, problem, result, proof, author : dict
        As they stand in the file.
    layout : dict
        Types and shapes of the arrays that follow from it.
    """

    data: dict[str, Any]
    problem: dict[str, Any]
    result: dict[str, Any]
    proof: dict[str, Any]
    author: dict[str, Any]
    layout: Layout

    @property
    def of_moments(self) -> bool:
        """Whether the claim is about moments, not rows."""
        return bool(self.data["kind"] == "moments")

    @property
    def of_target(self) -> bool:
        """Whether y is a target, real numbers in place of labels."""
        return "target" in self.data


def read_claim(sealed: Sealed) -> Claim:
    """The claim of a file, or `Rejected` with the first key that is not allowed."""
    claim = _keys(sealed.claim, "claim", "data", "problem", "result", "proof", "author")
    data, problem = _data(claim["data"]), claim["problem"]
    _problem(problem, data)
    result = _result(claim["result"], problem, data)
    proof = _proof(claim["proof"], problem, data)
    newer = "pool" in result or "groups" in problem or "forced" in problem or "target" in data or "diagonal" in proof
    form = POOL_FORMAT if newer else FORMAT
    if sealed.form != form:
        raise Rejected(f"The file says the format {sealed.form}, and such a claim has the format {form}.")
    _author(claim["author"])
    return Claim(data, problem, result, proof, claim["author"], _layout(data, problem, result, proof))


def _refuse(what: str) -> Rejected:
    return Rejected(f"The claim's {what} is not one that the format allows.")


def _keys(value: object, what: str, *names: str) -> dict[str, Any]:
    if type(value) is not dict or sorted(value) != sorted(names):
        raise Rejected(f"The {what} does not have exactly the keys {', '.join(sorted(names))}.")
    return value


def _count(value: object, what: str, least: int = 0, most: int = LIMIT - 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _refuse(what)
    return value


def _float(value: object, what: str, least: float = -1e100, most: float = 1e100) -> float:
    if type(value) is not float or not least <= value <= most:
        raise _refuse(what)
    return value


def _positive(value: object, what: str, most: float) -> float:
    if type(value) is not float or not 0 < value <= most:
        raise _refuse(what)
    return value


def _one_of(value: object, what: str, *allowed: str) -> str:
    if type(value) is not str or value not in allowed:
        raise _refuse(what)
    return value


def _columns(value: object, what: str, n_neurons: int) -> list[int]:
    if type(value) is not list or not all(type(each) is int and 0 <= each < n_neurons for each in value):
        raise _refuse(what)
    if not rising(value):
        raise _refuse(what)
    return value


def _digest(value: object, what: str) -> None:
    if type(value) is not str or re.fullmatch("[0-9a-f]{64}", value) is None:
        raise _refuse(what)


def _data(value: object) -> dict[str, Any]:
    kind = value.get("kind") if type(value) is dict else None
    digests = ["moments"] if type(kind) is str and kind == "moments" else ["X", "y", "weights"]
    more = ["target"] if type(value) is dict and "target" in value and digests[0] == "X" else []
    data = _keys(value, "claim's data", "kind", "n_rows", "n_neurons", *digests, *more)
    if more and data["target"] is not True:
        raise _refuse("word that y is a target")
    _one_of(data["kind"], "kind of data", "rows", "moments")
    for name in digests:
        if name != "weights" or data[name] is not None:
            _digest(data[name], f"digest {name}")
    _count(data["n_rows"], "number of rows", 1)
    _count(data["n_neurons"], "number of neurons", 1)
    return data


def _problem(value: object, data: dict[str, Any]) -> None:
    more = [name for name in ("groups", "forced") if type(value) is dict and name in value]
    problem = _keys(value, "claim's problem", "loss", "ridge", "k", "class_weight", "among", *more)
    _one_of(problem["loss"], "loss", *LOSSES)
    if data["kind"] == "moments" and problem["loss"] != "squared":
        raise Rejected("A claim about moments must be about the squared loss.")
    if "target" in data and (problem["loss"] != "squared" or problem["class_weight"] != "none"):
        raise Rejected("A claim about a target must be about the squared loss, without class weights.")
    _float(problem["ridge"], "ridge", 1e-100, 1e100)
    _count(problem["k"], "k", 1, data["n_neurons"])
    _one_of(problem["class_weight"], "class weight", "none", "balanced")
    if problem["among"] is not None:
        _columns(problem["among"], "list of columns among", data["n_neurons"])
    if "groups" in more:
        _digest(problem["groups"], "digest groups")
    if "forced" in more and not _columns(problem["forced"], "list of forced columns", data["n_neurons"]):
        raise _refuse("list of forced columns")
    if len(problem.get("forced", ())) > problem["k"]:
        raise Rejected(f"More columns are forced than k = {problem['k']}.")


def _result(value: object, problem: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    more = ["pool"] if type(value) is dict and "pool" in value else []
    result = _keys(value, "claim's result", "support", "intercept", "upper_bound", "lower_bound", "tolerance", *more)
    _support(result["support"], "support", problem, data)
    for name in ("intercept", "upper_bound", "lower_bound"):
        _float(result[name], name)
    _positive(result["tolerance"], "tolerance", 0.01)
    if result["lower_bound"] > result["upper_bound"]:
        raise Rejected(f"The lower bound {result['lower_bound']!r} is above the upper bound {result['upper_bound']!r}.")
    if more:
        _pool(result["pool"], result["lower_bound"], problem, data)
    return result


def _support(value: object, what: str, problem: dict[str, Any], data: dict[str, Any]) -> None:
    if len(_columns(value, what, data["n_neurons"])) > problem["k"]:
        raise Rejected(f"The {what} has more than k = {problem['k']} columns.")
    if lacking := sorted(set(problem.get("forced", ())).difference(_columns(value, what, data["n_neurons"]))):
        raise Rejected(f"The {what} lacks the column {lacking[0]}, which is forced.")


def _pool(value: object, lower: float, problem: dict[str, Any], data: dict[str, Any]) -> None:
    pool = _keys(value, "claim's pool", "sets", "rest")
    sets = pool["sets"]
    if type(sets) is not list or not 1 <= len(sets) <= MOST_SETS:
        raise Rejected(f"The claim's pool has no list of 1 to {MOST_SETS:,} sets.")
    for one in sets:
        _keys(one, "listed set", "support", "intercept", "upper_bound")
        _support(one["support"], "support of a listed set", problem, data)
        for name in ("intercept", "upper_bound"):
            _float(one[name], f"{name} of a listed set")
    if not _float(pool["rest"], "rest") >= lower:
        raise Rejected(f"The bound {pool['rest']!r} of the rest is below the lower bound {lower!r} of all sets.")


def _proof(value: object, problem: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    kind = value.get("kind") if type(value) is dict else None
    tree = type(kind) is str and kind == "tree"
    counts = ["nodes", "points", "entries", "duals"] if tree else []
    more = ["diagonal"] if tree and type(value) is dict and "diagonal" in value else []
    proof = _keys(value, "claim's proof", "kind", "box", *counts, *more)
    _one_of(proof["kind"], "kind of proof", "sweep", "tree")
    for name in counts:
        _count(proof[name], f"number of {name}")
    loss, k, box = problem["loss"], problem["k"], proof["box"]
    if more and proof["diagonal"] is not True:
        raise _refuse("word that its proof has a diagonal")
    if more and loss != "squared":
        raise Rejected("A diagonal is given with another loss than the squared one.")
    if box is not None:
        _positive(box, "box", 0.9)
        if loss != "logistic":
            raise Rejected("A box is given with another loss than the logistic one.")
    if not tree and "forced" in problem and (problem["loss"], data["kind"]) != ("squared", "rows"):
        raise Rejected("A sweep proves a claim with forced columns for the squared loss of rows only.")
    if tree and data["kind"] == "moments":
        raise Rejected("A claim about moments cannot be proved by a tree: its vectors are those of rows.")
    if not tree and k > {"squared": 6, "logistic": 3 if box is not None else 0, "hinge": 2}[loss]:
        raise Rejected(f"A sweep of this kind does not prove claims of the {loss} loss with k = {k}.")
    return proof


def _author(value: object) -> None:
    author = _keys(value, "claim's author", "engine", "regime", "scope", "versions")
    for name in ("engine", "regime"):
        if not _is_text(author[name]):
            raise _refuse(name)
    for name in ("scope", "versions"):
        if type(author[name]) is not dict or not _is_record(author[name]):
            raise _refuse(name)


def _is_text(value: object) -> bool:
    return type(value) is str and len(value) <= 1000 and value.isprintable()


def _is_record(record: dict[str, Any]) -> bool:
    """Whether every value of scope or versions is allowed, however deep."""
    left: list[Any] = [record]
    while left:
        value = left.pop()
        if type(value) is dict:
            if len(value) > 64 or not all(map(_is_text, value)):
                return False
            left.extend(value.values())
        elif type(value) is list:
            left.extend(value)
        elif type(value) is int:
            if abs(value) >= 2**53:
                return False
        elif value is not None and type(value) not in (bool, float) and not _is_text(value):
            return False
    return True


def _layout(data: dict[str, Any], problem: dict[str, Any], result: dict[str, Any], proof: dict[str, Any]) -> Layout:
    layout: Layout = {"coef": ("F64", (len(result["support"]),))}
    if "groups" in problem:
        layout["groups"] = ("I32", (data["n_neurons"],))
    if "pool" in result:
        layout["pool.coef"] = ("F64", (sum(len(one["support"]) for one in result["pool"]["sets"]),))
    if proof["box"] is not None:
        layout["reference"] = ("F64", (data["n_rows"],))
    if proof["kind"] == "tree":
        nodes, points, entries = (proof["nodes"],), proof["points"], proof["entries"]
        layout |= {"tree.kind": ("I8", nodes), "tree.argument": ("I32", nodes)}
        layout |= {"points.start": ("I64", (points + 1,)), "points.columns": ("I32", (entries,))}
        layout |= {"points.coef": ("F64", (entries,)), "points.intercept": ("F64", (points,))}
        layout |= {"duals": ("F64", (proof["duals"], data["n_rows"]))}
    if "diagonal" in proof:
        layout["tree.diagonal"] = ("F64", (data["n_neurons"],))
    return layout
