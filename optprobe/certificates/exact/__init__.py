"""Checks a certificate in ball arithmetic, from what docs/certificates.md says and from nothing else.

It shares no code with the first checker. Whatever decides is a comparison of balls (python-flint's ``arb``) that is
certainly true; numpy follows the float64 operations by which the page defines a problem, and makes hints.
"""

from optprobe.certificates.exact.verdict import ExactVerdict
from optprobe.certificates.exact.verify import verify_exact

__all__ = ["ExactVerdict", "verify_exact"]
