"""From a dataset and a model to values: the plan, the forward passes, the run, and the joining of its parts."""
