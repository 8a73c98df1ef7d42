"""The checker accepts by comparisons that are true: it rejects by `require` alone, never by a comparison that is true.

A comparison with NaN is false: ``if bound < lower: raise Rejected`` lets it pass, ``require(bound >= lower)`` does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from optprobe.certificates import checker

FILES = sorted(Path(checker.__file__).parent.glob("*.py"))
ORDER = ast.Lt | ast.LtE | ast.Gt | ast.GtE
ENDS = ("Rejected",)


def bare_comparisons(test: ast.expr) -> Iterator[ast.Compare]:
    """Comparisons that make a condition true by being true: not those under ``not``."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return
    if isinstance(test, ast.Compare) and any(isinstance(op, ORDER | ast.NotEq) for op in test.ops):
        yield test
    for part in ast.iter_child_nodes(test):
        if isinstance(part, ast.expr):
            yield from bare_comparisons(part)


def negated_orders(statement: ast.expr) -> Iterator[ast.UnaryOp]:
    """``not a < b`` and ``~(a < b)``, which are true of NaN."""
    for node in ast.walk(statement):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            inside = [part for part in ast.walk(node.operand) if isinstance(part, ast.Compare)]
            if any(isinstance(op, ORDER) for part in inside for op in part.ops):
                yield node


def raised(node: ast.Raise) -> str:
    called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return called.id if isinstance(called, ast.Name) else ""


def faults(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every rejection by a comparison, and of every requirement that NaN meets."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.While):
            raises = [part for each in node.body for part in ast.walk(each) if isinstance(part, ast.Raise)]
            if any(raised(part) in ENDS for part in raises):
                yield from ((part.lineno, ast.unparse(part)) for part in bare_comparisons(node.test))
        if isinstance(node, ast.IfExp) and "Rejected" in ast.unparse(node):
            yield from ((part.lineno, ast.unparse(part)) for part in bare_comparisons(node.test))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            yield from ((part.lineno, ast.unparse(part)) for part in negated_orders(node.args[0]))
        if isinstance(node, ast.Assert):
            yield from (
                (node.lineno, ast.unparse(part))
                for part in ast.walk(node.test)
                if isinstance(part, ast.Compare) and any(isinstance(op, ORDER) for op in part.ops)
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_rejects_by_positive_statements_alone(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "if bound < lower:\n    raise Rejected('no')",
        "if a and not b or c != d:\n    raise Rejected('no')",
        "while x > 1:\n    raise Rejected",
        "for s, b in found:\n    if b < lower and s:\n        raise Rejected(f'{s}')",
        "if (values > 1).any():\n    raise Rejected('no')",
        "require(not bound < lower, 'no')",
        "require((~(bounds < lower)).all(), 'no')",
        "assert bound >= lower",
    ],
)
def test_finds_what_is_not_positive(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "require(bound >= lower, 'no')",
        "if not bound >= lower:\n    raise Rejected('no')",
        "require(not stack, 'no')",
        "if size > most:\n    raise Undecided('no')",
        "require(loss != 'hinge', 'no')",
    ],
)
def test_finds_nothing_in_what_is(source: str) -> None:
    assert not list(faults(source))
