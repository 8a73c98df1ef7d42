"""What bounds F from below: the relaxation of a node, and the minorant of one reference fit."""
