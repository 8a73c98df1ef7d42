"""Names that others use: of files, for any text, and of hook points, as TransformerLens has them."""

from __future__ import annotations

import hashlib
import re

HOOK_NAMES = {"mlp.post": "mlp.hook_post", "mlp.pre": "mlp.hook_pre", "resid.post": "hook_resid_post"}
"""Names of the hook points in TransformerLens, below ``blocks.<layer>.``."""
PLAIN = re.compile(r"[a-z0-9][a-z0-9_]{0,59}")
"""A name that stands for itself; any other gets digits of its sha256 after a hyphen, which no plain name has."""
RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d")
"""Names that Windows gives to no file."""


def slug(name: str) -> str:
    """A file's name for any text: of small letters, digits, ``_`` and ``-``, and its own for each text."""
    if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    readable = re.sub(r"[^a-z0-9]+", "_", name.lower())[:40].strip("_")
    return f"{readable or 'x'}-{digest[:16]}"
