(** The conditional correlation of two columns, and the row test of `_completions` in checker/pair_sweep.py. *)
From Coq Require Import Reals List Lra Psatz.
From Opt Require Import Sums Intercept.
Open Scope R_scope.

Section Touch.
Variable Q : list nat.                       (* the neurons projected out *)
Variables lm ln_ : nat -> R.                 (* l_m, l_n: |Q| numbers each *)
Variable rho : R.                            (* rho_mn *)
Definition square l := sum (fun a => l a * l a) Q.
Definition product := sum (fun a => lm a * ln_ a) Q.
Definition d l := 1 - square l.
Hypothesis dm : 0 < d lm.
Hypothesis dn : 0 < d ln_.
Definition weight l := / sqrt (d l).
Definition touch l := sqrt (square l) * weight l.

Lemma square_nonneg l : 0 <= square l.
Proof. apply sum_nonneg. intros. apply Rle_0_sqr. Qed.

Lemma weight_pos l : 0 < d l -> 0 < weight l.
Proof. intros. apply Rinv_0_lt_compat. now apply sqrt_lt_R0. Qed.

(** w = d^-1/2 = sqrt(1 + sigma^2), sigma^2 = (1 - d) / d. *)
Lemma weight_of_touch l : 0 < d l -> weight l = sqrt (1 + touch l * touch l).
Proof.
  intros H. pose proof (weight_pos l H) as Hw. rewrite <- (sqrt_Rsqr (weight l)) by lra. f_equal. unfold Rsqr.
  unfold touch. replace (sqrt (square l) * weight l * (sqrt (square l) * weight l))
    with (sqrt (square l) * sqrt (square l) * (weight l * weight l)) by ring.
  rewrite sqrt_sqrt by apply square_nonneg.
  assert (weight l * weight l = / d l) as ->.
  { unfold weight. rewrite <- Rinv_mult. rewrite sqrt_sqrt; [reflexivity|lra]. }
  replace (square l) with (1 - d l) by (unfold d; ring). field. lra.
Qed.

(** The conditional correlation, given Q. *)
Definition rhoQ := rho * weight lm * weight ln_ - product * weight lm * weight ln_.

(** checker/pair_sweep.py: "The conditional correlation of a and b is at most |rho_ab| w_a w_b + sigma_a sigma_b in
    absolute value." *)
Theorem touch_bound : Rabs rhoQ <= Rabs rho * weight lm * weight ln_ + touch lm * touch ln_.
Proof.
  pose proof (weight_pos lm dm) as Wm. pose proof (weight_pos ln_ dn) as Wn.
  assert (Rabs product <= sqrt (square lm) * sqrt (square ln_)) as CS.
  { rewrite <- sqrt_mult by apply square_nonneg. apply abs_le_sqrt. apply cauchy_schwarz. }
  unfold rhoQ. replace (rho * weight lm * weight ln_ - product * weight lm * weight ln_)
    with (rho * (weight lm * weight ln_) + - (product * (weight lm * weight ln_))) by ring.
  eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, !Rabs_mult, (Rabs_right (weight lm)), (Rabs_right (weight ln_)) by lra.
  unfold touch. assert (0 <= weight lm * weight ln_) by (apply Rmult_le_pos; lra).
  assert (Rabs product * (weight lm * weight ln_) <= sqrt (square lm) * sqrt (square ln_) * (weight lm * weight ln_)).
  { apply Rmult_le_compat_r; auto. }
  lra.
Qed.

(** checker/pair_sweep.py: "With |rho_ab| <= cap and sigma <= S on both sides it is at most t_a = cap w_a sqrt(1 + S^2) +
    sigma_a S" *)
Theorem row_bound cap Sigma : Rabs rho <= cap -> touch ln_ <= Sigma ->
  Rabs rhoQ <= cap * weight lm * sqrt (1 + Sigma * Sigma) + touch lm * Sigma.
Proof.
  intros Hc HS. pose proof (weight_pos lm dm) as Wm. pose proof (weight_pos ln_ dn) as Wn.
  assert (0 <= touch lm) as T0. { apply Rmult_le_pos; [apply sqrt_pos|lra]. }
  assert (0 <= touch ln_) as T1. { apply Rmult_le_pos; [apply sqrt_pos|lra]. }
  assert (weight ln_ <= sqrt (1 + Sigma * Sigma)) as Hw.
  { rewrite weight_of_touch by auto. apply sqrt_le_1_alt. nra. }
  pose proof (Rabs_pos rho). eapply Rle_trans; [apply touch_bound|]. apply Rplus_le_compat.
  - apply Rmult_le_compat; try lra; try (apply Rmult_le_pos; lra). apply Rmult_le_compat_r; lra.
  - apply Rmult_le_compat_l; lra.
Qed.
End Touch.

(** A pair of two columns that are not flagged is not open; of the other one sigma <= S and |U| <= V are needed only.
    checker/pair_sweep.py: "So one end of an open pair is *flagged*: sigma > S, or |U_a| > V, or t >= 1, or U_a^2 + V^2 +
    2 t_a |U_a| V > gap (1 - t_a^2)."
    With s and theta as in checker/compiled.py. *)
Theorem row_test s t theta um un U rho : 0 <= s -> Rabs rho <= t -> s * t < 1 -> Rabs un <= U ->
  um * um + U * U + 2 * s * t * Rabs um * U <= theta * (1 - s * s * (t * t)) ->
  (um * um + un * un - 2 * s * rho * um * un) / (1 - s * s * (rho * rho)) <= theta.
Proof.
  intros Hs Hr Ht Hu H. pose proof (Rabs_pos rho) as R0. pose proof (Rabs_pos um) as U0. pose proof (Rabs_pos un) as N0.
  assert (rho * rho = Rabs rho * Rabs rho) as E1 by (rewrite <- Rabs_mult, Rabs_right; auto; apply Rle_ge, Rle_0_sqr).
  assert (un * un = Rabs un * Rabs un) as E2 by (rewrite <- Rabs_mult, Rabs_right; auto; apply Rle_ge, Rle_0_sqr).
  assert (rho * rho <= t * t) as T2 by (rewrite E1; apply Rmult_le_compat; auto).
  assert (s * s * (t * t) < 1) as S2.
  { replace (s * s * (t * t)) with (s * t * (s * t)) by ring. assert (0 <= s * t) by (apply Rmult_le_pos; lra). nra. }
  assert (s * s * (rho * rho) <= s * s * (t * t)) as S3 by (apply Rmult_le_compat_l; [apply Rle_0_sqr|auto]).
  assert (un * un <= U * U) as U2 by (rewrite E2; apply Rmult_le_compat; auto).
  assert (- (2 * s * rho * um * un) <= 2 * s * t * Rabs um * U) as C.
  { eapply Rle_trans; [apply Rle_abs|]. rewrite Rabs_Ropp, !Rabs_mult, (Rabs_right 2), (Rabs_right s) by lra.
    apply Rmult_le_compat; auto.
    - repeat apply Rmult_le_pos; lra.
    - apply Rmult_le_compat_r; auto. apply Rmult_le_compat_l; [lra|auto]. }
  assert (0 <= um * um) by apply Rle_0_sqr. assert (0 <= U * U) by apply Rle_0_sqr.
  assert (0 <= 2 * s * t * Rabs um * U) by (repeat apply Rmult_le_pos; lra).
  assert (0 <= theta) as T0.
  { destruct (Rle_dec 0 theta); auto. exfalso. assert (theta * (1 - s * s * (t * t)) < 0) by nra. lra. }
  apply Rmult_le_reg_r with (1 - s * s * (rho * rho)); [lra|].
  unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
  assert (theta * (1 - s * s * (t * t)) <= theta * (1 - s * s * (rho * rho))) by (apply Rmult_le_compat_l; lra).
  lra.
Qed.
