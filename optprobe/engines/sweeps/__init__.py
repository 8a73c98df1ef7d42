"""All sets, one after another: the squared, logistic and hinge loss each by a theorem that leaves most of them out."""
