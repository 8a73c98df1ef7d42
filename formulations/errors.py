"""The exceptions of the project: one sentence each, saying what is wrong, where, and what to do."""


class OptprobeError(Exception):
    """Base of every exception that this project raises on purpose."""


class InputError(OptprobeError, ValueError):
    """The input cannot be used: the sentence says what is wrong, where, and what to do."""


class UnsupportedProblem(OptprobeError):
    """The problem is valid, but this engine cannot solve it: the sentence says what is missing and which engine can."""
