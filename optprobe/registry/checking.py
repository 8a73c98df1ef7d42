"""What is wrong in a registry: files that are not what their names say, and certificates that contradict each other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from formulations import MomentProblem, ProbeProblem, SparseProbeProblem
from optprobe.certificates import Certificate, Verdict, verify
from optprobe.certificates.checker import Claim, Rejected, Unusable, read_claim, shown
from optprobe.errors import InputError, OptprobeError
from optprobe.files import file_digest
from optprobe.registry.folder import certificate_path, contents, note_path
from optprobe.registry.notes import read_note, write_note
from optprobe.registry.record import ID, digests, problem_key


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    sha256 : str or None
        The certificate that it is about, by the name of its file; None of a file that is none.
    kind : {"damaged", "renamed", "foreign", "unfinished", "note", "rejected", "undecided", "contradiction"}
    sentence : str
    """

    sha256: str | None
    kind: str
    sentence: str


def check(folder: Path, sample: int | None, seed: int, data: Iterable[ProbeProblem], workers: int) -> list[Finding]:
    """The findings of `optprobe.registry.Registry.check`, whose parameters these are."""
    if sample is None and seed != 0:
        raise InputError("the seed is that of a sample, and none is drawn: give a sample too")
    if sample is not None and sample < 1:
        raise InputError(f"the sample is {sample}: give a number from 1")
    if workers < 1:
        raise InputError(f"{workers} workers can check nothing: give a positive number")
    there = contents(folder)
    findings = [
        *(Finding(None, "foreign", _said(path, "is no file of a registry")) for path in sorted(there.foreign)),
        *(
            Finding(None, "unfinished", _said(path, "was never written to its end"))
            for path in sorted(there.unfinished)
        ),
    ]
    names = sorted(there.certificates)
    drawn = set(names if sample is None else random.Random(seed).sample(names, min(sample, len(names))))
    claims: dict[str, Claim] = {}
    for sha256 in names:
        read = _read(certificate_path(folder, sha256), sha256, sha256 in drawn)
        if isinstance(read, Finding):
            findings.append(read)
        else:
            claims[sha256] = read
    verdicts: dict[str, Verdict] = {}
    for problem in data:
        verdicts |= _verdicts(folder, {name: claims[name] for name in drawn & claims.keys()}, problem, workers)
    said: dict[str, str] = {}
    for sha256, claim in claims.items():
        path = note_path(folder, sha256)
        note = read_note(path, sha256, claim)
        if note is None and path.exists():
            findings.append(Finding(sha256, "note", _said(path, "is no note about that certificate, and is ignored")))
        if sha256 in verdicts:
            note = {"status": verdicts[sha256].outcome, "reason": verdicts[sha256].reason}
        if note is not None:
            said[sha256] = note["status"]
            if note["status"] != "accepted":
                sentence = shown(f"{sha256[:ID]} is {note['status']}: {note['reason']}")
                findings.append(Finding(sha256, note["status"], sentence))
    return [*findings, *_contradictions(claims, said)]


def _said(path: Path, what: str) -> str:
    return shown(f"{path} {what}")


def _read(path: Path, sha256: str, whole: bool) -> Claim | Finding:
    """The claim of a file, whose arrays and digests are looked at where the ``whole`` is read; or what is wrong."""
    try:
        claim = Certificate.load(path).claim if whole else read_claim(str(path))
        digest = file_digest(path) if whole else sha256
    except (OptprobeError, Rejected, Unusable, OSError) as error:
        return Finding(sha256, "damaged", shown(f"{path.name} is no certificate that can be read: {error}"))
    if digest != sha256:
        return Finding(sha256, "renamed", f"{path.name} holds the certificate {digest}, and its name says another")
    return claim


def _verdicts(folder: Path, claims: dict[str, Claim], problem: ProbeProblem, workers: int) -> dict[str, Verdict]:
    """The verdict on every certificate about the data of a problem; it is noted, unless it is undecided."""
    about = [sha256 for sha256, claim in sorted(claims.items()) if digests(claim) == dict(problem.digests)]
    if not about:
        raise InputError(f"none of the certificates read is about the data of {problem!r}: leave it out")
    calls = (delayed(_verdict)(certificate_path(folder, sha256), problem) for sha256 in about)
    found: dict[str, Verdict] = dict(zip(about, Parallel(n_jobs=workers)(calls)))
    for sha256, verdict in found.items():
        if verdict.outcome != "undecided":
            with suppress(InputError):  # a registry that cannot be written has no notes
                write_note(note_path(folder, sha256), sha256, claims[sha256], verdict)
    return found


def _verdict(path: Path, problem: ProbeProblem) -> Verdict:
    if isinstance(problem, MomentProblem):
        return verify(path, moments=problem.moments, fast=True)
    if not isinstance(problem, SparseProbeProblem):
        raise InputError(f"{problem!r} is no problem about rows or moments")
    return verify(path, problem.X, problem.stated_y, problem.sample_weight, fast=True)


def _contradictions(claims: dict[str, Claim], said: dict[str, str]) -> Iterator[Finding]:
    """Certificates one of whose bounds is above what another of the same problem reaches; each with the best of those.

    ``said`` is what the checker said of some of them.
    """
    groups = defaultdict(list)
    for sha256, claim in claims.items():
        groups[problem_key(claim)].append(sha256)
    for group in groups.values():
        best = sorted((upper, support, sha256) for sha256 in group for support, upper in _reached(claims[sha256]))
        for sha256 in sorted(group):
            result = claims[sha256].result
            rest = [] if result.pool is None else [(result.pool.rest, [set(one.support) for one in result.pool.sets])]
            for lower, listed in ((result.lower_bound, []), *rest):
                others = (one for one in best if not any(part <= set(one[1]) for part in listed))
                upper, support, other = next(others, (lower, (), sha256))
                if lower > upper:
                    without = " that contains none of the sets it lists" if listed else ""
                    yield Finding(
                        sha256,
                        "contradiction",
                        f"{_named(sha256, said)} says that no set{without} is below {lower:.12g}, and "
                        f"{_named(other, said)} that {list(support)} reaches {upper:.12g}: one of them is false",
                    )


def _reached(claim: Claim) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every set of a claim with its upper bound."""
    result = claim.result
    yield result.support, result.upper_bound
    for one in () if result.pool is None else result.pool.sets:
        yield one.support, one.upper_bound


def _named(sha256: str, said: dict[str, str]) -> str:
    return f"{sha256[:ID]} ({said.get(sha256, 'not verified')})"
