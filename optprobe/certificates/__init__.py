"""Certificates: the file, and the independent checker that verifies it."""

from optprobe.certificates.checker import Verdict
from optprobe.certificates.format import Certificate, verify

__all__ = ["Certificate", "Verdict", "verify"]
