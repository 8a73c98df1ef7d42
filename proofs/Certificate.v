(** The claim of a certificate with a tree, from what the checker computes.
    checker/__init__.py: "every set T of at most k columns has F(T) >= lower"
    Its assumptions are listed as hypotheses; Bounds.v has the rounding of each. *)
From Coq Require Import Reals List Permutation Lra Psatz Lia.
From Opt Require Import Sums Pairs Duality NodeBound Tree Pool Intercept.
Import ListNotations.
Open Scope R_scope.

Section Certificate.
Variable P : Problem.
Variable size : nat.
Variable candidates : list nat.
Variable lower : R.

(** Columns of unit square, to the 1e-9 that `_check_unit_columns` of checker/problem.py allows. *)
Variable kappa : R.
Hypothesis kappa_nonneg : 0 <= kappa.
Hypothesis unit_columns : forall j, In j candidates ->
  sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W P.

(** The weight of the smaller class, F at the zero fit, and the checker's B = 1.01 (start / smaller + slope). *)
Variables Wmin F0 Bc : R.
Hypothesis Bc_above : F0 / Wmin + sqrt (INR size * kappa * W P / Wmin) * sqrt (2 * F0 / ridge P) <= Bc.

(** The dual vectors after `_feasible`, their values rounded down and their discounts rounded up. *)
Variable a : nat -> nat -> R.
Variable value : nat -> R.
Variable discount : nat -> nat -> R.
Hypothesis a_feasible : forall c, feasible P (a c).
Hypothesis value_below : forall c, value c <= g P (a c) - Rabs (e P (a c)) * Bc.
Hypothesis discount_above : forall c j, In j candidates -> v P (a c) j * v P (a c) j / (2 * ridge P) <= discount c j.

(** The comparisons in floating point. *)
Variable leaf_ok : option nat -> node -> bool.
Variable screen_out : nat -> node -> nat -> bool.
Hypothesis leaf_sound : forall c nd, leaf_ok c nd = true -> reaches size lower value discount c nd = true.
Hypothesis screen_sound : forall c nd j, screen_out c nd j = true -> screened size lower value discount c nd j = true.
Variable pair_ok : list nat -> bool.
Hypothesis pair_valid : forall S, NoDup S -> length S = size -> incl S candidates -> pair_ok S = true ->
  F_at_least P lower S.

Lemma dual_bound c S : incl S candidates -> intercepts_within P Bc S ->
  F_at_least P (value c - sum (discount c) S) S.
Proof.
  intros HS HI b b0. pose proof (weak_duality_intercept P S (a c) Bc (a_feasible c) HI b b0) as Q.
  assert (sum (fun j => v P (a c) j * v P (a c) j) S / (2 * ridge P) <= sum (discount c) S) as D.
  { unfold Rdiv. rewrite Rmult_comm, <- sum_scal. apply sum_le. intros j Hj. rewrite Rmult_comm.
    apply discount_above. auto. }
  pose proof (value_below c). lra.
Qed.

Lemma within_larger B B' S : B <= B' -> intercepts_within P B S -> intercepts_within P B' S.
Proof. intros H HI b b0. destruct (HI b b0) as (b' & b0' & H1 & H2). exists b', b0'. split; lra. Qed.

Section Close.
Hypothesis intercepts : forall S, length S = size -> incl S candidates -> intercepts_within P Bc S.
Variable listed : list (list nat).
Variables steps more : list step.
Hypothesis accepted : walk size listed pair_ok leaf_ok screen_out steps [Node [] candidates] = Some more.

Theorem claim_of_size S : NoDup S -> length S = size -> incl S candidates ->
  (forall L, In L listed -> ~ incl L S) -> F_at_least P lower S.
Proof.
  intros NS HL HC HF.
  apply (tree_proves P size candidates lower listed value discount) with
    (pair_ok := pair_ok) (leaf_ok := leaf_ok) (screen_out := screen_out) (steps := steps) (more := more); auto.
  intros c T NT LT CT. apply dual_bound; auto.
Qed.

Theorem claim_of_at_most S : listed = [] -> NoDup candidates -> (size <= length candidates)%nat ->
  NoDup S -> (length S <= size)%nat -> incl S candidates -> F_at_least P lower S.
Proof.
  intros HN NC HK NS HL HC. destruct (enlarge size candidates S) as (S' & N' & L' & C' & I'); auto.
  apply (F_monotone P lower S S'); auto. apply claim_of_size; auto. intros L. rewrite HN. intros [].
Qed.
End Close.

(** The intercepts of each loss. *)
Lemma intercepts_logistic : the_loss P = logistic -> 0 <= F0 -> ln 2 * W P <= F0 ->
  0 < Wmin <= class_weight P 1 -> Wmin <= class_weight P (-1) ->
  forall S, length S = size -> incl S candidates -> intercepts_within P Bc S.
Proof.
  intros HL H0 HF H1 H2 S LS CS. apply (within_larger (B P S kappa F0 Wmin)).
  { unfold B, k. rewrite LS. exact Bc_above. }
  assert (forall i, In i (rows P) -> sign (y P i)) as HY.
  { intros i Hi. pose proof (y_label P i Hi) as Q. rewrite HL in Q. exact Q. }
  apply intercept_of_classes; auto; rewrite ?HL; simpl.
  - intros. apply logistic_nonneg.
  - intros. apply logistic_linear.
  - eapply Rle_trans; [|exact HF]. unfold W. rewrite <- sum_scal. right. apply sum_ext. intros i _.
    unfold logistic_loss. rewrite Rmult_0_r, Ropp_0, exp_0. replace (1 + 1) with 2 by ring. ring.
Qed.

Lemma intercepts_hinge : the_loss P = hinge -> 0 <= F0 -> W P <= F0 ->
  0 < Wmin <= class_weight P 1 -> Wmin <= class_weight P (-1) ->
  forall S, length S = size -> incl S candidates -> intercepts_within P Bc S.
Proof.
  intros HL H0 HF H1 H2 S LS CS. apply (within_larger (B P S kappa F0 Wmin)).
  { unfold B, k. rewrite LS. exact Bc_above. }
  assert (forall i, In i (rows P) -> sign (y P i)) as HY.
  { intros i Hi. pose proof (y_label P i Hi) as Q. rewrite HL in Q. exact Q. }
  apply intercept_of_classes; auto; rewrite ?HL; simpl.
  - intros. apply hinge_nonneg.
  - intros. apply hinge_linear.
  - eapply Rle_trans; [|exact HF]. unfold W. right. apply sum_ext. intros i _.
    unfold hinge_loss. rewrite Rmult_0_r, Rminus_0_r, Rmax_right by lra. ring.
Qed.

Lemma intercepts_squared : the_loss P = squared -> F0 = W P / 2 -> 0 < W P -> 0 < Wmin <= W P / 2 ->
  (forall i, In i (rows P) -> -1 <= y P i <= 1) ->
  forall S, length S = size -> incl S candidates -> intercepts_within P Bc S.
Proof.
  intros HL HF HW HM HY S LS CS. apply (within_larger (B P S kappa F0 Wmin)).
  { unfold B, k. rewrite LS. exact Bc_above. }
  rewrite HF. apply intercept_squared; auto.
Qed.
End Certificate.

(** One statement in full, for logistic loss. *)
Theorem logistic_tree_certificate P size candidates lower kappa Wmin Bc a value discount leaf_ok screen_out pair_ok steps :
  the_loss P = logistic ->
  0 <= kappa -> (forall j, In j candidates -> sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W P) ->
  0 < Wmin <= class_weight P 1 -> Wmin <= class_weight P (-1) ->
  ln 2 * W P / Wmin + sqrt (INR size * kappa * W P / Wmin) * sqrt (2 * (ln 2 * W P) / ridge P) <= Bc ->
  (forall c, feasible P (a c)) ->
  (forall c, value c <= g P (a c) - Rabs (e P (a c)) * Bc) ->
  (forall c j, In j candidates -> v P (a c) j * v P (a c) j / (2 * ridge P) <= discount c j) ->
  (forall c nd, leaf_ok c nd = true -> reaches size lower value discount c nd = true) ->
  (forall c nd j, screen_out c nd j = true -> screened size lower value discount c nd j = true) ->
  (forall S, NoDup S -> length S = size -> incl S candidates -> pair_ok S = true -> F_at_least P lower S) ->
  walk size [] pair_ok leaf_ok screen_out steps [Node [] candidates] = Some [] ->
  NoDup candidates -> (size <= length candidates)%nat ->
  forall S, NoDup S -> (length S <= size)%nat -> incl S candidates ->
  forall b b0, lower <= objective P S b b0.
Proof.
  intros HL Hk HU HW1 HW2 HB Ha Hv Hd Hl Hs Hp HW NC HS S NS LS CS.
  assert (0 <= ln 2) by (rewrite <- ln_1; apply ln_mono; lra).
  apply (claim_of_at_most P size candidates lower Bc a value discount Ha Hv Hd leaf_ok screen_out Hl Hs pair_ok Hp)
    with (listed := []) (steps := steps) (more := []); auto.
  apply (intercepts_logistic P size candidates kappa Hk HU Wmin (ln 2 * W P) Bc HB); auto; [|lra].
  apply Rmult_le_pos; auto. apply W_nonneg.
Qed.

(** The claim of a certificate with a pool and trees, for any loss: `intercepts` is one of the lemmas above.
    checker/pool.py: "Smaller sets need no proof of their own if ``size`` allowed columns stand in no listed set" *)
Theorem pool_certificate P size candidates Bc a value discount pair_ok leaf_ok screen_out listed lower rest steps :
  (forall c, feasible P (a c)) ->
  (forall c, value c <= g P (a c) - Rabs (e P (a c)) * Bc) ->
  (forall c j, In j candidates -> v P (a c) j * v P (a c) j / (2 * ridge P) <= discount c j) ->
  (forall S, length S = size -> incl S candidates -> intercepts_within P Bc S) ->
  (forall lower c nd, leaf_ok lower c nd = true -> reaches size lower value discount c nd = true) ->
  (forall lower c nd j, screen_out lower c nd j = true -> screened size lower value discount c nd j = true) ->
  (forall lower S, NoDup S -> length S = size -> incl S candidates -> pair_ok lower S = true -> F_at_least P lower S) ->
  NoDup candidates -> (size <= length (outside candidates listed))%nat ->
  (forall L, In L listed -> within size candidates L) -> lower <= rest ->
  (forall L, In L (listed_alone size listed) -> F_at_least P lower L) ->
  trees size candidates pair_ok leaf_ok screen_out (goals size listed lower rest) steps = true ->
  (forall T, within size candidates T -> F_at_least P lower T) /\
  (forall T, within size candidates T -> (forall L, In L listed -> ~ incl L T) -> F_at_least P rest T).
Proof.
  intros Ha Hv Hd HI Hl Hs Hp NC HO HW HR Own HT.
  assert (forall g, In g (goals size listed lower rest) -> proved P size candidates g) as HG.
  { apply (trees_prove size candidates value discount pair_ok leaf_ok screen_out P) with (steps := steps); auto.
    intros c S NS LS CS. apply (dual_bound P candidates Bc a value discount Ha Hv Hd); auto. }
  split.
  - apply (lower_of_all P size candidates NC listed lower rest); auto.
    apply (Nat.le_trans _ _ _ HO). apply NoDup_incl_length; [now apply NoDup_filter|].
    intros x Hx. apply filter_In in Hx. tauto.
  - apply (rest_of_all P size candidates NC listed rest HO). apply HG. unfold goals.
    destruct (listed_alone size listed); simpl; auto.
Qed.
