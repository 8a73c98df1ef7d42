"""The independent checker of optprobe certificates: one folder, numpy and the standard library, nothing of the solver.

    python -m checker CERTIFICATE DATA        exit 0 accepted, 1 rejected (with the reason), 2 unusable, 3 undecided

A certificate claims, for the data with its digests, a loss, a ridge and k: the support S has F(S) <= upper, and every
set T of at most k columns has F(T) >= lower, where Z and w are functions of the data alone (`data`) and

    F(S) = min over b, b0 of  sum_i w_i loss(y_i, Z_iS b + b0) + (ridge / 2) |b|^2.

To read it in one sitting: `text`, `claim`, `file` (what is stated), `data`, `problem` (about what), `bounds`, `tree`
(one dual vector, many), `pair_sweep`, `minorant`, `dual_sweep`, `hinge_sweep` (many sets at once), `check` (all of it
in order). A file is parsed into typed objects or rejected. Whatever accepts is a comparison that is true (`require`);
overflow, division by zero and invalid operations are rejections (`limits.strict`).

The checker trusts the data and IEEE float64 (u = 2^-53, any order of summation: gamma_n = n u / (1 - n u)), and numpy's
log to a few units in the last place. Everything else is recomputed.

Upper bound: the objective at the stored coefficients, plus its rounding error.

Dual bound. For a in the domain of the conjugate l* with e = sum_i w_i a_i, let g = -sum_i w_i l*(a_i), v = Z'(w a).
Fenchel and Young on each row give, at the optimum (b, b0) of any S,
F(S) >= g + v_S'b + e b0 + (ridge/2)|b|^2 >= g - |v_S|^2 / (2 ridge) - |e| B with B >= |b0| (`intercept_bound`). Hence
for all supports of `size` columns that contain `inside` and otherwise use `free` only:

    F(S) >= g - |e| B - sum_{inside} d_j - (the size - |inside| largest d_j over free),   d_j = v_j^2 / (2 ridge).

Proof "tree": a binary tree in preorder whose leaves carry a dual vector each; a branch splits on one column (inside or
outside), a screen discards the free columns j whose bound with j forced inside reaches `lower` already. Leaves of
logistic loss with two columns missing may leave the bounds of their pairs to the checker.

Proof "sweep": nothing but the claim, or one reference fit. The checker goes through all supports itself, by theorems
that rule most of them out together, and finds a dual vector of its own for each of the others: `pair_sweep` and
`compiled` (squared loss), `dual_sweep` (logistic), `hinge_sweep` (hinge), the latter two with compiled twins for fast
checks, `compiled_dual` and `compiled_hinge`.

DATA is an .npz of rows, or a file of moments for a claim about them: `moments`.
"""

from .check import verify, verify_from_moments
from .claim import FORMAT, POOL_FORMAT, Author, Claim, Member, OfMoments, Pool, Result, Rows, Stated, Sweep, Tree
from .data import value_digest
from .file import content_digest, layout, read, read_claim
from .limits import Limits
from .moments import FileOfMoments, Moments, read_moments
from .outcome import Rejected, Undecided, Unusable
from .text import canonical, shown
from .verdict import Statement, Verdict

__all__ = [
    "FORMAT",
    "POOL_FORMAT",
    "Author",
    "Claim",
    "FileOfMoments",
    "Limits",
    "Member",
    "Moments",
    "OfMoments",
    "Pool",
    "Rejected",
    "Result",
    "Rows",
    "Stated",
    "Statement",
    "Sweep",
    "Tree",
    "Undecided",
    "Unusable",
    "Verdict",
    "canonical",
    "content_digest",
    "layout",
    "read",
    "read_claim",
    "read_moments",
    "shown",
    "value_digest",
    "verify",
    "verify_from_moments",
]
