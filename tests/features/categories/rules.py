"""What the tests of label rules share: the words of a dataset by label."""

from __future__ import annotations

from optprobe.features.dataset import FeatureDataset


def words(data: FeatureDataset, feature: str, label: int) -> list[str]:
    """The words labelled +1 (or -1) for a feature, in the order of the rows."""
    rows = [i for i in range(data.n_rows) if data.labels[feature][i] == label]
    return [data.texts[data.text[i]][data.start[i] : data.end[i]] for i in rows]


def check_real(data: FeatureDataset, absent: set[str] | None = None) -> None:
    """Every feature that the real files can give has both classes, in more than one document."""
    left_out = data.provenance.get("absent", "")
    assert set(left_out.split(", ") if left_out else ()) == (absent or set())
    for feature in data.features:
        positive, negative = data.counts[feature]
        assert positive > 0, feature
        assert negative > 0, feature
    assert len(set(data.group.tolist())) > 1
    assert data.provenance["source"]
