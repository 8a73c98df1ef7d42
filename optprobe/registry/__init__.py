"""A registry: certificates by their sha256 in one folder, what was verified here, and an index that may be deleted."""

from optprobe.registry.checking import Finding
from optprobe.registry.registry import Records, Registry

__all__ = ["Finding", "Records", "Registry"]
