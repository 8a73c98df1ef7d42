"""The page of a certificate: what it proves, how to check and cite it, and what its author says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from formulations.columns import columns_of, layer_of
from optprobe.certificates import Certificate
from optprobe.certificates.checker import Claim, Member, Pool, Statement, Tree
from optprobe.certificates.citation import bibtex, sentence, swhid, without_folders
from optprobe.engines import METHODS
from optprobe.report.entries import Entry, words_of
from optprobe.report.words import DATA


@dataclass(frozen=True)
class CertificatePage:
    """
    What the page says.

    Attributes
    ----------
    sentence, bibtex, swhid : str
        As `optprobe cite` prints them.
    statement : tuple of (str, str)
        Name and text of each part of the claim.
    checker : str or None
        The checker that accepted it here, if one did.
    proof : str
        Kind and size.
    author : tuple of (str, str)
        What the author says.
    check, solve : str
        The commands that check it, and solve the problem again.
    content : bytes
        The file.
    """

    sentence: str
    bibtex: str
    swhid: str
    statement: tuple[tuple[str, str], ...]
    checker: str | None
    proof: str
    author: tuple[tuple[str, str], ...]
    check: str
    solve: str | None
    content: bytes


def certificate_page(entry: Entry, file: str) -> CertificatePage:
    """The page of an entry whose certificate is this file of the site; its file is read."""
    certificate = Certificate.load(entry.path)
    content, certified = certificate.content, entry.state == "verified"
    statement = None if entry.note is None or not certified else stated(entry.note["statement"])
    author = entry.claim.author
    said = {"engine": author.engine, "regime": author.regime, **author.scope}
    said |= {f"version of {name}": version for name, version in author.versions.items()}
    return CertificatePage(
        sentence(certificate, certified),
        bibtex(certificate, entry.sha256, certified),
        swhid(content),
        claimed(entry.claim) if statement is None else tuple(statement.rows()),
        None if entry.note is None or statement is None else str(entry.note["checker"]),
        _proof(entry.claim, len(content)),
        tuple((name, words_of(value)) for name, value in sorted(said.items())),
        f"optprobe verify {file} --data {DATA}",
        solve_command(entry.claim),
        content,
    )


def stated(statement: Mapping[str, Any]) -> Statement | None:
    """The checker's statement from the JSON of a note; None where it is not of a kind that can be printed."""
    names = {field.name for field in fields(Statement)}
    try:
        said = {name: value for name, value in statement.items() if name in names}
        pool = said.get("pool")
        if pool is not None:
            sets = (Member(tuple(one["support"]), one["intercept"], one["upper_bound"]) for one in pool["sets"])
            said["pool"] = Pool(tuple(sets), pool["rest"])
        found = Statement(**said | {name: tuple(said.get(name, ())) for name in ("without", "forced")})
        return None if not all(isinstance(text, str) for row in found.rows() for text in row) else found
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def claimed(claim: Claim) -> tuple[tuple[str, str], ...]:
    """The parts of a claim that nobody verified here, in the words of a statement."""
    problem, result, data = claim.problem, claim.result, claim.data
    columns = columns_of(without_folders(claim.author.scope), data.n_neurons)
    digests = {name: getattr(data, name, None) for name in ("X", "y", "weights", "moments")}
    unit = ", in units of the target's variance" if claim.of_target else ""
    among = "all columns" if problem.among is None else f"{len(problem.among):,} columns"
    among += f", with {columns.names(problem.forced)} in every set" if problem.forced else ""
    return (
        ("data", f"{data.n_rows:,} {data.kind} x {data.n_neurons:,} columns"),
        *((f"sha256 of {name}", value) for name, value in digests.items() if value),
        ("problem", f"{problem.loss} loss, ridge {problem.ridge:g}, class weights {problem.class_weight}{unit}"),
        ("sets", f"at most {problem.k} of {among}"),
        ("the set", f"[{columns.names(result.support)}]: F is claimed to be at most {result.upper_bound:.12g}"),
        ("all others", f"F is claimed to be at least {result.lower_bound:.12g}"),
        ("gap", f"{result.upper_bound - result.lower_bound:.3g}, tolerance {result.tolerance:g}"),
    )


def solve_command(claim: Claim) -> str | None:
    """The command that solves the problem again; None where it needs more than a feature and layer of a store."""
    scope, problem = claim.author.scope, claim.problem
    feature, layer, columns = scope.get("feature"), layer_of(scope), columns_of(scope, claim.data.n_neurons)
    layers = f"--layers {layer.replace(', ', ',')}" if columns.layers else f"--layer {layer}"
    split = scope.get("split", {"test_share": 0.3, "seed": 0})
    known = type(layer) is int or columns.layers
    if type(feature) is not str or not known or problem.among is not None or claim.data.kind != "rows":
        return None
    if split != {"test_share": 0.3, "seed": 0} or problem.groups is not None:
        return None
    engine = claim.author.engine
    method = f" --method {engine}" if engine in METHODS else ""
    force = f" --force {','.join(map(columns.name, problem.forced))}" if problem.forced else ""
    return (
        f"optprobe solve {DATA} --feature {shlex.quote(feature)} {layers} --k {problem.k} "
        f"--loss {problem.loss} --ridge {problem.ridge!r} --class-weight {problem.class_weight}{force}{method}"
    )


def _proof(claim: Claim, size: int) -> str:
    """Kind and size of a proof."""
    proof, stored = claim.proof, f"{size:,} bytes"
    box = "" if proof.box is None else ", started from one reference fit"
    if isinstance(proof, Tree):
        return f"a tree of {proof.nodes:,} nodes with {proof.duals:,} dual vectors{box}; {stored}"
    return f"a sweep: the checker goes through all sets itself{box}; {stored}"
