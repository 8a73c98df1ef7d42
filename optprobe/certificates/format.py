"""The certificate file: a claim about a k-sparse probe problem, its proof, and the scope in words.

The layout is that of safetensors: 8 bytes of header length, a JSON header, raw little-endian arrays. Under
``__metadata__`` stand the format, the claim (canonical JSON: sorted keys, no spaces, floats by repr) and the sha256 of
claim and arrays. Reading it executes nothing.
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

from optprobe.certificates import checker
from optprobe.errors import CertificateRejected, InputError
from optprobe.files import write_file

NAMES = {dtype: name for name, dtype in checker.DTYPES.items()}
"""The format's names of the types that it stores."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """A claim and the arrays that prove it.

    Attributes
    ----------
    claim : dict
        ``data`` (digests, n_rows, n_neurons), ``problem``, ``result``, ``proof``, ``scope``, ``versions``.
    arrays : dict of str to ndarray
        shift, inv_scale, coef, the weights where the rows brought their own, and the proof.
    """

    claim: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read a certificate.

        Raises `CertificateRejected` where the file is truncated or altered, `InputError` where there is none.
        """
        try:
            return cls(*checker.read(str(path)))
        except checker.Rejected as rejected:
            raise CertificateRejected(f"{path}: {rejected}") from rejected
        except checker.Unusable as unusable:
            raise InputError(str(unusable)) from unusable

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all; the same certificate gives the same bytes. Returns the path.

        Raises `InputError` where the folder cannot be written.
        """
        claim, body = _canonical(self.claim), b""
        layout: dict[str, Any] = {}
        for name, array in sorted(self.arrays.items()):
            stored = np.ascontiguousarray(array)
            end = len(body) + stored.nbytes
            layout[name] = {
                "dtype": NAMES[stored.dtype.newbyteorder("<").str],
                "shape": list(stored.shape),
                "data_offsets": [len(body), end],
            }
            body += stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes()
        stated = {
            "claim": claim,
            "format": checker.FORMAT,
            "sha256": checker.content_digest(claim, layout, body),
        }
        header = json.dumps({"__metadata__": stated, **layout}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        return write_file(Path(path), len(header).to_bytes(8, "little") + header + body)

    @property
    def file_name(self) -> str:
        """``FILE-or-FEATURE.kK.LOSS.ridgeR[.balanced][.topN][.moments].cert``."""
        problem, scope = self.claim["problem"], self.claim["scope"]
        source = Path(str(scope.get("file", ""))).stem or f"{scope.get('feature')}.layer{scope.get('layer')}"
        parts = [source, f"k{problem['k']}", problem["loss"], f"ridge{problem['ridge']:g}"]
        if problem["class_weight"] != "none":
            parts.append(problem["class_weight"])
        if problem["among"] is not None:
            parts.append(f"top{len(problem['among'])}")
        if "moments" in self.claim["data"]:
            parts.append("moments")
        return ".".join(parts) + ".cert"

    @property
    def sentence(self) -> str:
        """One sentence with scope and bounds, fit for a paper."""
        return _sentence(self.claim)


def verify(
    path: str | Path,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    fast: bool = False,
    exhaustive: bool = False,
    *,
    moments: checker.Moments | None = None,
) -> checker.Verdict:
    """Check a certificate file against its data, rows or moments, with the independent checker.

    ``fast`` lets its compiled twin replay every sweep of the squared loss, not only those of five and six neurons;
    ``exhaustive`` evaluates every set instead of checking the proof.

    Raises `InputError` where there is no such file, neither rows nor moments, or more sets than an exhaustive check
    takes on.
    """
    if moments is None and (X is None or y is None):
        raise InputError("there is nothing to check the certificate against: give X and y, or moments")
    weight = None if sample_weight is None else np.asarray(sample_weight)
    try:
        with threadpool_limits(1, user_api="blas"):  # the checker has threads of its own
            if moments is not None:
                return checker.verify_from_moments(str(path), moments, fast, exhaustive)
            return checker.verify(str(path), np.asarray(X), np.asarray(y), weight, fast, exhaustive)
    except checker.Unusable as unusable:
        raise InputError(str(unusable)) from unusable


def _canonical(claim: Mapping[str, Any]) -> str:
    return json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _sentence(claim: Mapping[str, Any]) -> str:
    data, problem, result = claim["data"], claim["problem"], claim["result"]
    scope = claim["scope"]
    neurons = "neuron" if len(result["support"]) == 1 else "neurons"
    among = f"the {data['n_neurons']} neurons"
    if problem["among"] is not None:
        among = f"these {len(problem['among'])} of {among}"
    where = "".join(
        f" of {name} {scope[name]}" if name != "model" else f" of {scope[name]}"
        for name in ("layer", "model")
        if scope.get(name) is not None
    )
    feature = f" for the feature {scope['feature']!r}" if scope.get("feature") else ""
    setting = f"{problem['loss']} loss, ridge {problem['ridge']:g}, class weights {problem['class_weight']}"
    support = ", ".join(map(str, result["support"]))
    upper, lower = result["upper_bound"], result["lower_bound"]
    rows = f"from the moments of {data['n_rows']} rows" if "moments" in data else f"{data['n_rows']} rows"
    if result["optimal"]:
        return (
            f"Among {among}{where}, no set of {problem['k']}{feature} has a {problem['loss']} objective below "
            f"{lower:.9g}; the {neurons} {support} attain {upper:.9g} (certified optimal to {upper - lower:.1g}; "
            f"{setting}; {rows})."
        )
    gap = (upper - lower) / abs(upper) if upper else 0.0
    return (
        f"Among {among}{where}, the {neurons} {support} are the best known set of {problem['k']}{feature}, gap "
        f"{100 * gap:.1f}%: objective {upper:.9g}, certified lower bound {lower:.9g} "
        f"({setting}; {rows})."
    )
