"""The certificate file as it is written, and `verify`: the independent checker on arrays or moments.

docs/certificates.md says what the file holds. Reading it is the checker's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from formulations.columns import columns_of, layer_of, layers_of
from formulations.shown import Shown, Table, facts
from formulations.validation import few_left_out
from optprobe.certificates import checker
from optprobe.certificates.checker.claim import parse_claim
from optprobe.certificates.checker.file import DTYPES
from optprobe.certificates.checker.limits import GIB, SECONDS
from optprobe.errors import CertificateRejected, InputError
from optprobe.files import write_beside, write_file


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Shown):
    """A claim and the arrays that prove it.

    Attributes
    ----------
    claim : Claim
        The data by digest, the problem, the result, the kind of proof, and what the author says besides.
    arrays : mapping of str to ndarray
        The coefficients and the proof: those of `Claim.arrays`.
    """

    claim: checker.Claim
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read a certificate; nothing of it is verified.

        Raises `CertificateRejected` where the file is truncated, altered or no certificate, `InputError` where there is
        none.
        """
        try:
            return cls(*checker.read(str(path)))
        except checker.Rejected as rejected:
            raise CertificateRejected(checker.shown(f"{path}: {rejected}")) from rejected
        except (checker.Unusable, checker.Undecided) as unusable:
            raise InputError(checker.shown(str(unusable))) from unusable

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all; the same certificate gives the same bytes. Returns the path.

        Raises `InputError` where the folder cannot be written, or the certificate is none that could be read again.
        """
        return write_file(Path(path), self.content)

    def save_beside(self, folder: str | Path) -> Path:
        """Write the file to a folder under its `file_name`, with a number where a different file has that name.

        Nothing is overwritten, and the same certificate is not written twice. Returns the path; raises as `save` does.
        """
        return write_beside(Path(folder) / self.file_name, self.content)

    @property
    def content(self) -> bytes:
        """The bytes of the file: those that `load` read, or that `save` would write.

        Raises `InputError` where the certificate is none that could be read again.
        """
        try:
            parse_claim(self.claim.text)
        except (checker.Rejected, ValueError) as rejected:
            raise InputError(f"the certificate cannot be written: {rejected}") from rejected
        layout, _ = checker.layout(self.claim)
        body = b"".join(self._stored(name, entry) for name, entry in layout.items())
        stated = {
            "claim": self.claim.text,
            "format": self.claim.form,
            "sha256": checker.content_digest(self.claim.text, layout, body),
        }
        header = checker.canonical({"__metadata__": stated, **layout}).encode()
        header += b" " * (-len(header) % 8)
        return len(header).to_bytes(8, "little") + header + body

    def _line(self) -> str:
        problem, result = self.claim.problem, self.claim.result
        columns = columns_of(self.claim.author.scope, self.claim.data.n_neurons)
        return (
            f"Certificate (not verified here): neurons [{columns.names(result.support)}], k = {problem.k}, "
            f"{problem.loss} loss, objective {result.upper_bound:.9g}, "
            f"every other set at least {result.lower_bound:.9g}"
        )

    def _table(self) -> Table:
        problem, data, author = self.claim.problem, self.claim.data, self.claim.author
        said = {"ridge": f"{problem.ridge:g}", "class weights": problem.class_weight, "proof": self.claim.proof.kind}
        size = {"rows": data.n_rows, "neurons": data.n_neurons}
        return facts({**size, **said, "engine": author.engine, "regime": author.regime, **author.scope})

    def _stored(self, name: str, entry: Mapping[str, Any]) -> bytes:
        array = np.asarray(self.arrays[name])
        if list(array.shape) != entry["shape"] or not np.can_cast(array.dtype, DTYPES[entry["dtype"]], "same_kind"):
            raise InputError(f"the array {name} is {array.dtype} of shape {array.shape}, not {entry}")
        return array.astype(DTYPES[entry["dtype"]]).tobytes()

    @property
    def file_name(self) -> str:
        """``PLACE[.BASIS].kK.LOSS.ridgeR[.balanced][.weighted][.target][.topN][.withJ][.moments][.groups][.poolM].cert``.

        PLACE is the file, or feature and layer, or layers such as ``layers0-29``; BASIS such as ``rotated0``. R has all
        digits; ``without3-7`` stands in place of ``topN`` where all columns but a few are allowed, and J are the forced
        columns, such as ``3-7``.
        """
        problem, data, scope = self.claim.problem, self.claim.data, self.claim.author.scope
        columns = columns_of(scope, data.n_neurons)
        layer = f"layer{'s' if layers_of(scope) else ''}{layer_of(scope)}".replace(", ", "_")
        place = f"{scope.get('feature')}.{layer}"
        source = str(scope["file"]).removesuffix(".npz") if scope.get("file") else place
        ridge = f"{problem.ridge:g}" if float(f"{problem.ridge:g}") == problem.ridge else repr(problem.ridge)
        basis = scope.get("basis")
        call = basis.get("call") if isinstance(basis, Mapping) else None
        places = [source, call.replace(":", "")] if isinstance(call, str) else [source]
        parts = [*(place.replace("/", "_") for place in places), f"k{problem.k}", problem.loss, f"ridge{ridge}"]
        if problem.class_weight != "none":
            parts.append(problem.class_weight)
        if isinstance(data, checker.Rows) and data.weights is not None:
            parts.append("weighted")
        if self.claim.of_target:
            parts.append("target")
        if problem.among is not None:
            without = "-".join(map(columns.name, few_left_out(problem.among, data.n_neurons)))
            parts.append(f"without{without}" if without else f"top{len(problem.among)}")
        if problem.forced:
            parts.append(f"with{'-'.join(map(columns.name, problem.forced))}")
        if isinstance(data, checker.OfMoments):
            parts.append("moments")
        if problem.groups is not None:
            parts.append("groups")
        if self.claim.result.pool is not None:
            parts.append(f"pool{len(self.claim.result.pool.sets)}")
        return ".".join(parts) + ".cert"


def verify(
    path: str | Path,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    fast: bool = False,
    exhaustive: bool = False,
    *,
    moments: checker.Moments | None = None,
    source: Mapping[str, Any] | None = None,
    time_limit: float = SECONDS,
    memory_limit: float = GIB,
) -> checker.Verdict:
    """Check a certificate file against its data, rows or moments, with the independent checker.

    Parameters
    ----------
    path : str or Path
    X, y, sample_weight : array_like, optional
        Shapes (n_rows, n_neurons), (n_rows,), (n_rows,): the rows that the claim is about; y are the labels, or the
        targets in their own units.
    fast : bool
        Let compiled twins replay sweeps of every loss, and pair leaves, not only sweeps of five and six neurons.
    exhaustive : bool
        Evaluate every set instead of checking the proof.
    moments : Moments, optional
        The moments that the claim is about.
    source : mapping, optional
        What a store's manifest says of the rows (model, layer, feature ...), to compare with the certificate's scope.
    time_limit, memory_limit : float
        Seconds and GiB; a check that does not end within them is undecided.

    Raises
    ------
    InputError
        Where there is no such file, neither rows nor moments or both, or data that are no numbers.
    """
    if not (time_limit > 0 and memory_limit > 0):
        raise InputError(f"the limits are {time_limit:g} s and {memory_limit:g} GiB: give positive numbers")
    if moments is None and (X is None or y is None):
        raise InputError("there is nothing to check the certificate against: give X and y, or moments")
    if moments is not None and any(rows is not None for rows in (X, y, sample_weight)):
        raise InputError("a claim is about rows or about moments: give X, y and sample_weight, or moments")
    if fast and exhaustive:
        raise InputError("every set is evaluated (exhaustive), and no sweep is replayed (fast): give one of the two")
    weight = None if sample_weight is None else np.asarray(sample_weight)
    limits = checker.Limits(time_limit, memory_limit * 2**30)
    try:
        with threadpool_limits(1, user_api="blas"):  # the checker has threads of its own
            if moments is not None:
                return checker.verify_from_moments(str(path), moments, fast, exhaustive, limits, source)
            return checker.verify(str(path), np.asarray(X), np.asarray(y), weight, fast, exhaustive, limits, source)
    except checker.Unusable as unusable:
        raise InputError(checker.shown(str(unusable))) from unusable


def described(value: Any) -> Any:
    """A value of a scope as a certificate can hold it: JSON, texts printable and of a limited length."""
    if isinstance(value, Mapping):
        return {described(str(name)): described(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [described(part) for part in value]
    if isinstance(value, str | Path):
        return checker.shown(str(value))[:1000]
    return json.loads(json.dumps(value, default=lambda number: number.item()))
