"""Notes about certificates: what this machine has verified, when and of which data. A note is no proof.

It lies beside the certificate, and whatever is not exactly a note about that certificate is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optprobe.certificates import Verdict
from optprobe.certificates.checker import Claim
from optprobe.files import write_file
from optprobe.registry.record import digests

LONGEST = 2**20
"""Bytes of a note that is read."""
_ENTRIES = {"sha256", "status", "reason", "statement", "data", "checker", "when"}


def write_note(path: Path, sha256: str, claim: Claim, verdict: Verdict) -> None:
    """Write down that a certificate was accepted or rejected, of the data that its claim is about."""
    note = {
        "sha256": sha256,
        "status": verdict.outcome,
        "reason": verdict.as_json()["reason"],
        "statement": None if verdict.statement is None else verdict.statement.as_json(),
        "data": digests(claim),
        "checker": f"optprobe {version('optprobe')}",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_file(path, json.dumps(note, indent=1, sort_keys=True, allow_nan=False))


def read_note(path: Path, sha256: str, claim: Claim) -> dict[str, Any] | None:
    """The note about this certificate; None where there is none, or a file that says anything else."""
    try:
        if path.stat().st_size > LONGEST:
            return None
        note = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if type(note) is not dict or set(note) != _ENTRIES:
        return None
    about = note["sha256"] == sha256 and note["data"] == digests(claim)
    texts = all(type(note[name]) is str for name in ("reason", "checker", "when"))
    accepted = note["status"] == "accepted" and states(note["statement"], claim)
    rejected = note["status"] == "rejected" and note["statement"] is None
    return note if about and texts and (accepted or rejected) else None


def states(statement: Any, claim: Claim) -> bool:
    """Whether a checker's statement, as JSON, is that of this claim."""
    if not isinstance(statement, Mapping) or not isinstance(statement.get("data"), Mapping):
        return False
    problem, result = claim.problem, claim.result
    claimed = {
        **{name: getattr(problem, name) for name in ("loss", "ridge", "class_weight", "k")},
        **{name: getattr(result, name) for name in ("upper_bound", "lower_bound", "tolerance")},
        "among": None if problem.among is None else len(problem.among),
        "support": list(result.support),
        "pool": None if result.pool is None else result.pool.as_json(),
    }
    same = all(statement.get(name) == value for name, value in claimed.items())
    data = statement["data"]
    proved = {name: data.get(name) for name in ("X", "weights", "moments")}
    proved["targets" if data.get("target") is True else "y"] = data.get("y")
    return same and all(proved.get(name) == value for name, value in digests(claim).items())
