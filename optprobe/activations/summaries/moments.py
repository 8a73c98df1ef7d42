r"""Weighted second moments of activations that stream by, in float64, with a bound of their rounding error.

State of some rows: weight W, mean, and S, the weighted sum of centred squares and products, of neurons and targets
side by side. Two parts join by the pairwise update of Chan, Golub and LeVeque ("Updating formulae and a pairwise
algorithm for computing sample variances", 1979): with d the difference of the means,

    W = W_a + W_b,    mean = mean_a + d W_b / W,    S = S_a + S_b + (W_a W_b / W) d d'.

A mean is a sum of two floats, ``mean + rest``, so that an offset of a million standard deviations costs nothing: the
difference of two means keeps its relative accuracy.

**Rounding** (u = 2^-53; gamma_n = n u / (1 - n u); first-order constants are rounded up by more than what they leave
out). Let S be exact, and R_j^2 = S_jj + sum over blocks W g_j^2, g the distance of a block's mean from the point that
it was first centred at. It is claimed that |S computed - S|_ij <= u R_i R_j (c_i + c_j) / 2, that the mean errs by at
most t_j, and W by a relative w; all three are carried along:

- *A block* of n rows is centred at m0 (its mean in float64), then at g, the mean of what is left; its mean is m0 + g,
  held exactly. g errs by at most t = gamma_{2n+2} R / sqrt(W): n roundings of a sum of terms w |x - m0|, whose sum is
  at most sqrt(W) R (Cauchy and Schwarz). Each centred entry errs by at most u (2 |x - m0| + |g|), which changes S_ij
  by at most 7 u R_i R_j; the wrong mean adds W t_i t_j <= u R_i R_j; the product of n weighted terms, in any order,
  errs by gamma_{n+2} R_i R_j. Hence c = 1.05 (n + 12) and w = (n + 1) u.
- *A join.* Errors of both parts: (c R)^2 and R^2 add up (Cauchy and Schwarz), so c R becomes the root of a sum of
  squares, and the rounding of a column that was all but constant fades as soon as it varies. The computed d errs by
  tau = t_a + t_b + 3 u (|d| + |rest_a| + |rest_b|). With f = sqrt(W_a W_b / W) |d|, phi = f / R and
  psi = sqrt(W_a W_b / W) tau / R, the last term errs by R_i R_j (phi_i psi_j + psi_i phi_j + psi_i psi_j
  + (6 u + 3 w) phi_i phi_j), and ``2 phi_i psi_j <= beta phi_i^2 + psi_j^2 / beta`` for any beta; the sums err by
  3 u R_i R_j. Hence c becomes its root of squares / R, plus 3, plus (beta phi^2 + psi^2 / beta + psi^2) / u, plus
  (6 + 3 w / u) phi^2. The mean errs by the weighted mean of t_a and t_b plus (8 u + 2 w) |d| W_b / W
  + 4 u (|rest_a| + |rest_b|), b the lighter part.
- *At the end*, divided by W: 2 (u + w) relatively. So in units of standard deviations every second moment of columns
  that are not constant errs by at most ``error = 1.01 (u max c_j max R_j^2 / S_jj + 2 (u + w))``.

A block's own last term is one more row of its matrix product. One half of S is computed, in blocks of columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from formulations import InputError, Moments
from formulations.moments import CONSTANT, inverse_scale

if TYPE_CHECKING:
    import torch

U = 2.0**-53
ROWS = 2048
"""Rows of a block: memory, and the roundings of one sum."""
COLUMNS = 1024
"""Columns of a block of S: general products of blocks skip nearly half of the work, at any number of columns."""
ARRAYS = ("mean", "rest", "squares", "recentred", "mean_error", "rounding")


@dataclass(frozen=True, eq=False)
class _Part:
    """What is kept of some rows besides S; the arrays have one entry a column.

    ``mean + rest`` is the mean, ``squares`` the diagonal of S, ``recentred`` the sum of W g^2, ``mean_error`` t,
    ``rounding`` c, ``weight_error`` w.
    """

    weight: float
    weight_error: float
    mean: torch.Tensor
    rest: torch.Tensor
    squares: torch.Tensor
    recentred: torch.Tensor
    mean_error: torch.Tensor
    rounding: torch.Tensor


class GramAccumulator:
    """Accumulates weighted moments of neurons and targets over rows, in any order and partition.

    Parameters
    ----------
    n_neurons : int
    n_targets : int, default=1
        Targets of the same rows and weights.
    device : str, default="cpu"
        A torch device with float64.

    Attributes
    ----------
    n_rows : int
        Rows added, those of weight 0 included.

    Raises
    ------
    InputError
        If a number is not positive, or the device is not there or has no float64.
    """

    def __init__(self, n_neurons: int, n_targets: int = 1, device: str = "cpu") -> None:
        if n_neurons < 1 or n_targets < 1:
            raise InputError(f"there are {n_neurons} neurons and {n_targets} targets: give at least one of each")
        import torch

        try:
            torch.zeros(1, dtype=torch.float64, device=device)
        except (RuntimeError, TypeError, AssertionError) as error:
            raise InputError(f"the device {device!r} has no float64 here: use cpu") from error
        self.n_neurons, self.n_targets, self.device = int(n_neurons), int(n_targets), str(device)
        self.n_rows = 0
        self._part: _Part | None = None
        self._products: torch.Tensor | None = None

    def add(self, X: Any, Y: Any, weight: Any = None) -> None:
        """Add rows.

        Parameters
        ----------
        X : torch.Tensor or ndarray, shape (n, n_neurons)
            float16, bfloat16, float32 or float64; products are of these exact numbers in float64.
        Y : torch.Tensor or ndarray, shape (n, n_targets) or, for one target, (n,)
        weight : torch.Tensor or ndarray, shape (n,), optional
            Non-negative; 1 unless given.

        Raises
        ------
        InputError
            If shapes or types do not fit, or a number is not finite (row and column are named, rows counted from the
            first that was ever added) or a weight negative; nothing is added then.
        """
        X, Y = self._checked("X", X, self.n_neurons), self._checked("Y", Y, self.n_targets)
        if len(X) != len(Y):
            raise InputError(f"X has {len(X)} rows and Y has {len(Y)}: give one row of both for each")
        w = self._checked_weight(weight, len(X))
        for start in range(0, len(X), ROWS):
            rows = slice(start, start + ROWS)
            self._add_block(X[rows], Y[rows], w[rows])
            self.n_rows += len(w[rows])

    def merge(self, other: GramAccumulator) -> None:
        """Add all rows of another accumulator, which stays as it is.

        Raises `InputError` where it is of another number of neurons or targets.
        """
        if (self.n_neurons, self.n_targets) != (other.n_neurons, other.n_targets):
            raise InputError(
                f"the accumulators are of {self.n_neurons} and {other.n_neurons} neurons, {self.n_targets} and "
                f"{other.n_targets} targets: merge those of the same columns"
            )
        if other._part is not None and other._products is not None:
            d, factor = self._join(_moved(other._part, self.device))
            products = other._products.to(self.device)
            self._products = products.clone() if self._products is None else self._products.add_(products)
            _add_products(self._products, d[None], factor)
        self.n_rows += other.n_rows

    def state(self) -> dict[str, Any]:
        """Everything as numpy arrays and numbers, for `from_state`."""
        state: dict[str, Any] = {"n_neurons": self.n_neurons, "n_targets": self.n_targets, "n_rows": self.n_rows}
        if self._part is not None and self._products is not None:
            state |= {"weight": self._part.weight, "weight_error": self._part.weight_error}
            state |= {name: getattr(self._part, name).cpu().numpy().copy() for name in ARRAYS}
            state["products"] = self._products.cpu().numpy().copy()
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: str = "cpu") -> Self:
        """The accumulator whose `state` this is, to go on with.

        Raises `InputError` where an entry is missing or of another shape.
        """
        import torch

        try:
            new = cls(int(state["n_neurons"]), int(state["n_targets"]), device)
            new.n_rows, n = int(state["n_rows"]), new.n_neurons + new.n_targets
            if "weight" not in state:
                return new
            arrays = {name: np.array(state[name], dtype=np.float64) for name in (*ARRAYS, "products")}
            weight, weight_error = float(state["weight"]), float(state["weight_error"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no state of an accumulator: {type(error).__name__} {error}") from error
        for name, array in arrays.items():
            if array.shape != ((n, n) if name == "products" else (n,)):
                raise InputError(f"this is no state of an accumulator: {name} has the shape {array.shape}")
        tensors = {name: torch.as_tensor(array, device=device) for name, array in arrays.items()}
        new._products = tensors.pop("products")
        new._part = _Part(weight, weight_error, **tensors)
        return new

    def moments(self, target: int = 0, made: Mapping[str, Any] | None = None) -> Moments:
        """The moments of the neurons with one target, and the bound of their error.

        Parameters
        ----------
        target : int, default=0
        made : mapping, optional
            JSON values that say what the rows are; how they were accumulated is added.

        Raises
        ------
        InputError
            If there is no such target, no row of positive weight, or the target is constant.
        """
        if not 0 <= target < self.n_targets:
            raise InputError(f"there is no target {target}: there are {self.n_targets}, counted from 0")
        if self._part is None or self._products is None:
            raise InputError("no row of positive weight was added: add some first")
        part, p = self._part, self.n_neurons
        chosen = [*range(p), p + target]
        mean = (part.mean + part.rest).cpu().numpy()[chosen]
        upper = self._products.cpu().numpy()
        diagonal = np.diagonal(upper)[chosen]
        covariance = np.triu(upper[:p, :p]) / part.weight
        covariance += np.triu(covariance, 1).T
        used = inverse_scale(mean, diagonal / part.weight) > 0
        if not used[-1]:
            raise InputError(f"target {target} is constant: give rows of both classes")
        spread = 1 + float((part.recentred.cpu().numpy()[chosen][used] / diagonal[used]).max())
        rounding = float(part.rounding.cpu().numpy()[chosen][used].max())
        return Moments(
            n_rows=self.n_rows,
            mean=mean[:p],
            covariance=covariance,
            cross=upper[:p, p + target] / part.weight,
            target_mean=float(mean[p]),
            target_variance=float(diagonal[p] / part.weight),
            error=1.01 * (U * rounding * spread + 2 * (U + part.weight_error)),
            made={**(made or {}), "accumulated": {"arithmetic": "float64", "device": self.device}},
        )

    def _add_block(self, X: torch.Tensor, Y: torch.Tensor, w: torch.Tensor) -> None:
        """Centre the rows of a block twice, join it, and add its products."""
        import torch

        weight, n = float(w.sum()), len(w)
        if not weight > 0:
            return
        V = torch.cat([X.to(torch.float64), Y.to(torch.float64)], dim=1)
        centre = (w @ V) / weight
        V -= centre
        shift = (w @ V) / weight
        V -= shift
        mean, rest = _two_sum(centre, shift)
        squares, recentred = w @ (V * V), weight * shift**2
        mean_error = 1.01 * (2 * n + 2) * U * torch.sqrt((squares + recentred) / weight)
        rounding = torch.full_like(mean, 1.05 * (n + 12))
        d, factor = self._join(_Part(weight, (n + 1) * U, mean, rest, squares, recentred, mean_error, rounding))
        if self._products is None:
            self._products = torch.zeros((len(mean), len(mean)), dtype=torch.float64, device=self.device)
        _add_products(self._products, torch.cat([V, d[None]]), torch.cat([w, factor]))

    def _join(self, part: _Part) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a part in, but for its products; returns d and W_a W_b / W, shape (1,)."""
        if self._part is None:
            self._part = part
            return 0 * part.mean, part.mean.new_zeros(1)
        self._part, d, factor = _joined(self._part, part)
        return d, part.mean.new_tensor([factor])

    def _checked(self, name: str, given: Any, n_columns: int) -> torch.Tensor:
        import torch

        if isinstance(given, np.ndarray):
            given = np.require(given, requirements="W")  # torch warns of arrays that it may not write to
        values = torch.as_tensor(given, device=self.device)
        if name == "Y" and values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2 or values.shape[1] != n_columns:
            raise InputError(f"{name} has the shape {tuple(values.shape)}: give rows of {n_columns} columns")
        if not values.is_floating_point():
            if name == "X" or values.is_complex():
                raise InputError(f"{name} holds {values.dtype}: give float16, bfloat16, float32 or float64")
            values = values.to(torch.float64)
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            row, column = map(int, torch.nonzero(~finite)[0])
            raise InputError(f"{name} is {float(values[row, column])} at row {self.n_rows + row}, column {column}")
        return values

    def _checked_weight(self, given: Any, n: int) -> torch.Tensor:
        import torch

        if given is None:
            return torch.ones(n, dtype=torch.float64, device=self.device)
        w = torch.as_tensor(given, device=self.device).to(torch.float64)
        if w.shape != (n,):
            raise InputError(f"the weights have the shape {tuple(w.shape)}: give one for each of the {n} rows")
        wrong = ~torch.isfinite(w) | (w < 0)
        if bool(wrong.any()):
            row = int(torch.nonzero(wrong)[0])
            raise InputError(f"the weight of row {self.n_rows + row} is {float(w[row]):g}: weights are not negative")
        return w


def _joined(a: _Part, b: _Part) -> tuple[_Part, torch.Tensor, float]:
    """Both parts but for S, the difference of their means, and W_a W_b / W; formulas in the module's docstring."""
    import torch

    if b.weight > a.weight:
        a, b = b, a
    weight, weight_error = a.weight + b.weight, max(a.weight_error, b.weight_error) + 2 * U
    share = b.weight / weight
    factor = a.weight * share
    d, rests = (b.mean - a.mean) + (b.rest - a.rest), a.rest.abs() + b.rest.abs()
    mean, rest = _two_sum(a.mean, a.rest + d * share)
    squares, recentred = a.squares + b.squares + factor * d**2, a.recentred + b.recentred
    R = torch.sqrt(squares + recentred)
    tau = a.mean_error + b.mean_error + 3 * U * (d.abs() + rests)
    phi, psi = (torch.where(x > 0, factor**0.5 * x / R, 0.0) for x in (d.abs(), tau))
    errors = ((part.rounding**2 * (part.squares + part.recentred)) for part in (a, b))
    kept = torch.where(R > 0, torch.sqrt(sum(errors, torch.zeros_like(R))) / R, a.rounding)
    varies = CONSTANT * weight**0.5 * mean.abs() < R
    largest_phi, largest_psi = (float((x * varies).max()) for x in (phi, psi))
    beta = largest_psi / largest_phi if largest_phi > 0 < largest_psi else 1.0
    grown = (beta * phi**2 + psi**2 / beta + psi**2) / U + (6 + 3 * weight_error / U) * phi**2
    joined = _Part(
        weight,
        weight_error,
        mean,
        rest,
        squares,
        recentred,
        mean_error=(a.mean_error * (1 - share) + b.mean_error * share)
        + (8 * U + 2 * weight_error) * share * d.abs()
        + 4 * U * rests,
        rounding=kept + 3 + grown,
    )
    return joined, d, factor


def _add_products(total: torch.Tensor, V: torch.Tensor, w: torch.Tensor) -> None:
    """Add ``V' diag(w) V`` to the blocks of ``total`` on and above the diagonal."""
    weighted = V.T * w
    for start in range(0, len(total), COLUMNS):
        rows = slice(start, start + COLUMNS)
        total[rows, start:] += weighted[rows] @ V[:, start:]


def _two_sum(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rounded sum and its rounding error: together a + b exactly (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _moved(part: _Part, device: str) -> _Part:
    return replace(part, **{name: getattr(part, name).to(device) for name in ARRAYS})
