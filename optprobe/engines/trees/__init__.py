"""Branch and cut: one tree, its nodes and its leaves of pairs."""
