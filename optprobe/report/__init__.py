"""What a run found, as figures and a site of pages: overview, features, neurons and certificates."""

from __future__ import annotations

from optprobe.report.entries import Results, read_results, results_of
from optprobe.report.neuron_page import Store, Texts
from optprobe.report.site import Site, write_site
from optprobe.report.summary import headline, one_each

__all__ = ["Results", "Site", "Store", "Texts", "headline", "one_each", "read_results", "results_of", "write_site"]
