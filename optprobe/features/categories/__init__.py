"""The categories of features, one module each, whose object `CATEGORY` the catalogue collects."""
