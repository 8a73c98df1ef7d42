"""Where each page lies in the site: names that no feature's name can break, and that no two pages share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from optprobe.report.entries import Entry, Results
from optprobe.report.html import Link

PLAIN = re.compile(r"[a-z0-9][a-z0-9_]{0,59}")
"""A name that stands for itself; any other gets digits of its sha256 after a hyphen, which no plain name has."""
RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d")
"""Names that Windows gives to no file."""


def slug(name: str) -> str:
    """A file's name for any text: of small letters, digits, ``_`` and ``-``, and its own for each text."""
    if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    readable = re.sub(r"[^a-z0-9]+", "_", name.lower())[:40].strip("_")
    return f"{readable or 'x'}-{digest[:16]}"


class Links:
    """
    The paths of a site's pages, from its root.

    Parameters
    ----------
    results : Results
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.shown = {(entry.place, neuron) for entry in results.current for neuron in entry.support}

    def feature(self, feature: str) -> str:
        """The page of a feature."""
        return f"feature/{slug(feature)}.html"

    def neuron(self, place: tuple[str, str], neuron: int) -> str:
        """The page of a neuron at a source and layer."""
        source, layer = place
        several = f"{slug(source)}-" if len(self.results.sources) > 1 else ""
        return f"neuron/{several}{slug(layer)}-{neuron}.html"

    def certificate(self, entry: Entry) -> str:
        """The page of a certificate."""
        return f"certificate/{self.results.names[entry.sha256]}.html"

    def file(self, entry: Entry) -> str:
        """The certificate itself."""
        return f"certificate/{self.results.names[entry.sha256]}.cert"

    def neurons(self, entry: Entry, neurons: Iterable[int]) -> list[Link]:
        """Neurons with commas between them, each a link where it has a page."""
        found: list[Link] = []
        for neuron in neurons:
            to = self.neuron(entry.place, neuron) if (entry.place, neuron) in self.shown else None
            found += [Link(", "), Link(str(neuron), to)]
        return found[1:] or [Link("none")]
