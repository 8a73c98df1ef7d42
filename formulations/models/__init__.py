"""The models of the literature in Pyomo, by name; their refinement, their self-check, and their export.

Every model is a mixed-integer linear program on the mean-loss scale, and a lower bound of the optimum over the
candidates of its problem. `refine` makes it exact at one support, so the same few lines solve each of them:

    model = MODELS["perspective"].build(problem)
    while upper - lower > tolerance:
        lower = (the value a solver proves for the model)
        upper = min(upper, refine(model, support_of(model)))

docs/formulations.md writes each model as it is coded here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyomo.environ as pyo

from formulations.bounds import DualPoint, dual_point
from formulations.errors import InputError
from formulations.fit import fit_support
from formulations.losses import LOSSES
from formulations.models import big_m_hinge, cut_master, diagonal_perspective, perspective
from formulations.models.cut_master import paper_ridge
from formulations.models.frame import Floats, Ints, fix_support, place_probe, support_of, violation
from formulations.problem import SparseProbeProblem

__all__ = [
    "MODELS",
    "SUFFIXES",
    "Formulation",
    "export",
    "fix_support",
    "paper_ridge",
    "place",
    "refine",
    "support_of",
    "violation",
]

SUFFIXES = (".mps", ".lp")
"""The formats of `export`, by suffix."""


@dataclass(frozen=True)
class Formulation:
    """A model of the literature.

    Attributes
    ----------
    build : callable
        ``build(problem, points=None)`` makes the model, refined by dual points.
    add : callable
        ``add(model, points)`` adds their tangents or cuts to a model that exists.
    set_start : callable
        ``set_start(model, support, coef, intercept)`` sets the variables to one probe.
    losses : tuple of str
        The losses that the model holds.
    """

    build: Callable[..., pyo.ConcreteModel]
    add: Callable[[pyo.ConcreteModel, Iterable[DualPoint]], None]
    set_start: Callable[[pyo.ConcreteModel, Sequence[int] | Ints, Floats, float], None]
    losses: tuple[str, ...]


MODELS: dict[str, Formulation] = {
    "big_m_hinge": Formulation(big_m_hinge.big_m_hinge_model, big_m_hinge.add_tangents, place_probe, ("hinge",)),
    "perspective": Formulation(perspective.perspective_model, perspective.add_tangents, place_probe, tuple(LOSSES)),
    "diagonal_perspective": Formulation(
        diagonal_perspective.diagonal_perspective_model,
        diagonal_perspective.add_tangents,
        diagonal_perspective.place_coefficients,
        ("squared",),
    ),
    "cut_master": Formulation(
        cut_master.cut_master_model, cut_master.add_cuts, cut_master.place_objective, tuple(LOSSES)
    ),
}
"""The models by the name of their file, which is also ``model.name``."""


def refine(model: pyo.ConcreteModel, support: Sequence[int] | Ints) -> float:
    """Fit ``support`` exactly, add its dual point to the model, and return F(support).

    Afterwards the model's minimum over the same binaries is F(support), to the gap of the fit and of the solver.
    """
    problem: SparseProbeProblem = model.problem
    fit = fit_support(problem, support)
    MODELS[model.name].add(model, [dual_point(problem, fit.dual[0])])
    return float(fit.objective[0])


def place(model: pyo.ConcreteModel, support: Sequence[int] | Ints) -> float:
    """Set the model's variables to the exact fit of ``support`` and return F(support): a start for a solver.

    The self-check of a model: after it, `violation` is 0 up to rounding and the objective is F(support).
    """
    fit = fit_support(model.problem, support)
    MODELS[model.name].set_start(model, support, fit.coef[0], float(fit.intercept[0]))
    return float(fit.objective[0])


def export(model: pyo.ConcreteModel, path: str | os.PathLike[str]) -> None:
    """Write the model as ``.mps`` or ``.lp``, with its component names; the file appears complete or not at all.

    Raises `InputError` for another suffix, and where the folder does not exist.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise InputError(f"{target.name} ends in {target.suffix!r}: name a file that ends in {' or '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist: create it first")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        part = Path(folder) / target.name
        model.write(str(part), io_options={"symbolic_solver_labels": True})
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
