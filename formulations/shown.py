"""How objects say what they are: in a line, in a small table, and in a notebook."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape

Table = Sequence[Sequence[str]]
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?%?(/\d+)?|")


class Shown(ABC):
    """An object with one line (`repr`), a line with a table below it (`str`), and the same as HTML in notebooks."""

    @abstractmethod
    def _line(self) -> str:
        """What it is, in one line."""

    @abstractmethod
    def _table(self) -> Table:
        """Rows of cells; the first has the names of the columns, empty where they need none."""

    def __repr__(self) -> str:
        return " ".join(self._line().split())

    def __str__(self) -> str:
        rows = [list(row) for row in self._table()]
        right = _numeric(rows)
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(
                cell.rjust(width) if of_numbers else cell.ljust(width)
                for cell, width, of_numbers in zip(row, widths, right)
            ).rstrip()
            for row in rows
            if any(row)
        ]
        return "\n".join([repr(self), *lines])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        styles = ["right" if of_numbers else "left" for of_numbers in _numeric([head, *body])]

        def line(tag: str, row: Iterable[str]) -> str:
            cells = (f'<{tag} style="text-align: {s}">{escape(cell)}</{tag}>' for cell, s in zip(row, styles))
            return f"<tr>{''.join(cells)}</tr>"

        heading = f"<thead>{line('th', head)}</thead>" if any(head) else ""
        rows = "".join(line("td", row) for row in body)
        return f"<p>{escape(repr(self))}</p><table>{heading}<tbody>{rows}</tbody></table>"


def facts(named: Mapping[str, object]) -> Table:
    """The table of names and values."""
    return [("", ""), *((name, str(value)) for name, value in named.items() if value is not None)]


def _numeric(rows: Table) -> list[bool]:
    """Which columns have numbers only, and so are written flush right; a first column is flush left."""
    return [i > 0 and all(_NUMBER.fullmatch(cell) for cell in column[1:]) for i, column in enumerate(zip(*rows))]
