"""What a registry finds: who supersedes whom, filters, and how records show themselves."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from claims import claimed
from hypothesis import given, settings
from hypothesis import strategies as st

import optprobe as op
from optprobe.certificates import Certificate, Verdict
from optprobe.errors import InputError
from optprobe.registry.folder import note_path

BOUND = st.integers(0, 4)
CLAIMS = st.lists(
    st.tuples(BOUND, BOUND, st.sampled_from(["a", "b"]), st.sampled_from([True, None, False])), max_size=9
)


@settings(max_examples=80)
@given(CLAIMS)
def test_who_supersedes_whom(
    tmp_path_factory: pytest.TempPathFactory, claims: list[tuple[int, int, str, bool | None]]
) -> None:
    """Against the definition, pair by pair."""
    registry = op.Registry(tmp_path_factory.mktemp("a"))
    for at, (upper, below, data, verified) in enumerate(claims):
        certificate = claimed((upper / 4, (upper - below) / 4), data=data, intercept=float(at))
        sha256 = registry.add(certificate)
        noted(registry, sha256, certificate, verified)
    records = registry.find(superseded=None)
    assert len(records) == len(claims)
    trust = {True: 2, None: 1, False: 0}

    def dominates(other: dict[str, Any], one: dict[str, Any]) -> bool:
        if other["data"] != one["data"] or other is one or trust[other["verified"]] < trust[one["verified"]]:
            return False
        if other["upper_bound"] > one["upper_bound"] or other["lower_bound"] < one["lower_bound"]:
            return False
        keys = ("upper_bound", "lower_bound")
        equal = all(other[key] == one[key] for key in keys) and other["verified"] == one["verified"]
        return not equal or other["sha256"] < one["sha256"]

    for record in records:
        assert record["superseded"] == any(dominates(other, record) for other in records)
    assert [record["sha256"] for record in registry.find()] == [r["sha256"] for r in records if not r["superseded"]]
    assert len(registry.find(superseded=True)) + len(registry.find()) == len(records)
    assert not records.rows or len(registry.find()) >= 1


def noted(registry: op.Registry, sha256: str, certificate: Certificate, verified: bool | None) -> None:
    """Write the note that a check would write."""
    from optprobe.registry.notes import write_note

    if verified is None:
        return
    claim = certificate.claim
    statement: Any = SimpleNamespace(as_json=lambda: as_statement(certificate)) if verified else None
    verdict = Verdict("accepted" if verified else "rejected", "said so", statement)
    write_note(note_path(registry.folder, sha256), sha256, claim, verdict)


def as_statement(certificate: Certificate) -> dict[str, Any]:
    claim = certificate.claim
    return {
        **{name: value for name, value in vars(claim.problem).items() if name != "among"},
        **{name: value for name, value in vars(claim.result).items() if name != "support"},
        "among": None if claim.problem.among is None else len(claim.problem.among),
        "support": list(claim.result.support),
        "data": vars(claim.data),
    }


def test_filters(registry: op.Registry) -> None:
    number = 0
    for feature in ("is_red", "is_blue"):
        for layer in (0, 3):
            for k, support in ((1, (4,)), (2, (1, 4)), (2, (1, 2))):
                for loss in ("squared", "logistic"):
                    bounds = (0.5, 0.5) if layer else (0.5, 0.25)
                    scope = {"feature": feature, "layer": layer, "model": f"m{layer}", "dataset": "d"}
                    number += 1
                    registry.add(
                        claimed(bounds, scope, k=k, support=support, loss=loss, ridge=0.1 * k, data=str(number))
                    )
    records = list(registry.find())
    assert len(records) == number == 24
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"feature": "is_red"}, lambda r: r["feature"] == "is_red"),
        ({"layer": 3, "k": 2}, lambda r: r["layer"] == 3 and r["k"] == 2),
        ({"loss": "logistic", "model": "m0"}, lambda r: r["loss"] == "logistic" and r["model"] == "m0"),
        ({"ridge": 0.2}, lambda r: r["ridge"] == 0.2),
        ({"neuron": 4}, lambda r: 4 in r["support"]),
        ({"neuron": 3}, lambda r: False),
        ({"status": "optimal"}, lambda r: r["optimal"]),
        ({"status": "gap", "dataset": "d"}, lambda r: not r["optimal"]),
        ({"class_weight": "balanced"}, lambda r: False),
        ({"feature": "' OR 1=1 --"}, lambda r: False),
    ]
    for filters, holds in cases:
        assert [r["sha256"] for r in registry.find(**filters)] == [r["sha256"] for r in records if holds(r)], filters
    for filters in ({"status": "best"}, {"loss": "cubic"}, {"class_weight": "heavy"}):
        with pytest.raises(InputError, match="give one of"):
            registry.find(**filters)


def test_records_show_themselves(registry: op.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        registry.add(claimed(data=str(number)))
    records = registry.find()
    assert repr(records) == "Records of 40 certificates, 0 of optimal sets"
    assert len(str(records).splitlines()) == 33
    assert str(records).endswith("and 10 more")
    assert "best known, gap 20.0%" in str(records)
    assert [*records] == records.rows == [records[at] for at in range(len(records))]
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert records.to_pandas() == ("frame", records.rows)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="needs pandas"):
        records.to_pandas()
