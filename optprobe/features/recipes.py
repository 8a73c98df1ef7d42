"""Recipes: the options of a build in a TOML file, for sources that are named once and pinned by their user."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions

_KEYS = {"name", *(field.name for field in fields(BuildOptions))}


def read_recipe(path: str | Path, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Read a recipe.

    Parameters
    ----------
    path : str or Path
        A TOML file with `name`, what is to be built, and options by the names of `BuildOptions`; `tokenizer` is the
        name of one. An empty string stands for what the user is to give.
    given : dict, optional
        Options that stand above those of the file.

    Returns
    -------
    dict
        Name and options.

    Raises
    ------
    InputError
        If the file cannot be read, has an unknown key, or something is still to be given.
    """
    path = Path(path)
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the recipe cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: the recipe is not TOML: {error}") from error
    if unknown := sorted(set(recipe) - _KEYS):
        raise InputError(f"{path}: there is no option {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    recipe |= given or {}
    for key in ("name", "source", *recipe):
        if recipe.get(key, "") == "":
            hint = "the 40-hex commit of the dataset" if key == "revision" else f"the {key}"
            raise InputError(f"{path}: {key!r} is left for you to give: write {hint} there or on the command line")
    return recipe
