"""The words of the site and the order of its pages, in one place."""

from __future__ import annotations

from optprobe.scoring import LEVEL

PAGES = ("index", "feature", "neuron", "certificate")
"""The kinds of pages, in the order in which a reader goes through them; each has a template of its name."""
DATA = "activations"
"""What commands on the pages call the data that a certificate is about."""
WHERE = (
    f"Commands are typed in the folder of this site; {DATA} stands for the data that the certificate is about: a "
    "folder from extract or moments, or an .npz."
)
STATES = {
    "verified": ("verified", "The independent checker accepted it on the machine that made this page."),
    "unverified": (
        "NOT VERIFIED",
        "Nobody verified it on the machine that made this page: everything below is claimed only.",
    ),
    "rejected": ("NOT ACCEPTED", "THE INDEPENDENT CHECKER DOES NOT ACCEPT THIS CERTIFICATE."),
}
"""Of each state of a certificate, its name in tables and a sentence."""
MARKS = {
    "optimal": ("●", "proved optimal, verified"),
    "claimed": ("○", "optimal by its certificate, which was not verified here"),
    "gap": ("◐", "best known set, with its gap"),
    "rejected": ("✗", "certificate not accepted"),
}
"""The marks of the map."""
CAPTIONS = {
    "regret": "How much larger the objective of each heuristic's neurons is than the optimum; the digits are k, the "
    "large ones the mean over features and layers.",
    "optimal_share": "Share of the feature and layer pairs in which each heuristic finds an optimal set.",
    "held_out_f1": f"F1 on documents that no probe was fitted on; the digits are k. Lines: {LEVEL:.0%} intervals over "
    "test documents. Above the diagonal the optimum predicts better.",
    "objective": "The objective as neurons are added: {place}, where a heuristic loses most. Random neurons are left "
    "out.",
    "path_objective": "Objective against k, {layer}. Bars below the optimum reach down to the proved lower bound. "
    "Random neurons are left out.",
    "path_f1": "Held-out F1 against k, {layer}.",
    "histogram": "Values of the neuron at the words of {feature}: upwards the words with the feature, downwards those "
    "without, each as a share of its class.",
    "weights": "Weights of the neurons of its layer, and where this one is: lengths with the norm's gain, cosines, and "
    "biases with the norm's shift, where there is a norm.",
}
COUNTS = {
    "rounds": "HiGHS rounds",
    "starts_accepted": "starts accepted",
    "cuts": "cuts",
    "nodes": "nodes",
    "leaves": "leaves",
    "sets": "sets",
    "fits": "sets fitted",
}
"""What engines count, of which tables show those that there are; the first two are about the MIP solver HiGHS."""
OTHER_SETS = (
    "Counted are the sets that were found; another set can be optimal as well, so that a neuron that stands in all of "
    "them need not be indispensable."
)
POOLS = (
    "All minimal sets that are nearly as good as the optimum: no smaller part of one is as near, and whatever contains "
    "one is as good. That there is no other is proved. A neuron that stands in all of them is indispensable for sets "
    "below the bound; one that stands in some is replaceable."
)
WEIGHTS = (
    "Vectors from and into the residual stream, against those of the neurons of its layer. It speaks for the tokens "
    "whose logits an activation of 1 raises most, through the final norm's gain and the unembedding, and against those "
    "that it lowers most."
)
NO_STORE = (
    "Histogram, contexts and correlated neurons are missing: this site was made without the activations of this layer. "
    "Give them by --activations, and their texts by --dataset."
)
NO_TEXTS = "The words are missing: this site was made without the texts. Give them by --dataset."
TOP_ROWS = (
    "Rows of the store by falling value. Each token whose value the store holds has it beside it, on a ground that is "
    "darker the larger it is; the row's own token is framed. Tokens without a number are not among the rows."
)
GLOSSARY = (
    (
        "objective",
        "The weighted mean loss of the best linear probe on the chosen neurons, plus ridge / 2 times the squared "
        "length of its coefficients on standardised neurons.",
    ),
    (
        "lower bound, gap",
        "A number that the objective of no set of k neurons of the layer falls below, rounding included; and its "
        "distance from the objective of the support.",
    ),
    (
        "regret",
        "The objective of a heuristic's neurons minus that of the best support; relative: as a share of the latter.",
    ),
    ("shared", "Neurons in common with the best support. Another set can be optimal as well."),
    (
        "held-out F1",
        "F1 of the feature on test rows, whose documents no probe was fitted on; a prediction is positive above 0. Its "
        f"interval holds {LEVEL:.0%} of the resamples of the test documents.",
    ),
    (
        "optimum better by",
        "F1 of the best support minus F1 of the heuristic, with the interval on the same resamples. The optimum is "
        "that of the training objective, so it may predict worse on other documents.",
    ),
    (
        "held-out AUC",
        "Share of the pairs of a test row with the feature and one without in which the former has the larger "
        "prediction; one half is chance. It does not depend on where a prediction counts as positive.",
    ),
    (
        "interval above, below 0",
        "The cases in which that whole interval lies above 0, and those in which it lies below; by chance alone a few "
        "of a hundred would.",
    ),
)
