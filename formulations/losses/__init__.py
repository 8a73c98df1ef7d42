"""The three losses, by name."""

from __future__ import annotations

from formulations.errors import InputError
from formulations.losses.base import Loss
from formulations.losses.hinge import Hinge
from formulations.losses.logistic import Logistic, log_odds
from formulations.losses.squared import Squared

LOSSES: dict[str, Loss] = {loss.name: loss for loss in (Squared(), Logistic(), Hinge())}

__all__ = ["LOSSES", "Hinge", "Logistic", "Loss", "Squared", "log_odds", "loss_named"]


def loss_named(name: str) -> Loss:
    """The loss called ``name``; raises `InputError` for a name that is none of the three."""
    if name not in LOSSES:
        raise InputError(f"the loss {name!r} is unknown: use one of {', '.join(LOSSES)}")
    return LOSSES[name]
