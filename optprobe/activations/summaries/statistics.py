r"""Statistics of single neurons over rows that stream by: moments, extremes, a histogram, and the largest rows.

**Bins.** A histogram needs no range known beforehand: a value v lies in the bin of its sign and of the power of two
below |v|. In ascending order the bins of `BIN_NAMES` are

    v <= -2^12;  -2^(e+1) < v <= -2^e for e = 11, ..., -12;  -2^-12 < v < 0;
    v = 0 (either zero);
    0 < v < 2^-12;  2^e <= v < 2^(e+1) for e = -12, ..., 11;  2^12 <= v.

**Moments.** The mean is a sum of two floats and the sum of centred squares joins by the pairwise update of Chan, Golub
and LeVeque (1979), as in `optprobe.activations.summaries.moments`.

**Largest rows.** Value and row become one whole number of 64 bits that is larger for the larger value and, among equal
values, for the smaller row. The largest of these numbers do not depend on the order in which they are seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError

LOWEST, HIGHEST = -12, 12
"""Exponents of the smallest and the largest power of two among the edges."""
EDGES: NDArray[np.float64] = np.exp2(np.arange(LOWEST, HIGHEST + 1, dtype=np.float64))
"""Edges of |v|, in ascending order."""
_ZERO = len(EDGES) + 1
N_BINS = 2 * _ZERO + 1
_POSITIVE = (
    f"(0, 2^{LOWEST})",
    *(f"[2^{e}, 2^{e + 1})" for e in range(LOWEST, HIGHEST)),
    f"[2^{HIGHEST}, inf)",
)
_NEGATIVE = (
    f"(-2^{LOWEST}, 0)",
    *(f"(-2^{e + 1}, -2^{e}]" for e in range(LOWEST, HIGHEST)),
    f"(-inf, -2^{HIGHEST}]",
)
BIN_NAMES: tuple[str, ...] = (*reversed(_NEGATIVE), "0", *_POSITIVE)
TOP = 20
"""Rows of each neuron that are kept unless another number is asked for."""
BLOCK = 2**22
"""Values that are looked at together."""
MAX_ROWS = 2**32
_SIGN, _LOW = np.uint32(1 << 31), np.uint64(MAX_ROWS - 1)


class NeuronStatistics:
    """
    Statistics of each neuron of a layer, accumulated over rows in any order and partition.

    Counts, extremes and top rows do not depend on order and partition at all, means and variances up to rounding.

    Parameters
    ----------
    n_neurons : int
        Width of the layer.
    top : int, default=20
        Rows of each neuron that are kept.

    Attributes
    ----------
    n_rows : int
        Rows added.
    minimum, maximum : ndarray of float32, shape (n_neurons,)
        Extremes; inf and -inf without rows.
    n_positive : ndarray of int64, shape (n_neurons,)
        Rows above 0.
    histogram : ndarray of int64, shape (n_neurons, N_BINS)
        Rows in each bin of `BIN_NAMES`.

    Raises
    ------
    InputError
        If a number is not positive.
    """

    def __init__(self, n_neurons: int, top: int = TOP) -> None:
        if n_neurons < 1 or top < 1:
            raise InputError(f"there are {n_neurons} neurons and {top} top rows of each: give at least one of both")
        self.n_neurons, self.top, self.n_rows = int(n_neurons), int(top), 0
        self._mean, self._rest, self._squares = (np.zeros(n_neurons) for _ in range(3))
        self.minimum = np.full(n_neurons, np.inf, dtype=np.float32)
        self.maximum = np.full(n_neurons, -np.inf, dtype=np.float32)
        self.n_positive = np.zeros(n_neurons, dtype=np.int64)
        self.histogram = np.zeros((n_neurons, N_BINS), dtype=np.int64)
        self._keys = np.zeros((n_neurons, top), dtype=np.uint64)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each neuron; nan without rows."""
        return self._mean + self._rest if self.n_rows else np.full(self.n_neurons, np.nan)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Mean squared distance of each neuron from its mean; nan without rows."""
        return self._squares / self.n_rows if self.n_rows else np.full(self.n_neurons, np.nan)

    @property
    def fraction_positive(self) -> NDArray[np.float64]:
        """Share of the rows above 0 of each neuron; nan without rows."""
        return self.n_positive / self.n_rows if self.n_rows else np.full(self.n_neurons, np.nan)

    def top_rows(self, neuron: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """
        Return the rows at which a neuron is largest.

        Parameters
        ----------
        neuron : int
            Which.

        Returns
        -------
        rows : ndarray of int64, shape (min(top, n_rows),)
            By falling value; among equal values the smaller row is first.
        values : ndarray of float32, of the same shape
            The neuron there.

        Raises
        ------
        InputError
            If there is no such neuron.
        """
        if not 0 <= neuron < self.n_neurons:
            raise InputError(f"there is no neuron {neuron}: there are {self.n_neurons}, counted from 0")
        keys = np.sort(self._keys[neuron])[::-1][: self.n_rows]
        return (_LOW - (keys & _LOW)).astype(np.int64), _values_of(keys)

    def add(self, start_row: int, values: ArrayLike) -> None:
        """
        Add consecutive rows.

        Parameters
        ----------
        start_row : int
            Index of the first; each row is added once.
        values : array_like of float16 or float32, shape (m, n_neurons)
            The values.

        Raises
        ------
        InputError
            If shape or type does not fit, a value is not finite, or a row is beyond 2^32; nothing is added then.
        """
        given = np.asarray(values)
        if given.ndim != 2 or given.shape[1] != self.n_neurons:
            raise InputError(f"the values have the shape {given.shape}: give rows of {self.n_neurons} neurons")
        if given.dtype not in (np.float16, np.float32):
            raise InputError(f"the values are {given.dtype}: give float16 or float32, as they are kept")
        if not 0 <= start_row <= MAX_ROWS - len(given):
            raise InputError(f"rows are numbered from 0 to 2^32 - 1, not {start_row} to {start_row + len(given) - 1}")
        if not np.isfinite(given).all():
            row, neuron = np.argwhere(~np.isfinite(given))[0]
            raise InputError(f"neuron {neuron} is {given[row, neuron]} in row {start_row + row}")
        step = max(1, BLOCK // self.n_neurons)
        for start in range(0, len(given), step):
            self._add_block(start_row + start, given[start : start + step])

    def merge(self, other: NeuronStatistics) -> None:
        """
        Add all rows of other statistics, which stay as they are.

        Raises
        ------
        InputError
            If they are of another number of neurons or top rows.
        """
        if (self.n_neurons, self.top) != (other.n_neurons, other.top):
            raise InputError(
                f"the statistics are of {self.n_neurons} and {other.n_neurons} neurons, {self.top} and {other.top} "
                "top rows: merge those of the same"
            )
        self._join(other.n_rows, other._mean, other._rest, other._squares)
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)
        self.n_positive += other.n_positive
        self.histogram += other.histogram
        self._keep_largest(other._keys)

    def state(self) -> dict[str, NDArray[Any]]:
        """
        Return all numbers as arrays, for files and `from_state`.

        Top rows are `top_row` and `top_value`, shape (n_neurons, min(top, n_rows)), as `top_rows` gives them; `squares`
        is the sum of centred squares, and the mean is `mean` + `rest`.
        """
        keys = np.sort(self._keys, axis=1)[:, ::-1][:, : self.n_rows]
        return {
            "n_rows": np.array([self.n_rows]),
            "mean": self._mean,
            "rest": self._rest,
            "squares": self._squares,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "n_positive": self.n_positive,
            "histogram": self.histogram,
            "top_row": (_LOW - (keys & _LOW)).astype(np.int64),
            "top_value": _values_of(keys),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]], top: int = TOP) -> Self:
        """
        Return the statistics whose `state` this is, with as many top rows as they had.

        Raises
        ------
        InputError
            If an entry is missing, or of another type or shape.
        """
        try:
            new = cls(len(state["mean"]), top)
            new.n_rows = int(state["n_rows"][0])
            kept = new.n_neurons, min(top, new.n_rows)
            for name, expected in new.state().items():
                shape = kept if name in ("top_row", "top_value") else expected.shape
                if state[name].shape != shape or state[name].dtype != expected.dtype:
                    raise InputError(f"this is no state of statistics: {name} is {state[name].dtype} {shape}")
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"this is no state of statistics: {type(error).__name__} {error}") from error
        new._mean, new._rest, new._squares = (state[name].copy() for name in ("mean", "rest", "squares"))
        new.minimum, new.maximum = state["minimum"].copy(), state["maximum"].copy()
        new.n_positive, new.histogram = state["n_positive"].copy(), state["histogram"].copy()
        new._keys[:, : kept[1]] = _keys_of(state["top_value"], state["top_row"].astype(np.uint64))
        return new

    def __repr__(self) -> str:
        """Say in one line what is held."""
        return f"NeuronStatistics of {self.n_neurons:,} neurons over {self.n_rows:,} rows, {self.top} top rows each"

    def _add_block(self, start_row: int, values: NDArray[Any]) -> None:
        block = np.ascontiguousarray(values.T, dtype=np.float32) + np.float32(0)  # of the two zeros, the positive one
        exact = block.astype(np.float64)
        centre = exact.mean(axis=1)
        exact -= centre[:, None]
        shift = exact.mean(axis=1)
        exact -= shift[:, None]
        self._join(block.shape[1], *_two_sum(centre, shift), np.einsum("ij,ij->i", exact, exact))
        self.minimum = np.minimum(self.minimum, block.min(axis=1))
        self.maximum = np.maximum(self.maximum, block.max(axis=1))
        self.n_positive += np.count_nonzero(block > 0, axis=1)
        bins = _bins_of(block) + N_BINS * np.arange(self.n_neurons)[:, None]
        self.histogram += np.bincount(bins.ravel(), minlength=self.histogram.size).reshape(self.histogram.shape)
        rows = np.arange(start_row, start_row + block.shape[1], dtype=np.uint64)
        self._keep_largest(_keys_of(block, rows))

    def _join(
        self, n_rows: int, mean: NDArray[np.float64], rest: NDArray[np.float64], squares: NDArray[np.float64]
    ) -> None:
        """Take in the moments of other rows."""
        if n_rows == 0:
            return
        share = n_rows / (self.n_rows + n_rows)
        difference = (mean - self._mean) + (rest - self._rest)
        self._squares = self._squares + squares + self.n_rows * share * difference**2
        self._mean, self._rest = _two_sum(self._mean, self._rest + difference * share)
        self.n_rows += n_rows

    def _keep_largest(self, keys: NDArray[np.uint64]) -> None:
        """Keep the largest of the numbers kept and those given, shape (n_neurons, m)."""
        larger = np.flatnonzero(keys.max(axis=1) > self._keys.min(axis=1))
        both = np.concatenate([self._keys[larger], keys[larger]], axis=1)
        both.partition(both.shape[1] - self.top, axis=1)
        self._keys[larger] = both[:, -self.top :]


def _bins_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the bin of each value, from the exponent in its bits."""
    bits = values.view(np.uint32)
    exponent = (bits >> np.uint32(23)).astype(np.int64) & 0xFF
    size = np.clip(exponent - (126 + LOWEST), 0, len(EDGES))
    return np.where(values == 0, _ZERO, np.where(values < 0, _ZERO - 1 - size, _ZERO + 1 + size))


def _keys_of(values: NDArray[np.float32], rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the number of each value and row; greater than 0 for finite values."""
    bits = values.view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ordered.astype(np.uint64) << np.uint64(32)) | (_LOW - rows)


def _values_of(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    return np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).view(np.float32)


def _two_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rounded sum and its rounding error: together a + b exactly (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)
