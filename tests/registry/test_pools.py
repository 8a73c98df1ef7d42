"""Certificates with a pool in a registry: they stand beside those without, and contradict whom they must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealing import altered

import optprobe as op
from optprobe.certificates import Certificate
from optprobe.registry.folder import note_path

RNG = np.random.default_rng(3)
X = RNG.standard_normal((60, 9))
Y = np.where(X[:, 1] - X[:, 5] + 0.5 * RNG.standard_normal(60) > 0, 1, -1)
PROBLEM = op.sparse_probe_problem(X, Y, 2, loss="squared", ridge=0.05)


@pytest.fixture(scope="module")
def pooled() -> Certificate:
    return op.solve(PROBLEM, pool=2).certificate()


def test_a_pool_and_a_claim_without_one_stand_beside_each_other(registry: op.Registry, pooled: Certificate) -> None:
    names = [registry.add(pooled), registry.add(op.solve(PROBLEM).certificate())]
    names.append(registry.add(op.solve(PROBLEM, pool=3).certificate()))
    records = {record["sha256"]: record["pool"] for record in registry.find()}
    assert set(records) == set(names)
    assert [record and record["sets"] for record in map(records.get, names)] == [2, None, 3]
    assert registry.check(data=[PROBLEM]) == []
    assert all(record["verified"] for record in registry.find())


def test_a_note_is_about_the_pool_too(registry: op.Registry, pooled: Certificate) -> None:
    name = registry.add(pooled)
    registry.check(data=[PROBLEM])
    path = note_path(registry.folder, name)
    note = json.loads(path.read_text())
    assert registry.note(name) == note
    stated = note["statement"]
    for change in ({"rest": stated["pool"]["rest"] + 0.01}, {"sets": stated["pool"]["sets"][:1]}):
        path.write_text(json.dumps({**note, "statement": {**stated, "pool": {**stated["pool"], **change}}}))
        assert registry.note(name) is None


def test_a_set_that_was_left_out_contradicts_the_rest(
    registry: op.Registry, pooled: Certificate, tmp_path: Path
) -> None:
    def forgetful(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        pool = claim["result"]["pool"]
        arrays["pool.coef"] = arrays["pool.coef"][: len(pool["sets"][0]["support"])]
        pool["sets"] = pool["sets"][:1]

    path = altered(pooled, forgetful, tmp_path / "a.cert")
    false = registry.add(path)
    assert registry.check() == []
    registry.add(pooled)
    (finding,) = registry.check()
    assert (finding.sha256, finding.kind) == (false, "contradiction")
    second = pooled.claim.result.pool.sets[1].support  # type: ignore[union-attr]
    assert f"{list(second)} reaches" in finding.sentence
    assert "contains none of the sets it lists" in finding.sentence
    assert [found.kind for found in registry.check(data=[PROBLEM])] == ["rejected", "contradiction"]
