"""Cases: a certified optimum each, with the checker's verdict and every heuristic beside it, and the study of many."""

from optprobe.cases.case import Case, MethodResult, Setting, case_of, certified_case
from optprobe.cases.study import CaseStudy, Split

__all__ = ["Case", "CaseStudy", "MethodResult", "Setting", "Split", "case_of", "certified_case"]
