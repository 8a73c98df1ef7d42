"""The certificate file: a claim about a k-sparse probe problem, its proof, and the scope in words.

The layout is that of safetensors: 8 bytes of header length, a JSON header, raw little-endian arrays. Under
``__metadata__`` stand the format, the claim (canonical JSON: sorted keys, no spaces, floats by repr) and the sha256 of
claim and arrays. Reading it executes nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.certificates import checker
from optprobe.errors import CertificateRejected, InputError


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
        """Write the file under a temporary name in the same folder, then rename it; returns the path.

        Raises `InputError` where the folder cannot be written.
        """
        from safetensors.numpy import save

        path, claim = Path(path), _canonical(self.claim)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        plain = save(arrays)
        end = 8 + int.from_bytes(plain[:8], "little")
        digest = checker.content_digest(claim, json.loads(plain[8:end]), plain[end:])
        stated = {"format": checker.FORMAT, "claim": claim, "sha256": digest}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        except OSError as error:
            raise InputError(f"the certificate {path} cannot be written: {error.strerror}") from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(save(arrays, metadata=stated))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        return path

    @property
    def sentence(self) -> str:
        """One sentence with scope and bounds, fit for a paper."""
        return _sentence(self.claim)


def verify(path: str | Path, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> checker.Verdict:
    """Check a certificate file against its data with the independent checker.

    Raises `InputError` where there is no such file.
    """
    weight = None if sample_weight is None else np.asarray(sample_weight)
    try:
        return checker.verify(str(path), np.asarray(X), np.asarray(y), weight)
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
    if result["optimal"]:
        return (
            f"Among {among}{where}, no set of {problem['k']}{feature} has a {problem['loss']} objective below "
            f"{lower:.9g}; the {neurons} {support} attain {upper:.9g} (certified optimal to {upper - lower:.1g}; "
            f"{setting}; {data['n_rows']} rows)."
        )
    gap = (upper - lower) / abs(upper) if upper else 0.0
    return (
        f"Among {among}{where}, the {neurons} {support} are the best known set of {problem['k']}{feature}, gap "
        f"{100 * gap:.1f}%: objective {upper:.9g}, certified lower bound {lower:.9g} "
        f"({setting}; {data['n_rows']} rows)."
    )
