"""What a column of a claim is, in words, by what the author's scope says of hook point, heads and basis.

The scope is the author's: what it says in another form than it has here is not understood, and the columns are called
neurons then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Columns:
    """
    The columns of a claim.

    Parameters
    ----------
    noun : str
        What one of them is called.
    of : str
        What they are of, in words that follow "neurons" or another noun; empty where there is nothing to be said.
    head_size : int or None
        Dimensions of a head, where columns are dimensions of heads.
    """

    noun: str = "neuron"
    of: str = ""
    head_size: int | None = None

    @property
    def all(self) -> str:
        """Several of them, and what they are of."""
        return f"{self.noun}s{self.of}"

    def item(self, column: int) -> str:
        """One of them, after the noun: its number, of a head's dimension that within its head."""
        if self.head_size is None:
            return str(column)
        return f"{column % self.head_size} of head {column // self.head_size}'s output"


def columns_of(scope: Mapping[str, Any], n_columns: int) -> Columns:
    """What the columns of a claim are that has so many."""
    basis = scope.get("basis")
    if not isinstance(basis, Mapping) or type(basis.get("call")) is not str:
        return _as_extracted(scope, n_columns)
    kind, _, argument = basis["call"].partition(":")
    of, sha256 = basis.get("of"), basis.get("sha256")
    among = f" of the {of} {_as_extracted(scope, of).all}" if type(of) is int and of > 0 else ""
    if kind == "rotated":
        return Columns("column", f" of a random rotation (seed {argument}){among}")
    if kind == "principal":
        return Columns("principal component", among)
    if kind == "latents":
        known = f" (sha256 {sha256[:12]})" if type(sha256) is str else ""
        return Columns("latent", f" of dictionary {argument}{known}{among}")
    return Columns("column", f" of the basis {basis['call']}{among}")


def _as_extracted(scope: Mapping[str, Any], n_columns: int) -> Columns:
    heads = scope.get("heads")
    if type(heads) is not int or not 0 < heads <= n_columns or n_columns % heads:
        return Columns()
    return Columns("dimension", f" of {heads} attention heads' outputs", n_columns // heads)
