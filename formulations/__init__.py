"""What is solved: the k-sparse probe problem, its losses, exact fits, bounds, and models. numpy in, numbers out."""

from formulations.bounds import (
    DualPoint,
    constant_point,
    dual_point,
    dual_points,
    forced_bounds,
    light_bound,
    node_bound,
    objective_bound,
    rounding_margin,
    support_bound,
)
from formulations.errors import InputError, OptprobeError, UnsupportedProblem
from formulations.fit import Fits, fit_support, fit_supports, penalised_fit
from formulations.groups import clusters
from formulations.losses import LOSSES, Loss, loss_named
from formulations.moments import MomentProblem, Moments, moment_problem, with_rows
from formulations.origin import Origin
from formulations.problem import ProbeProblem, SparseProbeProblem, held_out_rows, sparse_probe_problem
from formulations.standardisation import Standardisation, standardisation
from formulations.validation import value_digest

__all__ = [
    "LOSSES",
    "DualPoint",
    "Fits",
    "InputError",
    "Loss",
    "MomentProblem",
    "Moments",
    "OptprobeError",
    "Origin",
    "ProbeProblem",
    "SparseProbeProblem",
    "Standardisation",
    "UnsupportedProblem",
    "clusters",
    "constant_point",
    "dual_point",
    "dual_points",
    "fit_support",
    "fit_supports",
    "forced_bounds",
    "held_out_rows",
    "light_bound",
    "loss_named",
    "moment_problem",
    "node_bound",
    "objective_bound",
    "penalised_fit",
    "rounding_margin",
    "sparse_probe_problem",
    "standardisation",
    "support_bound",
    "value_digest",
    "with_rows",
]
