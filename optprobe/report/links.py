"""Where each page lies in the site: names that no feature's name can break, and that no two pages share."""

from __future__ import annotations

from collections.abc import Iterable

from optprobe.names import slug
from optprobe.report.entries import Entry, Results
from optprobe.report.html import Link


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
            found += [Link(", "), Link(entry.columns.name(neuron), to)]
        return found[1:] or [Link("none")]
