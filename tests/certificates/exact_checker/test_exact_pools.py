"""Real pools are accepted by both checkers, and pools that say a little more, or anything else, by neither."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import case, draft
from pools import CHECKERS, CONSTANT, SHAPES, SOURCES, Made, made, pooled
from sealing import Arrays, altered, parts, seal

from optprobe.certificates import checker, verify
from optprobe.certificates.exact import verify_exact

Json = dict[str, Any]
Tamper = Callable[[Made, Json, Arrays], bool]
"""Changes claim and arrays; returns whether it could."""
REAL = [(source, shape) for source in SOURCES for shape in SHAPES]


def sets_of(claim: Json) -> list[Json]:
    return claim["result"]["pool"]["sets"]


def supports_of(claim: Json) -> list[tuple[int, ...]]:
    return [tuple(one["support"]) for one in sets_of(claim)]


def add(of: Made, claim: Json, arrays: Arrays, support: tuple[int, ...]) -> bool:
    member, coef = of.member(support)
    sets_of(claim).append(member)
    arrays["pool.coef"] = np.concatenate([arrays["pool.coef"], coef])
    return True


def drop(claim: Json, arrays: Arrays, at: int) -> bool:
    starts = np.cumsum([0, *(len(one) for one in supports_of(claim))])[:-1]
    one = sets_of(claim).pop(at)
    arrays["pool.coef"] = np.delete(arrays["pool.coef"], starts[at] + np.arange(len(one["support"])))
    return True


def removing(at: int) -> Tamper:
    return lambda of, claim, arrays: drop(claim, arrays, at)


def low_upper_bound(of: Made, claim: Json, arrays: Arrays) -> bool:
    sets_of(claim)[-1]["upper_bound"] = of.fits[supports_of(claim)[-1]][0] - 1e-9
    return True


def rest_above(of: Made, claim: Json, arrays: Arrays) -> bool:
    claim["result"]["pool"]["rest"] = of.least() + 1e-7
    return True


def rest_below_all(of: Made, claim: Json, arrays: Arrays) -> bool:
    claim["result"]["pool"]["rest"] = claim["result"]["lower_bound"] - 1e-9
    return True


def lower_bound_above(of: Made, claim: Json, arrays: Arrays) -> bool:
    claim["result"]["lower_bound"] = of.least([]) + 1e-7
    claim["result"]["upper_bound"] += 1e-6
    return True


def superset(of: Made, claim: Json, arrays: Arrays) -> bool:
    return (0,) in supports_of(claim) and add(of, claim, arrays, (0, 5))


def subset(of: Made, claim: Json, arrays: Arrays) -> bool:
    return add(of, claim, arrays, supports_of(claim)[-1][:1])


def twice(of: Made, claim: Json, arrays: Arrays) -> bool:
    return add(of, claim, arrays, supports_of(claim)[-1])


def no_candidate(of: Made, claim: Json, arrays: Arrays) -> bool:
    value, _, intercept = of.fits[()]
    sets_of(claim).append({"support": [CONSTANT], "intercept": intercept, "upper_bound": value + 1e-9})
    arrays["pool.coef"] = np.append(arrays["pool.coef"], 0.0)
    return True


def permuted(of: Made, claim: Json, arrays: Arrays) -> bool:
    arrays["pool.coef"] = np.roll(arrays["pool.coef"], 1)
    return True


def too_few_left(of: Made, claim: Json, arrays: Arrays) -> bool:
    used = {j for one in supports_of(claim) for j in one}
    for j in set(range(7)) - used:
        add(of, claim, arrays, (j,))
    return True


def empty_set_besides(of: Made, claim: Json, arrays: Arrays) -> bool:
    return add(of, claim, arrays, ())


def trees(change: Callable[[list[int], list[int]], list[int]]) -> Tamper:
    """Entries kept, of the positions of the first tree and of the second (empty, if there is one)."""

    def tamper(of: Made, claim: Json, arrays: Arrays) -> bool:
        if claim["proof"]["kind"] != "tree":
            return False
        end = end_of_first(arrays["tree.kind"].tolist())
        first, second = list(range(end)), list(range(end, len(arrays["tree.kind"])))
        kept = change(first, second)
        for name in ("tree.kind", "tree.argument"):
            arrays[name] = arrays[name][kept]
        return True

    return tamper


def end_of_first(kinds: list[int], size: int = 2) -> int:
    """After how many entries the first tree is complete."""
    stack = [0]
    for at, kind in enumerate(kinds):
        inside = stack.pop()
        if kind == 1:
            stack += [inside, inside + 1] if inside < size else [inside]
        elif kind == 2:
            stack.append(inside)
        if not stack:
            return at + 1
    raise AssertionError


TREES = ("no second tree", "the first tree again", "no tree")
TAMPERS: dict[str, tuple[Tamper, str]] = {
    "the best set removed": (removing(0), "below|leaf|node|open|tree"),
    "the last set removed": (removing(-1), "below|leaf|node|open|tree"),
    "an upper bound below F": (low_upper_bound, "reaches|objective"),
    "the rest is above another set": (rest_above, "below|leaf|could not be proved"),
    "the rest is below the lower bound": (rest_below_all, "of the rest"),
    "the lower bound is above the optimum": (lower_bound_above, "below|leaf|could not be proved"),
    "a superset added": (superset, "contains another"),
    "a subset added": (subset, "contains another"),
    "a set twice": (twice, "twice"),
    "a constant column": (no_candidate, "of the claim"),
    "coefficients of others": (permuted, "reaches|objective"),
    "too few columns left": (too_few_left, "stand in no set of the pool"),
    "the empty set besides others": (empty_set_besides, "contains another"),
    "no second tree": (trees(lambda first, second: first if second else first[:-1]), "open|incomplete"),
    "the first tree again": (trees(lambda first, second: [*first, *second, *first]), "no node left|complete after"),
    "no tree": (trees(lambda first, second: []), "open|incomplete"),
}


@pytest.mark.parametrize(("source", "shape"), REAL)
def test_real_pools_are_accepted(source: str, shape: str, tmp_path: Path) -> None:
    of, path = made(source, shape), tmp_path / "a.cert"
    of.certificate.save(path)
    assert {how for how, _ in of.outcomes(path).values()} == {"accepted"}
    pool = of.certificate.claim.result.pool
    assert pool is not None
    assert any(len(one.support) == 1 for one in pool.sets) == (shape == "mixed")
    assert len({len(one.support) for one in pool.sets}) == (2 if shape == "mixed" else 1)
    proved = verify_exact(path, **of.data).proved
    assert proved["sets listed"] == len(pool.sets)
    assert proved["lower bound of the rest"] == pool.rest
    for one in pool.sets:
        assert f"{list(one.support)} at most {one.upper_bound!r}" in str(proved["listed"])


@pytest.mark.parametrize("tamper", TAMPERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_tampered_pools_are_rejected(tamper: str, shape: str, tmp_path: Path) -> None:
    """By both checkers, for what is wrong with them."""
    change, says = TAMPERS[tamper]
    tried = 0
    for source in SOURCES:
        of = made(source, shape)
        claim, arrays = parts(of.certificate)
        if not change(of, claim, arrays):
            continue
        tried += 1

        def put(into: Json, other: Arrays, claim: Json = claim, arrays: Arrays = arrays) -> None:
            into.update(claim)
            other.clear()
            other.update(arrays)

        outcomes = of.outcomes(altered(of.certificate, put, tmp_path / "a.cert"))
        if tamper in TREES:
            del outcomes["every set"]  # it goes without the proof
        for name, (how, why) in outcomes.items():
            assert how == "rejected", (source, name, why)
            assert any(word in why for word in says.split("|")), (source, name, why)
    assert tried or (tamper, shape) == ("a superset added", "whole")


@pytest.mark.parametrize(("source", "shape"), [each for each in REAL if "tree" not in each[0]])
def test_what_is_true_is_accepted(source: str, shape: str, tmp_path: Path) -> None:
    """A rest as high as sets go, and one more set, by the sweeps, which need nothing that is stored."""
    of = made(source, shape)

    def higher(claim: Json, arrays: Arrays) -> None:
        claim["result"]["pool"]["rest"] = of.least() - 2e-7

    def one_more(claim: Json, arrays: Arrays) -> None:
        add(of, claim, arrays, next(one for one in ((3,), (6,)) if (0, one[0]) not in supports_of(claim)))

    for change in (higher, one_more):
        outcomes = of.outcomes(altered(of.certificate, change, tmp_path / "a.cert"))
        assert {how for how, _ in outcomes.values()} == {"accepted"}, outcomes


@pytest.mark.parametrize("source", SOURCES)
def test_the_format_follows_the_claim(source: str, tmp_path: Path) -> None:
    of = made(source, "whole")

    def plain(claim: Json, arrays: Arrays) -> None:
        del claim["result"]["pool"], arrays["pool.coef"]
        if claim["proof"].pop("diagonal", False):
            del arrays["tree.diagonal"]

    wrong = [
        altered(of.certificate, lambda claim, arrays: None, tmp_path / "a.cert", checker.FORMAT),
        altered(of.certificate, plain, tmp_path / "b.cert", checker.POOL_FORMAT),
        altered(of.certificate, lambda claim, arrays: None, tmp_path / "c.cert", "optprobe-certificate/4"),
    ]
    for path in wrong:
        for how, why in of.outcomes(path).values():
            assert how == "rejected"
            assert "format" in why


def empty_set_alone(source: str) -> tuple[Made, Json, Arrays]:
    """Everything contains the listed set: a claim of all sets, whose rest may be anything."""
    of = made(source, "mixed")
    claim, arrays = parts(of.certificate)
    member, arrays["pool.coef"] = of.member(())
    claim["result"]["pool"] = {"sets": [member], "rest": 1e99}
    if claim["proof"]["kind"] == "tree":
        end = end_of_first(arrays["tree.kind"].tolist())
        arrays["tree.kind"] = np.append(arrays["tree.kind"][:end], np.int8(0))
        arrays["tree.argument"] = np.append(arrays["tree.argument"][:end], np.int32(-1))
        claim["proof"]["nodes"] = end + 1
    return of, claim, arrays


@pytest.mark.parametrize("source", SOURCES)
def test_the_empty_set_alone(source: str, tmp_path: Path) -> None:
    of, claim, arrays = empty_set_alone(source)
    outcomes = of.outcomes(seal(tmp_path / "a.cert", claim, arrays))
    assert {how for how, _ in outcomes.values()} == {"accepted"}, outcomes
    claim["result"]["lower_bound"] = of.least([]) + 1e-7
    claim["result"]["upper_bound"] += 1e-6
    outcomes = of.outcomes(seal(tmp_path / "a.cert", claim, arrays))
    assert {how for how, _ in outcomes.values()} == {"rejected"}, outcomes


@pytest.mark.parametrize("source", [source for source in SOURCES if "tree" in source])
def test_the_empty_set_needs_its_leaf(source: str, tmp_path: Path) -> None:
    of, claim, arrays = empty_set_alone(source)
    for kept in (slice(-1), [*range(claim["proof"]["nodes"]), -1]):
        changed = {**arrays, **{name: arrays[name][kept] for name in ("tree.kind", "tree.argument")}}
        claim["proof"]["nodes"] = len(changed["tree.kind"])
        outcomes = of.outcomes(seal(tmp_path / "a.cert", claim, changed))
        assert outcomes["float64"][0] == outcomes["balls"][0] == "rejected", outcomes


@pytest.mark.parametrize("shape", SHAPES)
def test_pair_leaves(shape: str, tmp_path: Path) -> None:
    """The whole tree of each part is one pair leaf."""
    of = made("logistic, tree", shape)
    for rest, outcome in ((of.least() - 2e-7, "accepted"), (of.least() + 1e-7, "rejected")):

        def leaves(claim: Json, arrays: Arrays, rest: float = rest) -> None:
            claim["proof"]["box"], arrays["reference"] = 0.3, np.zeros(30)
            claim["result"]["pool"]["rest"] = rest
            count = 2 if shape == "mixed" else 1
            arrays["tree.kind"], arrays["tree.argument"] = np.full(count, 3, np.int8), np.full(count, -1, np.int32)

        outcomes = of.outcomes(altered(of.certificate, leaves, tmp_path / "a.cert"))
        assert {how for how, _ in outcomes.values()} == {outcome}, outcomes


def malformed(pool: Json) -> Iterator[Any]:
    """Pools that are none."""
    one, rest = pool["sets"][0], pool["rest"]
    yield from (None, [], {}, "x", {"sets": [one]}, {**pool, "more": 1}, {**pool, "rest": 1}, {**pool, "rest": 1e101})
    yield from ({"sets": wrong, "rest": rest} for wrong in ([], None, {}, [None], [[]], one, [one] * 100_001))
    for key, values in {
        "support": (None, [2, 1], [1, 1], [-1], [9], [True], [1.0], ["1"], [[1]], [0, 1, 2], {}, 10**400),
        "intercept": (None, 1, "x", 1e101, True, [1.0]),
        "upper_bound": (None, 1, "x", 1e101, False, {}),
    }.items():
        yield from ({**pool, "sets": [{**one, key: wrong}, *pool["sets"][1:]]} for wrong in values)
        yield {**pool, "sets": [{name: value for name, value in one.items() if name != key}, *pool["sets"][1:]]}
    yield {**pool, "sets": [{**one, "more": 1.0}]}


@pytest.mark.parametrize("name", ["float64", "balls"])
def test_malformed_pools(name: str, tmp_path: Path) -> None:
    of = made("squared, sweep", "mixed")
    claim, arrays = parts(of.certificate)
    for pool in malformed(copy.deepcopy(claim["result"]["pool"])):
        claim["result"]["pool"] = pool
        found = CHECKERS[name](seal(tmp_path / "a.cert", claim, arrays), **of.data)
        assert found.outcome == "rejected", pool
        assert found.reason.isprintable()


@pytest.mark.parametrize("values", ["short", "long", "none", "integers", "nan"])
def test_coefficients_that_are_not_the_claims(values: str, tmp_path: Path) -> None:
    of = made("hinge, sweep", "mixed")
    claim, arrays = parts(of.certificate)
    good = arrays.pop("pool.coef")
    new = {"short": good[:-1], "long": np.append(good, 0.0), "integers": good.astype(int), "nan": good * np.nan}
    if values in new:
        arrays["pool.coef"] = new[values]
    outcomes = of.outcomes(seal(tmp_path / "a.cert", claim, arrays))
    assert {how for how, _ in outcomes.values()} == {"rejected"}, outcomes


def test_any_value_in_a_pool(tmp_path: Path) -> None:
    """Wherever a value of the pool is replaced by another: a verdict, and the same by both checkers."""
    of = case("squared", 9, n=12, p=5)
    whole = pooled(of, draft(of, 1e-7), [(0, 1), (2,)], 0.0)
    whole.claim["result"]["pool"]["rest"] = whole.claim["result"]["lower_bound"]
    pool = whole.claim["result"]["pool"]
    places = [("rest",), ("sets",), *(("sets", i) for i in (0, 1)), ("sets", 0, "support", 0), ("sets", 1, "support")]
    places += [("sets", i, key) for i, key in itertools.product((0, 1), ("support", "intercept", "upper_bound"))]
    accepted = 0
    for place, value in itertools.product(places, (None, True, 0, 3, -1, 10**400, 0.5, 1e300, "a\nb", [], [1], [3, 4])):
        claim = copy.deepcopy(whole.claim)
        inner: Any = {"": claim["result"]["pool"]}
        for key in ("", *place)[:-1]:
            inner = inner[key]
        inner[("", *place)[-1]] = value
        path = seal(tmp_path / "a.cert", claim, whole.arrays)
        found = [check(path, *of.data) for check in (verify, verify_exact)]
        assert found[0].outcome == found[1].outcome != "undecided", (place, value, found)
        assert all(one.reason.isprintable() for one in found)
        accepted += found[0].accepted
    assert pool == whole.claim["result"]["pool"]
    assert 0 < accepted < 20


@pytest.mark.parametrize(("source", "shape"), [("squared, sweep", "whole"), ("hinge, tree", "mixed")])
def test_a_check_without_time_is_undecided(source: str, shape: str, tmp_path: Path) -> None:
    of, path = made(source, shape), tmp_path / "a.cert"
    of.certificate.save(path)
    assert verify_exact(path, **of.data, time_limit=0.0).outcome == "undecided"
