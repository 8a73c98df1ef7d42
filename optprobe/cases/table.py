"""Cases as a table: one row a case and method."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from optprobe.cases.case import Case
from optprobe.comparison import PARTS
from optprobe.scoring import NAMES


def rows_of(case: Case) -> list[dict[str, Any]]:
    """A row for each method of a case, supports as numbers with spaces between them, and no times: two runs agree."""
    stated = {
        "feature": case.feature,
        "layer": case.layer,
        "loss": case.loss,
        "ridge": case.ridge,
        "validated": bool(case.validation),
        "class_weight": case.class_weight,
        "among": case.among,
        "k": case.k,
        "n_rows": case.n_rows,
        "n_neurons": case.n_neurons,
        "n_test": case.n_test,
    }
    proved = {
        "best_support": " ".join(map(str, case.support)),
        "upper_bound": case.upper_bound,
        "lower_bound": case.lower_bound,
        "status": case.status,
        "engine": case.engine,
        "regime": case.regime,
        "certificate": case.certificate,
        "certificate_accepted": case.accepted,
    }
    return [
        {
            **stated,
            **result.record(),
            "support": " ".join(map(str, result.support)),
            "relative_regret": result.relative_regret,
            **proved,
        }
        for result in case.methods
    ]


def csv_text(cases: Sequence[Case]) -> str:
    """The rows of all cases, as `csv_of` writes them."""
    return csv_of([row for case in cases for row in rows_of(case)])


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same columns as CSV, floats so that they read back as they were; None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def parquet(cases: Sequence[Case]) -> bytes:
    """The same rows as a parquet file; columns of scores are of floats also where none is known."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    content = io.BytesIO()
    table = pa.Table.from_pylist([row for case in cases for row in rows_of(case)])
    scores = {f"{name}_{part}" for name in NAMES for part in PARTS}
    types = {field.name: pa.float64() if field.name in scores else field.type for field in table.schema}
    write_table(table.cast(pa.schema(types)), content)
    return content.getvalue()
