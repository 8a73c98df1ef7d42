"""What a run found, as records, figures and one page of HTML."""

from __future__ import annotations

from optprobe.report.case import Case, MethodResult, certified_case
from optprobe.report.page import write_page
from optprobe.report.summary import headline

__all__ = ["Case", "MethodResult", "certified_case", "headline", "write_page"]
