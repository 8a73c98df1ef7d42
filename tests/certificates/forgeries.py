"""Named forgeries: files that a certificate's author could write, sealed honestly, none of which may be accepted.

This module has the registry, and the forgeries of claims and arrays; the others have those of files, trees, data and
moments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from forging import Case, Draft, plain, sealed

from optprobe.certificates import checker

LOSSES = ("squared", "logistic", "hinge")
PROOFS = ("sweep", "leaf", "screen", "pair", "none")
"""How a claim is proved; `none` is for a check with ``exhaustive``, which takes no proof."""
ANY = tuple((loss, proof) for loss in LOSSES for proof in PROOFS if proof != "pair" or loss == "logistic")
TREES = tuple(base for base in ANY if base[1] in ("leaf", "screen", "pair"))


@dataclass(frozen=True, eq=False)
class Forged:
    """A file, and the data that it is checked against."""

    content: bytes
    X: Any = None
    y: Any = None
    weight: Any = None
    moments: Any = None
    exhaustive: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    says: str = ""


FORGERIES: dict[str, Callable[[], Forged]] = {}


def forged(make: Callable[[], Forged]) -> Callable[[], Forged]:
    """Enter a forgery by its function's name."""
    FORGERIES[make.__name__] = make
    return make


@cache
def usual(loss: str, k: int = 2) -> Case:
    """The problem of most forgeries."""
    return plain(loss, k)


def honest(case: Case, proof: str, lower: float | None = None, at: int | None = None) -> Draft:
    """A claim that is accepted where ``lower`` is true."""
    if proof in ("sweep", "none"):
        return case.swept(lower, at=at)
    if proof == "pair":
        draft = case.paired(lower)
        draft.claim["result"].update(case.draft(lower, at).claim["result"])
        draft.arrays["coef"] = case.draft(lower, at).arrays["coef"]
        return draft
    return case.grown(lower, screens=proof == "screen", at=at)


def false(case: Case, proof: str) -> Draft:
    """The worst set, said to be the best."""
    worst = int(np.argmax(case.objectives))
    return honest(case, proof, float(case.objectives[worst]), worst)


def file_of(case: Case, draft: Draft | bytes, **more: Any) -> Forged:
    content = draft if isinstance(draft, bytes) else draft.sealed()
    return Forged(content, case.X, case.y, case.weight, **more)


Change = Callable[[Draft, Case], None]


def altered(
    name: str, bases: tuple[tuple[str, str], ...] = ANY, says: str = "", begin: Callable[[Case, str], Draft] = honest
) -> Callable[[Change], Change]:
    """Enter one forgery for each base: a claim, altered."""

    def enter(change: Change) -> Change:
        for loss, proof in bases:

            def make(loss: str = loss, proof: str = proof) -> Forged:
                case = usual(loss)
                draft = begin(case, proof)
                change(draft, case)
                return file_of(case, draft, exhaustive=proof == "none", says=says)

            FORGERIES[f"{name}, {loss}, {proof}"] = make
        return change

    return enter


def put(*path: str, value: Any) -> Change:
    """Set one entry of a claim; a callable gets what was there."""

    def change(draft: Draft, case: Case) -> None:
        at = draft.claim
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value(at[path[-1]]) if callable(value) else value

    return change


def lower_both(by: float) -> Change:
    def change(draft: Draft, case: Case) -> None:
        for name in ("upper_bound", "lower_bound"):
            draft.claim["result"][name] -= by

    return change


def _claims() -> Iterator[tuple[str, str, Change]]:
    """Name, what the rejection says, and the change."""
    yield from _results()
    yield from _problems()
    yield from _data_and_proofs()
    yield from _authors()


def _results() -> Iterator[tuple[str, str, Change]]:
    result = "result"
    yield "upper bound too low", "reaches", lower_both(1e-6)
    yield "intercept moved", "reaches", put(result, "intercept", value=lambda v: v + 0.3)
    yield "intercept whole", "float", put(result, "intercept", value=0)
    yield "intercept as text", "float", put(result, "intercept", value="0.0")
    yield "bounds as text", "float", put(result, "upper_bound", value=str)
    yield "bound of true", "float", put(result, "lower_bound", value=False)
    yield "bound beyond all", "float", put(result, "upper_bound", value=1e101)
    yield "bounds that cross", "above", put(result, "lower_bound", value=lambda v: v + 1.0)
    yield "tolerance of one", "tolerance", put(result, "tolerance", value=1.0)
    yield "tolerance of nothing", "tolerance", put(result, "tolerance", value=0.0)
    yield "tolerance negative", "tolerance", put(result, "tolerance", value=-1e-6)
    yield "support of booleans", "whole", put(result, "support", value=[False, True])
    yield "support of floats", "whole", put(result, "support", value=lambda s: [float(j) for j in s])
    yield "support falls", "rise", put(result, "support", value=lambda s: s[::-1])
    yield "support twice the same", "rise", put(result, "support", value=lambda s: [s[0], s[0]])
    yield "support negative", "whole", put(result, "support", value=lambda s: [-1, s[1]])
    yield "support out of range", "whole", put(result, "support", value=lambda s: [s[0], 5])
    yield "support too large", "columns", put(result, "support", value=[0, 1, 2])
    yield "support nested", "whole", put(result, "support", value=lambda s: [s])
    yield "support an object", "list", put(result, "support", value={"0": 0})


def _problems() -> Iterator[tuple[str, str, Change]]:
    yield "ridge as text", "ridge", put("problem", "ridge", value="0.05")
    yield "ridge whole", "ridge", put("problem", "ridge", value=1)
    yield "ridge subnormal", "ridge", put("problem", "ridge", value=1e-309)
    yield "ridge zero", "ridge", put("problem", "ridge", value=0.0)
    yield "ridge beyond all", "ridge", put("problem", "ridge", value=1e101)
    yield "k true", "k must", put("problem", "k", value=True)
    yield "k a float", "k must", put("problem", "k", value=2.0)
    yield "k of none", "k must", put("problem", "k", value=0)
    yield "k above all columns", "k must", put("problem", "k", value=6)
    yield "k beyond 64 bits", "k must", put("problem", "k", value=2**70)
    yield "loss unknown", "loss", put("problem", "loss", value="absolute")
    yield "loss a list", "loss", put("problem", "loss", value=["squared"])
    yield "class weight null", "class weight", put("problem", "class_weight", value=None)
    yield "among twice the same", "rise", put("problem", "among", value=[0, 0, 1, 2, 3])
    yield "among booleans", "whole", put("problem", "among", value=[True, False, True])
    yield "among floats", "whole", put("problem", "among", value=[0, 1, 1.9])
    yield "among nested", "whole", put("problem", "among", value=[["0", "1"], ["2"]])
    yield "among text", "list", put("problem", "among", value="01234")
    yield "among negative", "whole", put("problem", "among", value=[-1, 0, 1])
    yield "among without the support", "not among", put("problem", "among", value=[2, 4])


def _data_and_proofs() -> Iterator[tuple[str, str, Change]]:
    yield "rows as text", "n_rows", put("data", "n_rows", value="24")
    yield "rows of another number", "", put("data", "n_rows", value=25)
    yield "no rows", "n_rows", put("data", "n_rows", value=0)
    yield "rows of two billion", "", put("data", "n_rows", value=2**31 - 1)
    yield "kind unknown", "rows or moments", put("data", "kind", value="text")
    yield "kind a list", "rows or moments", put("data", "kind", value=["rows"])
    yield "digest in capitals", "sha256", put("data", "X", value=str.upper)
    yield "digest with a newline", "sha256", put("data", "y", value=lambda d: d + "\n")
    yield "digest of other rows", "not the claim's", put("data", "X", value="0" * 64)
    yield "weights that are not there", "weights", put("data", "weights", value="0" * 64)
    yield "an entry more", "entries", put("result", "status", value="optimal")
    yield "an entry less", "entries", lambda draft, case: draft.claim["result"].pop("tolerance")
    yield "no author", "entries", lambda draft, case: draft.claim.pop("author")
    yield "box of a whole", "", put("proof", "box", value=1)
    yield "box too wide", "box|proves", put("proof", "box", value=0.99)


def _authors() -> Iterator[tuple[str, str, Change]]:
    yield "scope null", "scope", put("author", "scope", value=None)
    yield "scope a list", "scope", put("author", "scope", value=["split"])
    yield "scope of control characters", "printable", put("author", "scope", value={"model": "\r\x1b[2Kaccepted"})
    yield "scope that turns text", "printable", put("author", "scope", value={"model": "\u202edetpecca"})
    yield "a key of control characters", "printable", put("author", "scope", value={"\x1b[8m": 1})
    yield "versions that turn text", "printable", put("author", "versions", value={"optprobe": "\u2066x"})
    yield "engine of two lines", "printable", put("author", "engine", value="a\naccepted: all of it")
    yield "regime of many texts", "deeply", put("author", "regime", value=["relaxation"] * 2**17)
    yield "scope too deep", "deeply", put("author", "scope", value={"a": [[["b"]]]})
    yield "scope of many keys", "64", put("author", "scope", value={str(i): i for i in range(65)})
    yield "scope of a huge number", "whole", put("author", "scope", value={"seed": 2**64})
    yield "text too long", "printable", put("author", "scope", value={"model": "x" * 1001})


for _name, _says, _change in _claims():
    altered(_name, says=_says)(_change)


@altered("the worst is the best", begin=false)
def _worst(draft: Draft, case: Case) -> None:
    """Nothing but a false claim."""


@altered("lower bound raised a little", says="below|proves|claim|reach")
def _raised(draft: Draft, case: Case) -> None:
    draft.claim["result"]["lower_bound"] = case.optimum + 1e-8
    draft.claim["result"]["upper_bound"] = case.optimum + 2e-8


def in_type(name: str, dtype: str) -> Change:
    def change(draft: Draft, case: Case) -> None:
        draft.arrays[name] = np.round(draft.arrays[name] * 100).astype(dtype)

    return change


for _dtype in ("i1", "i4", "f2", "f4", "?"):
    altered(f"coefficients as {_dtype}", says="arrays")(in_type("coef", _dtype))


@altered("squares of coefficients that wrap", says="arrays")
def _wrapped(draft: Draft, case: Case) -> None:
    draft.arrays["coef"] = np.array([46341, 0], np.int32)


@altered("whole numbers said to be floats", says="reaches|finite|large")
def _bits(draft: Draft, case: Case) -> None:
    draft.arrays["coef"] = np.array([2**62, 2**62 + 5]).view(np.float64)


def coefficients(value: float) -> Change:
    def change(draft: Draft, case: Case) -> None:
        draft.arrays["coef"][0] = value

    return change


for _value in (np.nan, np.inf, -np.inf, 1.7e308, 1e101):
    altered(f"a coefficient of {_value:g}", says="not finite")(coefficients(_value))
for _value in (1e100, -1e100, 1e60):
    altered(f"a coefficient of {_value:g}", says="reaches|float64")(coefficients(_value))


@altered("coefficients of another shape", says="arrays")
def _turned(draft: Draft, case: Case) -> None:
    draft.arrays["coef"] = draft.arrays["coef"][None]


@altered("a coefficient more", says="arrays")
def _more(draft: Draft, case: Case) -> None:
    draft.arrays["coef"] = np.append(draft.arrays["coef"], 0.0)


@altered("no coefficients", says="arrays")
def _fewer(draft: Draft, case: Case) -> None:
    del draft.arrays["coef"]


@altered("an array that nobody needs", says="arrays")
def _unasked(draft: Draft, case: Case) -> None:
    draft.arrays["shift"] = np.zeros(5)


BOXED = tuple(base for base in ANY if base[0] == "logistic" and base[1] in ("sweep", "pair"))


def reference(value: float) -> Change:
    def change(draft: Draft, case: Case) -> None:
        draft.arrays["reference"][:] = value

    return change


for _value in (np.nan, np.inf, 1e300):
    altered(f"a reference of {_value:g}", BOXED, "not finite")(reference(_value))
for _value in (1e100, -50.0, 0.0):
    altered(f"a false claim and a reference of {_value:g}", BOXED, begin=false)(reference(_value))
for _box in (1e-100, 1e-17, 0.9):
    altered(f"a false claim and a box of {_box:g}", BOXED, begin=false)(put("proof", "box", value=_box))


@altered("a box for a loss that has none", tuple(b for b in ANY if b[0] != "logistic"), "reference|box")
def _box_of_another(draft: Draft, case: Case) -> None:
    draft.claim["proof"]["box"] = 0.5
    draft.arrays["reference"] = np.zeros(len(case.y))


@altered("no reference", BOXED, "arrays")
def _no_reference(draft: Draft, case: Case) -> None:
    del draft.arrays["reference"]


@altered("a sweep without a box", (("logistic", "sweep"),), "box")
def _no_box(draft: Draft, case: Case) -> None:
    draft.claim["proof"]["box"] = None
    del draft.arrays["reference"]


@altered("a sweep of too many columns", (("hinge", "sweep"), ("logistic", "sweep")), "k <=|sets of the claim")
def _too_many(draft: Draft, case: Case) -> None:
    draft.claim["problem"]["k"] = 4


@altered("a problem of another class weight")
def _reweighted(draft: Draft, case: Case) -> None:
    draft.claim["problem"]["class_weight"] = "balanced"
    draft.claim["result"]["upper_bound"] = draft.claim["result"]["lower_bound"]


def texts(case: Case) -> Iterator[tuple[str, str, str]]:
    """Other spellings of a claim's text, and what the rejection says."""
    draft = case.swept()
    text = checker.canonical(draft.claim)
    yield "a space in the claim", text.replace(":", ": ", 1), "canonical"
    yield "keys in another order", json.dumps(draft.claim, separators=(",", ":")), "canonical"
    yield "a float as an exponent", text.replace('"ridge":0.05', '"ridge":5e-2'), "canonical"
    yield "a float with zeros", text.replace('"ridge":0.05', '"ridge":0.050'), "canonical"
    yield "an escaped letter", text.replace("engine", "\\u0065ngine"), "canonical"
    yield "a key twice", text.replace('"result":', '"result":{"support":[3]},"result":'), "twice"
    yield "NaN in the claim", text.replace('"ridge":0.05', '"ridge":NaN'), "no number"
    yield "Infinity in the claim", text.replace('"tolerance":1e-06', '"tolerance":Infinity'), "no number"
    yield "an infinite exponent", text.replace('"tolerance":1e-06', '"tolerance":1e999'), "JSON"
    yield "a number of ten thousand digits", text.replace('"k":2', f'"k":{"9" * 10_000}'), "JSON"
    yield "a lone surrogate", text.replace('"none"', '"\\ud800"', 1), "canonical|printable"
    yield "a claim nested deeply", "[" * 200_000 + "]" * 200_000, "JSON"
    yield "a claim that is a list", "[]", "entries"
    yield "a claim that is null", "null", "entries"
    yield "no claim at all", "", "JSON"
    yield "half a claim", text[: len(text) // 2], "JSON"
    yield "minus zero", text.replace('"k":2', '"k":-0'), "canonical"


for _loss in LOSSES:
    for _name, _text, _says in texts(usual(_loss)):

        def _spelled(text: str = _text, says: str = _says, loss: str = _loss) -> Forged:
            case = usual(loss)
            return file_of(case, sealed(text, case.swept().arrays), says=says)

        FORGERIES[f"{_name}, {_loss}"] = _spelled
