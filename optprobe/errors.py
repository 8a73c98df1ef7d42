"""The exceptions of the project: those of the formulations, and those of the files that optprobe writes."""

from formulations.errors import InputError, OptprobeError, UnsupportedProblem

__all__ = ["CertificateRejected", "InputError", "OptprobeError", "StoreDamaged", "UnsupportedProblem"]


class CertificateRejected(OptprobeError):
    """A statement of the certificate does not hold: the sentence says which, with both numbers."""


class StoreDamaged(OptprobeError):
    """A file of an activation store is missing, truncated or altered: the sentence names it."""
