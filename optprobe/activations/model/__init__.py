"""A model as it is run: loading, where its neurons are, hook points, and what identifies it."""
