(** The rounding of Bounds.v put together: what the comparisons of checker/tree.py accept, in floating point, is true of
    F. Supposed: nothing overflows, what is marked [fl_of] does not underflow, and g errs by what its error says (of the
    logistic loss that is a matter of the logarithm). *)
From Coq Require Import Reals List Bool Lra Psatz Lia.
From Opt Require Import Sums Duality NodeBound Tree Intercept Pool Certificate Rounding Bounds.
Import ListNotations.
Open Scope R_scope.

Section Accepted.
Variable u : R.
Hypothesis u_pos : 0 < u.
Hypothesis u_small : u <= / 64.
Variable size : nat.
Hypothesis few : INR (size + 4) * u < 1.

(** ** Of a dual vector: its value and its discounts *)
Section Vector.
Variable P : Problem.
Variable a : nat -> R.
Variable Bc : R.
Hypothesis Bc_nonneg : 0 <= Bc.

(** `_feasible`: g as summed, its error, the rest of balance, and the value. *)
Definition value_computed (value : R) := exists gc err unb a1 q a2 r,
  Rabs (gc - g P a) <= (1 - 4 * u) * err /\ 0 <= err /\ Rabs (e P a) <= (1 - 4 * u) * unb /\ 0 <= unb /\
  fl_of u (gc - err) a1 /\ fl_of u (unb * Bc) q /\ fl_of u (a1 - q) a2 /\ fl_of u (a2 - 8 * u * Rabs gc) r /\ value <= r.

Theorem value_below_g value : value_computed value -> value <= g P a - Rabs (e P a) * Bc.
Proof.
  intros (gc & err & unb & a1 & q & a2 & r & Hg & He & Hu & H0 & F1 & F2 & F3 & F4 & HV).
  pose proof (value_rounded_down u u_pos u_small gc err unb Bc a1 q a2 r He ltac:(now apply Rmult_le_pos) F1 F2 F3 F4).
  apply Rabs_le_inv in Hg.
  assert (Rabs (e P a) * Bc <= (1 - 4 * u) * unb * Bc) by (apply Rmult_le_compat_r; auto).
  lra.
Qed.

(** `_discount`: v in any order of summation, its error by the norm of a, the square rounded up. *)
Variable kappa : R.
Hypothesis kappa_nonneg : 0 <= kappa.

Definition discount_computed (j : nat) (d : R) := exists o vc G s q eta tiny q1 c,
  INR (terms o + 1) * u < 1 /\ at_most 2 o /\ computes u 0 o vc /\ exact o = v P a j /\
  absolute o = sum (fun i => Rabs (Z P i j * (w P i * a i))) (rows P) /\
  gamma u (terms o + 1) * (sqrt (kappa * W P) * sqrt (sum (fun i => w P i * (a i * a i)) (rows P))) <= G /\ 0 <= G /\
  fl_of u (Rabs vc + G) s /\ Rabs (q - s * s) <= u * (s * s) + eta /\ eta <= tiny /\ fl_of u (q + tiny) q1 /\
  fl_of u ((1 + 16 * u) / (2 * ridge P)) c /\ fl_of u (q1 * c) d.

Theorem discount_above_v j d : sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W P ->
  discount_computed j d -> v P a j * v P a j / (2 * ridge P) <= d.
Proof.
  intros HU (o & vc & G & s & q & eta & tiny & q1 & c & Hn & HM & HC & HE & HA & HG & HG0 & F1 & F2 & F3 & F4 & F5 & F6).
  apply (discount_rounded_up u u_pos u_small (v P a j) vc G (ridge P) s q eta tiny q1 c d); auto; [apply ridge_pos|].
  pose proof (v_error P a j u o vc kappa u_pos Hn HM HC HE HA kappa_nonneg HU). lra.
Qed.
End Vector.

(** ** Of a node: its bound, and that with a column forced inside *)
Variable value : nat -> R.
Variable discount : nat -> nat -> R.
Hypothesis discount_nonneg : forall c j, 0 <= discount c j.

(** `node_bound`, with the sums of the discounts in any order; np.partition gives the largest. *)
Definition bound_computed (c : nat) (nd : node) (b : R) := exists oi ot s1 s2 s k T x y,
  exact oi = sum (discount c) (inside nd) /\ exact ot = sum (discount c) (counted_top size discount c nd) /\
  (terms oi + terms ot <= size + 2)%nat /\ at_most 0 oi /\ at_most 0 ot /\ all_nonneg oi /\ all_nonneg ot /\
  computes u 0 oi s1 /\ computes u 0 ot s2 /\ fl_of u (s1 + s2) s /\
  (1 - u) ^ 2 * (1 + gamma u (size + 4)) <= k /\ fl_of u (s * k) T /\
  fl_of u (value c - T) x /\ fl_of u (Rabs (value c) + T) y /\ fl_of u (x - 4 * u * y) b.

Theorem bound_below c nd b : bound_computed c nd b -> b <= bound size value discount c nd.
Proof.
  intros (oi & ot & s1 & s2 & s & k & T & x & y & Ei & Et & HL & Mi & Mt & Ni & Nt & Ci & Ct & Hs & Hk & HT & Hx & Hy & Hb).
  pose proof (taken_rounded_up u u_pos u_small size oi ot s1 s2 s T k HL Mi Mt Ni Nt Ci Ct Hs Hk HT few) as Q.
  pose proof (exact_nonneg oi Ni). pose proof (exact_nonneg ot Nt).
  pose proof (node_bound_rounded_down u u_pos u_small (value c) T x y (4 * u * y) b ltac:(lra) Hx Hy eq_refl Hb).
  unfold bound. rewrite <- Ei, <- Et. lra.
Qed.

(** checker/tree.py: "require(bound >= lower, sentence)" *)
Theorem leaf_accepted lower c nd b : bound_computed c nd b -> lower <= b ->
  reaches size lower value discount (Some c) nd = true.
Proof.
  intros HB HL. pose proof (bound_below c nd b HB). unfold reaches, leb.
  destruct (Rle_dec lower (bound size value discount c nd)); [apply orb_true_r|lra].
Qed.

Definition forced_computed (c : nat) (nd : node) (j : nat) (forced : R) := exists b x1 x2 x3 n,
  bound_computed c nd b /\ fl_of u (Rmax (counted size discount c nd - discount c j) 0) x1 /\
  fl_of u (x1 * (1 - 4 * u)) x2 /\ fl_of u (b + x2) x3 /\ fl_of u (Rabs (value c) + Rabs b) n /\
  fl_of u (x3 - 8 * u * n) forced.

(** checker/tree.py: "return np.asarray(forced >= lower)"
    Rounding keeps signs, so the maximum of 0 and a rounded difference is the rounded maximum. *)
Theorem screen_accepted lower c nd j forced : (1 <= need size nd <= length (allowed nd))%nat ->
  forced_computed c nd j forced -> lower <= forced ->
  screened size lower value discount c nd j = true.
Proof.
  intros [H1 H2] (b & x1 & x2 & x3 & n & HB & F1 & F2 & F3 & F4 & F5) HL. pose proof (bound_below c nd b HB).
  pose proof (forced_rounded_down u u_pos u_small (value c) b (Rmax (counted size discount c nd - discount c j) 0) x1 x2
    x3 n (8 * u * n) forced (Rmax_r _ _) F1 F2 F3 F4 eq_refl F5).
  unfold screened, leb. rewrite (proj2 (Nat.leb_le _ _) H1), (proj2 (Nat.leb_le _ _) H2).
  destruct (Rle_dec lower _); [reflexivity|lra].
Qed.

(** ** A leaf as a whole: no set of its node has F below the bound that the checker compares *)
Theorem accepted_leaf P candidates (a : nat -> nat -> R) Bc kappa lower c nd b :
  (forall c, feasible P (a c)) -> 0 <= Bc -> 0 <= kappa ->
  (forall S, length S = size -> incl S candidates -> intercepts_within P Bc S) ->
  (forall j, In j candidates -> sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W P) ->
  (forall c, value_computed P (a c) Bc (value c)) ->
  (forall c j, In j candidates -> discount_computed P (a c) kappa j (discount c j)) ->
  NoDup (inside nd) -> bound_computed c nd b -> lower <= b ->
  forall S, covers size (inside nd) (allowed nd) S -> incl S candidates -> F_at_least P lower S.
Proof.
  intros Ha HB Hk HI HU HV HD NI Hb HL S HS HC.
  apply (leaf_closes P size candidates lower [] value discount) with (c := Some c) (nd := nd); auto.
  - intros c' S' NS LS CS. apply (dual_bound P candidates Bc a value discount); auto.
    + intros. now apply value_below_g.
    + intros. apply (discount_above_v P (a c0) kappa Hk); auto.
  - now apply (leaf_accepted lower c nd b).
  - intros L [].
Qed.

(** ** A claim with a pool as a whole, by trees whose comparisons are those of floating point *)
Theorem accepted_claim P candidates (a : nat -> nat -> R) Bc kappa pair_ok leaf_ok screen_out listed lower rest steps :
  (forall c, feasible P (a c)) -> 0 <= Bc -> 0 <= kappa ->
  (forall S, length S = size -> incl S candidates -> intercepts_within P Bc S) ->
  (forall j, In j candidates -> sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W P) ->
  (forall c, value_computed P (a c) Bc (value c)) ->
  (forall c j, In j candidates -> discount_computed P (a c) kappa j (discount c j)) ->
  (forall lower c nd, leaf_ok lower c nd = true -> (length (allowed nd) < need size nd)%nat \/
    exists c' b, c = Some c' /\ bound_computed c' nd b /\ lower <= b) ->
  (forall lower c nd j, screen_out lower c nd j = true -> (1 <= need size nd <= length (allowed nd))%nat /\
    exists forced, forced_computed c nd j forced /\ lower <= forced) ->
  (forall lower S, NoDup S -> length S = size -> incl S candidates -> pair_ok lower S = true -> F_at_least P lower S) ->
  NoDup candidates -> (size <= length (outside candidates listed))%nat ->
  (forall L, In L listed -> within size candidates L) -> lower <= rest ->
  (forall L, In L (listed_alone size listed) -> F_at_least P lower L) ->
  trees size candidates pair_ok leaf_ok screen_out (goals size listed lower rest) steps = true ->
  (forall T, within size candidates T -> F_at_least P lower T) /\
  (forall T, within size candidates T -> (forall L, In L listed -> ~ incl L T) -> F_at_least P rest T).
Proof.
  intros Ha HB Hk HI HU HV HD Hl Hs.
  apply (pool_certificate P size candidates Bc a value discount pair_ok leaf_ok screen_out); auto.
  - intros c. now apply value_below_g.
  - intros c j Hj. apply (discount_above_v P (a c) kappa Hk); auto.
  - intros x c nd H. destruct (Hl x c nd H) as [Q | (c' & b & -> & Q1 & Q2)].
    + unfold reaches. apply orb_true_iff. left. now apply Nat.ltb_lt.
    + now apply (leaf_accepted x c' nd b).
  - intros x c nd j H. destruct (Hs x c nd j H) as (Q1 & forced & Q3 & Q4).
    now apply (screen_accepted x c nd j forced).
Qed.
End Accepted.
