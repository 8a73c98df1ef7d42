"""What a run found, as records, figures and one page of HTML."""

from __future__ import annotations

from optprobe.report.page import write_page
from optprobe.report.summary import headline

__all__ = ["headline", "write_page"]
