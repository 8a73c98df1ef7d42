"""A registry holds what was added, says of it what is known, and notices what is wrong; it never loses anything."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims import claimed
from hypothesis import given, settings
from hypothesis import strategies as st
from sealing import altered, both_bounds

import optprobe as op
from optprobe.certificates import Certificate, Verdict
from optprobe.errors import CertificateRejected, InputError
from optprobe.registry.folder import certificate_path, note_path

RNG = np.random.default_rng(3)
X = RNG.standard_normal((60, 8))
Y = np.where(X[:, 1] - X[:, 5] + 0.5 * RNG.standard_normal(60) > 0, 1, -1)
PROBLEM = op.sparse_probe_problem(X, Y, 2, loss="squared", ridge=0.05)


@pytest.fixture(scope="module")
def true() -> Certificate:
    return op.solve(PROBLEM).certificate({"feature": "is_blue", "layer": 3, "model": "tiny"})


def verdict_of(certificate: Certificate, folder: Path) -> Verdict:
    return op.verify(certificate.save(folder / "verified.cert"), X, Y)


def everything(folder: Path) -> dict[str, bytes]:
    """All files of a registry but the index."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("index."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def kinds(registry: op.Registry, **how: Any) -> list[tuple[str | None, str]]:
    findings = registry.check(**how)
    assert all(finding.sentence.isprintable() for finding in findings)
    return [(finding.sha256, finding.kind) for finding in findings]


def test_a_certificate_is_its_sha256(registry: op.Registry, tmp_path: Path) -> None:
    path = claimed().save(tmp_path / "a.cert")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert registry.add(path) == registry.add(str(path)) == registry.add(claimed()) == sha256
    assert everything(registry.folder) == {f"{sha256[:2]}/{sha256}.cert": path.read_bytes()}
    assert registry.path(sha256[:6]).read_bytes() == path.read_bytes()
    assert registry.certificate(sha256).claim == claimed().claim
    assert registry.check() == []


TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=3)
FINITE = st.floats(-1e100, 1e100)


@settings(max_examples=60)
@given(st.dictionaries(TEXTS | st.sampled_from(["model", "layer", "feature", "split"]), VALUES, max_size=4), FINITE)
def test_reading_and_writing_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, scope: dict[str, Any], intercept: float
) -> None:
    """On which the name of a file in a registry rests."""
    path = claimed(scope=scope, intercept=intercept).save(tmp_path_factory.mktemp("a") / "a.cert")
    assert Certificate.load(path).content == path.read_bytes()
    registry = op.Registry(path.parent / "registry")
    sha256 = registry.add(path)
    (record,) = registry.find()
    assert {name: record[name] for name in ("model", "layer", "feature", "split")} == {
        name: scope.get(name) for name in ("model", "layer", "feature", "split")
    }
    assert str(registry.find()).splitlines()[2].startswith(sha256[:12])
    assert all(line.isprintable() for line in str(registry.find()).splitlines())
    for name in ("model", "layer", "feature"):
        if scope.get(name) is not None:
            assert len(registry.find(**{name: scope[name]})) == 1


def test_what_is_no_certificate_is_refused_and_leaves_nothing(registry: op.Registry, tmp_path: Path) -> None:
    content = claimed().content
    middle = len(content) // 2
    broken = {
        "empty": b"",
        "text": b"no certificate at all",
        "truncated": content[:-1],
        "longer": content + b"\0",
        "half": content[:middle],
        "flipped": content[:-4] + bytes([content[-4] ^ 1]) + content[-3:],
        "header": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }
    for name, bad in broken.items():
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(CertificateRejected) as caught:
            registry.add(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        registry.add(tmp_path / "nothing.cert")
    with pytest.raises(InputError, match="cannot be read"):
        registry.add(tmp_path)
    assert not registry.folder.exists()


@pytest.mark.parametrize(
    "scope",
    [
        {"feature": "\x1b[2Kred"},
        {"feature": "x" * 10_000},
        {"feature": "a\nb"},
        {"feature": "\u202eabc"},
        {"feature": [[["deep"]]]},
        {"layer": {"a": {"b": {"c": 1}}}},
    ],
)
def test_what_a_scope_may_not_say_is_no_certificate(
    registry: op.Registry, scope: dict[str, Any], true: Certificate, tmp_path: Path
) -> None:
    path = altered(true, lambda claim, arrays: claim["author"].update(scope=scope), tmp_path / "a.cert")
    with pytest.raises(CertificateRejected) as caught:
        registry.add(path)
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="cannot be written"):
        registry.add(claimed(scope=scope))
    assert not registry.folder.exists()


HOSTILE = (
    "../../x", "/home/alice/secret/model", "{\\input{a}} & % $ # _ ~ ^", "<script>alert(1)</script>", "=1+1",
    "' OR 1=1 --", '"; DROP TABLE files; --', "日本語", "x" * 1000, ["a", None], {"$.support": 1}, True, 1.5, None,
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_a_scope_is_shown_and_never_trusted(registry: op.Registry, value: Any, tmp_path: Path) -> None:
    names = ("model", "revision", "layer", "feature", "hook", "dataset", "split")
    sha256 = registry.add(claimed(scope=dict.fromkeys(names, value)))
    registry.add(claimed(scope={"feature": "another"}, data="other"))
    (record,) = [record for record in registry.find() if record["sha256"] == sha256]
    assert [record[name] for name in names] == [value] * len(names)
    if value is not None:
        for name in ("model", "layer", "feature", "dataset"):
            assert [found["sha256"] for found in registry.find(**{name: value})] == [sha256]
    assert all(line.isprintable() and len(line) < 300 for line in str(registry.find()).splitlines())
    assert "<script" not in registry.find()._repr_html_()
    assert {path.name for path in tmp_path.iterdir()} == {"registry"}


def test_one_is_neither_true_nor_a_text(registry: op.Registry) -> None:
    for value in (1, True, "1", [1]):
        registry.add(claimed(scope={"layer": value}, data=str(type(value))))
    for value in (1, True, "1", [1]):
        assert [record["layer"] for record in registry.find(layer=value)] == [value]
    assert len(registry.find(layer=np.int64(1))) == 1
    for value in ("\ud800", b"x", object(), {"a": float("nan")}):
        with pytest.raises(InputError, match="nothing that a certificate could say"):
            registry.find(layer=value)
    assert len(registry.find(layer=10**30)) == len(registry.find(neuron=10**30)) == len(registry.find(k=2**63)) == 0


def test_a_verdict_is_remembered(registry: op.Registry, true: Certificate, tmp_path: Path) -> None:
    sha256 = registry.add(true)
    assert registry.record(sha256)["verified"] is None
    assert registry.note(sha256) is None
    assert registry.add(true, verdict_of(true, tmp_path)) == sha256
    assert registry.record(sha256[:8])["verified"] is True
    note = registry.note(sha256)
    assert note is not None
    assert note["data"] == dict(PROBLEM.digests)
    assert note["status"] == "accepted"
    assert note["statement"]["support"] == list(true.claim.result.support)
    registry.add(true)
    assert registry.record(sha256)["verified"] is True
    assert len(registry.find(verified=True)) == 1
    assert len(registry.find(verified=False)) == 0


def test_a_verdict_must_be_that_of_the_certificate(registry: op.Registry, true: Certificate, tmp_path: Path) -> None:
    verdict = verdict_of(true, tmp_path)
    with pytest.raises(InputError, match="another certificate"):
        registry.add(claimed(), verdict)
    better = replace(true.claim.result, lower_bound=true.claim.result.lower_bound + 1e-13)
    with pytest.raises(InputError, match="another certificate"):
        registry.add(replace(true, claim=replace(true.claim, result=better)), verdict)
    with pytest.raises(CertificateRejected, match="was rejected"):
        registry.add(true, Verdict("rejected", "the support reaches 2"))
    assert not registry.folder.exists()
    sha256 = registry.add(true, Verdict("undecided", "not decided within 1 s"))
    assert registry.record(sha256)["verified"] is None
    registry.add(true, Verdict("accepted", "without a statement"))
    assert registry.record(sha256)["verified"] is None


DAMAGE: dict[str, Any] = {
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "empty": b"",
    "huge": {"reason": "x" * 2**20},
    "of another certificate": {"sha256": "0" * 64},
    "of other data": {"data": {"X": "0" * 64, "y": "0" * 64}},
    "of another word": {"status": "true"},
    "without a statement": {"status": "accepted", "statement": None},
    "rejected with a statement": {"status": "rejected"},
    "a time that is none": {"when": 5},
    "more": {"more": 1},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_note_that_is_none_is_ignored_and_found(
    registry: op.Registry, true: Certificate, tmp_path: Path, damage: str
) -> None:
    sha256 = registry.add(true, verdict_of(true, tmp_path))
    path, change = note_path(registry.folder, sha256), DAMAGE[damage]
    honest = json.loads(path.read_bytes())
    path.write_bytes(change if isinstance(change, bytes) else json.dumps({**honest, **change}).encode())
    assert registry.record(sha256)["verified"] is None
    assert registry.note(sha256) is None
    assert kinds(registry) == [(sha256, "note")]
    for bound in ("upper_bound", "lower_bound"):
        statement = {**honest["statement"], bound: honest["statement"][bound] + 1e-12}
        path.write_text(json.dumps({**honest, "statement": statement}))
        assert registry.record(sha256)["verified"] is None


def test_a_forgery_does_not_supersede_what_was_verified(
    registry: op.Registry, true: Certificate, tmp_path: Path
) -> None:
    honest = registry.add(true, verdict_of(true, tmp_path))
    result = true.claim.result
    better = replace(result, upper_bound=result.upper_bound - 1e-3, lower_bound=result.lower_bound + 1e-6)
    better = replace(better, lower_bound=min(better.lower_bound, better.upper_bound))
    registry.add(replace(true, claim=replace(true.claim, result=better)))
    assert honest in {record["sha256"] for record in registry.find()}


def test_ids(registry: op.Registry) -> None:
    sha256 = registry.add(claimed())
    for number in (1, 2):
        path = certificate_path(registry.folder, f"abcdef{number}" + "0" * 57)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(claimed().content)
    with pytest.raises(InputError, match="abcdef begins the ids of 2 certificates"):
        registry.path("abcdef")
    assert registry.path("abcdef1").name.startswith("abcdef1")
    for bad in ("abcde", "", "ABCDEF", "../../x", "zzzzzz", f"{sha256}0", sha256[:6] + "\n", "%" * 6):
        with pytest.raises(InputError, match="no id"):
            registry.path(bad)
    absent = "0" * 6 if not sha256.startswith("0" * 6) else "1" * 6
    with pytest.raises(InputError, match="no certificate in"):
        registry.path(absent)
    with pytest.raises(InputError, match="no certificate in"):
        op.Registry(registry.folder / "nowhere").path("123456")
    with pytest.raises(CertificateRejected, match="another certificate"):
        registry.certificate("abcdef1")


def test_everything_bad_is_found_and_left_alone(registry: op.Registry, tmp_path: Path) -> None:
    good = [registry.add(claimed(data=str(number))) for number in range(6)]
    assert registry.check() == []
    truncated, flipped, renamed, written = good[:4]
    path = certificate_path(registry.folder, truncated)
    path.write_bytes(path.read_bytes()[:-3])
    path = certificate_path(registry.folder, flipped)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    name = "f" * 64
    certificate_path(registry.folder, name).parent.mkdir(exist_ok=True)
    certificate_path(registry.folder, renamed).rename(certificate_path(registry.folder, name))
    junk = b"not a certificate"
    certificate_path(registry.folder, hashlib.sha256(junk).hexdigest()).parent.mkdir(exist_ok=True)
    certificate_path(registry.folder, hashlib.sha256(junk).hexdigest()).write_bytes(junk)
    foreign = ["README", "zz/a.cert", "00x", "ab/notes.txt", f"ab/{'c' * 64}.cert", f"ab/{'ab' * 32}.checked.json"]
    for bad in foreign:
        (registry.folder / bad).parent.mkdir(exist_ok=True)
        (registry.folder / bad).write_text("x")
    os.symlink(tmp_path / "nowhere", registry.folder / "ab" / f"{'ab' * 31}cd.cert")
    os.mkfifo(registry.folder / "ab" / f"{'ab' * 31}ef.cert")
    fresh, old = (registry.folder / "ab" / f".{word}.cert.x.part" for word in ("fresh", "old"))
    fresh.write_bytes(b"")
    old.write_bytes(b"")
    os.utime(old, (time.time() - 1e5,) * 2)
    before = everything(registry.folder)
    found = kinds(registry)
    expected = {
        (truncated, "damaged"),
        (flipped, "damaged"),
        (name, "renamed"),
        (hashlib.sha256(junk).hexdigest(), "damaged"),
        (None, "foreign"),
        (None, "unfinished"),
    }
    assert set(found) == expected
    assert sum(kind == "foreign" for _, kind in found) == 8
    assert sum(kind == "unfinished" for _, kind in found) == 1
    assert everything(registry.folder) == before
    listed = {record["sha256"] for record in registry.find()}
    assert listed >= {written, *good[4:]}
    assert truncated not in listed
    with pytest.raises(CertificateRejected, match="damaged"):
        registry.record(truncated)
    with pytest.raises(InputError, match="damaged, and nothing is overwritten"):
        registry.add(claimed(data="0"))
    assert everything(registry.folder) == before


def test_contradictions(registry: op.Registry) -> None:
    bounds = [(0.5, 0.4), (0.45, 0.45), (0.44, 0.2)]
    names = [registry.add(claimed(pair, {"feature": f"said {pair}"})) for pair in bounds]
    others = [
        claimed((0.1, 0.1), data="other"),
        claimed((0.1, 0.1), ridge=0.02),
        claimed((0.1, 0.1), k=1, support=(1,)),
        claimed((0.1, 0.1), loss="logistic"),
        claimed((0.1, 0.1), class_weight="balanced"),
        claimed((0.1, 0.1), among=(1, 2, 3)),
    ]
    for certificate in others:
        registry.add(certificate)
    (finding,) = registry.check()
    assert (finding.sha256, finding.kind) == (names[1], "contradiction")
    assert names[2][:12] in finding.sentence
    assert "0.44" in finding.sentence
    for record in registry.find(superseded=None):
        assert record["sha256"] in {*names, *(registry.add(other) for other in others)}
    equal = claimed((0.44, 0.44), {"feature": "they meet"})
    registry.add(equal)
    assert len(registry.check()) == 1


def test_a_claim_of_other_sizes_contradicts_too(registry: op.Registry) -> None:
    """The digest of X has its shape in it, so a forger who states another hides nothing."""
    registry.add(claimed((0.5, 0.5)))
    claim = claimed((0.3, 0.2)).claim
    registry.add(replace(claimed(), claim=replace(claim, data=replace(claim.data, n_rows=21))))
    assert [finding.kind for finding in registry.check()] == ["contradiction"]


def test_checking_with_data(registry: op.Registry, true: Certificate, tmp_path: Path) -> None:
    honest, other = registry.add(true), registry.add(claimed())
    forged = registry.add(altered(true, both_bounds(1e-5), tmp_path / "forged.cert"))
    assert set(kinds(registry)) == {(forged, "contradiction")}
    found = kinds(registry, data=[PROBLEM])
    assert sorted(found) == [(forged, "contradiction"), (forged, "rejected")]
    assert sorted(kinds(registry)) == sorted(found)
    verified = {record["sha256"]: record["verified"] for record in registry.find(superseded=None)}
    assert verified == {honest: True, other: None, forged: False}
    assert registry.find(verified=True)[0]["sha256"] == honest
    assert "rejected here" in str(registry)
    foreign = op.sparse_probe_problem(X[:40], Y[:40], 1, loss="squared", ridge=0.05)
    with pytest.raises(InputError, match="none of the certificates"):
        registry.check(data=[foreign])


def test_checking_where_no_note_can_be_written(
    registry: op.Registry, true: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise InputError("the file cannot be written")

    monkeypatch.setattr("optprobe.registry.checking.write_note", refused)
    forged = registry.add(altered(true, both_bounds(1e-5), tmp_path / "forged.cert"))
    assert kinds(registry, data=[PROBLEM]) == [(forged, "rejected")]
    assert kinds(registry) == []


def test_a_sample_reads_some_files_whole(registry: op.Registry) -> None:
    names = [registry.add(claimed(data=str(number))) for number in range(12)]
    for name in names:
        path = certificate_path(registry.folder, name)
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    for sample in (1, 5, 12, 100):
        found = registry.check(sample=sample, seed=1)
        assert len(found) == min(sample, 12)
        assert found == registry.check(sample=sample, seed=1)
    assert registry.check(sample=5, seed=1) != registry.check(sample=5, seed=2)
    for arguments in ({"sample": 0}, {"seed": 1}, {"sample": -1}):
        with pytest.raises(InputError):
            registry.check(**arguments)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    registry = op.Registry(tmp_path / "nowhere")
    for question in (registry.find, registry.check):
        with pytest.raises(InputError, match="there is no registry"):
            question()
    assert "0 certificates" in str(registry)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="there is no registry"):
        op.Registry(tmp_path / "file").find()
    with pytest.raises(InputError, match="cannot be written"):
        op.Registry(tmp_path / "file").add(claimed())
    (tmp_path / "empty").mkdir()
    assert len(op.Registry(tmp_path / "empty").find()) == 0
    assert list((tmp_path / "empty").iterdir()) == []
