"""Mixed-integer programs in HiGHS: the models of the literature through Pyomo, and outer approximation."""
