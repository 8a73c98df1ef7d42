"""Whatever bytes a file has, the answer is a verdict of one sentence."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import canonical, case, draft, entries_of, sealed

from optprobe.certificates import exact
from optprobe.certificates.exact import verify_exact

CASE = case("squared", 0)
MADE = draft(CASE)
TEXT = canonical(MADE.claim)
ENTRIES, BODY = entries_of(MADE.arrays)


def reason(raw: bytes, tmp_path: Path) -> str:
    path = tmp_path / "a.cert"
    path.write_bytes(raw)
    found = verify_exact(path, *CASE.data)
    assert found.outcome in ("accepted", "rejected")
    assert found.reason.isprintable()
    return found.outcome if found.accepted else found.reason


def header(raw: bytes) -> bytes:
    """A file with a header alone, padded."""
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


def test_the_writer_of_these_tests_is_understood(tmp_path: Path) -> None:
    assert reason(sealed(TEXT, ENTRIES, BODY), tmp_path) == "accepted"
    assert "format" in reason(sealed(TEXT, ENTRIES, BODY, "optprobe-certificate/1"), tmp_path)


def test_every_truncation_and_every_byte(tmp_path: Path) -> None:
    raw = sealed(TEXT, ENTRIES, BODY)
    for length in range(0, len(raw), 7):
        assert reason(raw[:length], tmp_path) != "accepted"
    rng = np.random.default_rng(0)
    for at in range(0, len(raw), 3):
        changed = bytearray(raw)
        changed[at] ^= int(rng.integers(1, 256))
        assert reason(bytes(changed), tmp_path) != "accepted"
    for added in (b" ", b"\0" * 8):
        assert reason(raw + added, tmp_path) != "accepted"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 64,
        header(b"[" * 100_000),
        header(b'{"a":' * 100_000),
        header(b"9" * 10_000),
        header(b"1e999"),
        header(b"NaN"),
        header(b"\xff\xfe"),
        header(b'"\\ud800"'),
        header(b"null"),
        header(b"[]"),
        header(b"{}"),
        header(b'{"__metadata__":{},"__metadata__":{}}'),
        header(b'{"__metadata__":{"claim":1,"format":2,"sha256":3}}'),
        header(b'{"__metadata__":null}'),
        header(b"        {}"),
        header(b"{}" + b" " * 14),
    ],
)
def test_bytes_that_are_no_certificate(raw: bytes, tmp_path: Path) -> None:
    assert reason(raw, tmp_path) != "accepted"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 50_000,
        '"\\ud800"',
        "1e999",
        "NaN",
        "9" * 5000,
        TEXT + " ",
        TEXT.replace('"k":2', '"k":2,"k":2'),
        TEXT.replace('"ridge":0.1', '"ridge":0.10'),
        TEXT.replace('"ridge":0.1', '"ridge":1e-1'),
        TEXT.replace('"ridge":0.1', '"ridge":1e999'),
        TEXT.replace('"ridge":0.1', '"ridge":1'),
        TEXT.replace('"k":2', '"k":2.0'),
        TEXT.replace('"k":2', '"k":true'),
        TEXT.replace('"layer":3', '"layer":' + "[" * 5000 + "]" * 5000),
        TEXT.replace('"layer":3', '"layer":"\\u0007"'),
        TEXT.replace('"layer":3', '"layer":"\\ud800"'),
        TEXT.replace('"layer":3', '"layer":9007199254740992'),
        TEXT.replace('"engine":"test"', '"engine":"a\u202eb"'),
    ],
)
def test_claims_that_are_none(text: str, tmp_path: Path) -> None:
    assert text != TEXT
    assert reason(sealed(text, ENTRIES, BODY), tmp_path) != "accepted"


def test_entries_of_arrays(tmp_path: Path) -> None:
    good = ENTRIES["coef"]
    size = len(BODY)
    wrong: list[Any] = [
        {},
        {"coef": {**good, "shape": [10**15]}},
        {"coef": {**good, "shape": [10**400, 10**400]}},
        {"coef": {**good, "shape": [True, 2]}},
        {"coef": {**good, "shape": [2.0]}},
        {"coef": {**good, "shape": [-2]}},
        {"coef": {**good, "shape": [1, 2]}},
        {"coef": {**good, "shape": "2"}},
        {"coef": {**good, "dtype": "F32"}},
        {"coef": {**good, "dtype": []}},
        {"coef": {**good, "dtype": "I64"}},
        {"coef": {**good, "data_offsets": [0, size + 8]}},
        {"coef": {**good, "data_offsets": [-8, size - 8]}},
        {"coef": {**good, "data_offsets": [8, size]}},
        {"coef": {**good, "data_offsets": [0, size, 0]}},
        {"coef": {**good, "data_offsets": [False, size]}},
        {"coef": {**good, "more": 1}},
        {"coef": 3},
        {"COEF\n": good},
        {"coef": good, "more": {"data_offsets": [size, size], "dtype": "F64", "shape": [0]}},
        {"coef": {"data_offsets": [0, 0], "dtype": "F64", "shape": [10**18, 0]}},
    ]
    for entries in wrong:
        assert reason(sealed(TEXT, entries, BODY), tmp_path) != "accepted", entries


def test_random_json_in_the_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values: list[Any] = [None, 1, -1, 1.5, "x", "\u0000", [], {}, True, 10**30]
    for _ in range(300):
        header_value = json.loads(canonical({**ENTRIES, "__metadata__": {"format": "x", "claim": TEXT, "sha256": "y"}}))
        inner = header_value
        while isinstance(inner, dict) and inner:
            key = list(inner)[int(rng.integers(len(inner)))]
            if rng.random() < 0.4 or not isinstance(inner[key], dict):
                inner[key] = values[int(rng.integers(len(values)))]
                break
            inner = inner[key]
        assert reason(header(canonical(header_value).encode()) + BODY, tmp_path) != "accepted"


def test_the_package_shares_nothing_with_the_first_checker() -> None:
    folder = Path(exact.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name.startswith("optprobe.certificates.exact.") or name == "optprobe.errors"
                top = name.split(".")[0]
                assert own or top in {"numpy", "flint"} or top in sys.stdlib_module_names, (path, name)
