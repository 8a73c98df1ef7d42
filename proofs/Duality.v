(** docs/certificates.md, sections 1 and 5: the three losses with their conjugates, F, and the bound by one dual vector. *)
From Coq Require Import Reals List Permutation Lra Psatz Lia.
From Opt Require Import Sums.
Import ListNotations.
Open Scope R_scope.

(** A loss with a conjugate: of l*(a) = sup_f a f - loss(y, f) weak duality needs that l* is an upper bound only. *)
Record Loss := {
  loss : R -> R -> R;      (* loss y f *)
  conj : R -> R -> R;      (* l*(a), of the row with label y: conj y a *)
  dom : R -> R -> Prop;    (* its domain *)
  label : R -> Prop;       (* what y may be *)
  fenchel_young : forall y a f, label y -> dom y a -> a * f - loss y f <= conj y a }.

(** ** The three losses *)

Definition sign y := y = 1 \/ y = -1.

(** docs/certificates.md: "| squared | a y + a^2 / 2 | all a |"; of any real y. *)
Definition squared_loss y f := (y - f) * (y - f) / 2.
Definition squared_conj y a := a * y + a * a / 2.

Lemma squared_fenchel_young y a f : a * f - squared_loss y f <= squared_conj y a.
Proof. unfold squared_loss, squared_conj. assert (0 <= (a + y - f) * (a + y - f)) by apply Rle_0_sqr. lra. Qed.

(** The derivative of the loss at a fit f is f - y: the bound is attained there. *)
Lemma squared_tight y f : (f - y) * f - squared_loss y f = squared_conj y (f - y).
Proof. unfold squared_loss, squared_conj. field. Qed.

(** docs/certificates.md: "| logistic | t log t + (1 - t) log(1 - t), t = -a y | 0 <= t <= 1 |"
    Coq's ln 0 is 0, so 0 log 0 = 0. *)
Definition logistic_loss y f := ln (1 + exp (- (y * f))).
Definition negent t := t * ln t + (1 - t) * ln (1 - t).
Definition logistic_conj y a := negent (- (a * y)).
Definition unit_box y a := 0 <= - (a * y) <= 1.

Lemma ln_le_sub1 x : 0 < x -> ln x <= x - 1.
Proof. intros Hx. assert (1 + ln x <= exp (ln x)) as H by apply exp_ineq1_le. rewrite exp_ln in H by auto. lra. Qed.

Lemma ln_mono x y : 0 < x -> x <= y -> ln x <= ln y.
Proof. intros Hx [H | ->]; [left; now apply ln_increasing|right; reflexivity]. Qed.

(** Gibbs: t m' - negent t <= ln (1 + exp m'), for 0 <= t <= 1. *)
Lemma gibbs t m : 0 <= t <= 1 -> t * m - negent t <= ln (1 + exp m).
Proof.
  intros [H0 H1]. unfold negent. assert (0 < exp m) as E by apply exp_pos.
  destruct H0 as [H0 | <-].
  - destruct H1 as [H1 | ->].
    + set (s := 1 + exp m). assert (0 < s) by (unfold s; lra).
      assert (t * (m - ln t - ln s) <= exp m / s - t) as P.
      { replace (m - ln t - ln s) with (ln (exp m / (t * s))).
        2: { unfold Rdiv. rewrite ln_mult, ln_Rinv, ln_mult, ln_exp; auto with real; try lra.
             - nra.
             - apply Rinv_0_lt_compat. nra. }
        assert (ln (exp m / (t * s)) <= exp m / (t * s) - 1) as Q.
        { apply ln_le_sub1. apply Rdiv_lt_0_compat; nra. }
        replace (exp m / s - t) with (t * (exp m / (t * s) - 1)) by (field; split; lra).
        apply Rmult_le_compat_l; lra. }
      assert ((1 - t) * (- ln (1 - t) - ln s) <= 1 / s - (1 - t)) as P'.
      { replace (- ln (1 - t) - ln s) with (ln (/ ((1 - t) * s))).
        2: { rewrite ln_Rinv, ln_mult; try lra. apply Rmult_lt_0_compat; lra. }
        assert (ln (/ ((1 - t) * s)) <= / ((1 - t) * s) - 1) as Q.
        { apply ln_le_sub1. apply Rinv_0_lt_compat. apply Rmult_lt_0_compat; lra. }
        replace (1 / s - (1 - t)) with ((1 - t) * (/ ((1 - t) * s) - 1)) by (field; split; lra).
        apply Rmult_le_compat_l; lra. }
      assert (exp m / s + 1 / s = 1) by (unfold s; field; lra).
      lra.
    + replace (1 - 1) with 0 by ring. rewrite ln_1.
      assert (ln (exp m) <= ln (1 + exp m)) as Q by (apply ln_mono; lra). rewrite ln_exp in Q. lra.
  - replace (1 - 0) with 1 by ring. rewrite ln_1.
    assert (ln 1 <= ln (1 + exp m)) as Q by (apply ln_mono; lra). rewrite ln_1 in Q. lra.
Qed.

Lemma logistic_fenchel_young y a f : sign y -> unit_box y a -> a * f - logistic_loss y f <= logistic_conj y a.
Proof.
  intros Hy Ha. unfold logistic_loss, logistic_conj.
  assert (a * f = - (a * y) * (- (y * f))) as E by (destruct Hy as [-> | ->]; ring).
  rewrite E. pose proof (gibbs (- (a * y)) (- (y * f)) Ha). lra.
Qed.

(** docs/certificates.md: "| hinge | -t, t = -a y | 0 <= t <= 1 |" *)
Definition hinge_loss y f := Rmax 0 (1 - y * f).
Definition hinge_conj y a := a * y.

Lemma hinge_fenchel_young y a f : sign y -> unit_box y a -> a * f - hinge_loss y f <= hinge_conj y a.
Proof.
  unfold unit_box, hinge_loss, hinge_conj. intros Hy [H0 H1].
  set (t := - (a * y)) in *. replace (a * y) with (- t) by (unfold t; ring).
  assert (a * f = - (t * (y * f))) as -> by (unfold t; destruct Hy as [-> | ->]; ring).
  assert (0 <= Rmax 0 (1 - y * f)) by apply Rmax_l. assert (1 - y * f <= Rmax 0 (1 - y * f)) by apply Rmax_r.
  nra.
Qed.

Definition squared := Build_Loss squared_loss squared_conj (fun _ _ => True) (fun _ => True)
  (fun y a f _ _ => squared_fenchel_young y a f).
Definition logistic := Build_Loss logistic_loss logistic_conj unit_box sign logistic_fenchel_young.
Definition hinge := Build_Loss hinge_loss hinge_conj unit_box sign hinge_fenchel_young.

(** ** The problem, and weak duality *)

(** What a claim is about. [rows] is 0 .. n-1 in the documents; any list will do. *)
Record Problem := {
  the_loss : Loss;
  rows : list nat;
  w : nat -> R;
  y : nat -> R;
  Z : nat -> nat -> R;
  ridge : R;
  w_nonneg : forall i, In i rows -> 0 <= w i;
  y_label : forall i, In i rows -> label the_loss (y i);
  ridge_pos : 0 < ridge }.

Section Duality.
Variable P : Problem.
Let l := loss (the_loss P).

Definition fit (S : list nat) (b : nat -> R) (b0 : R) (i : nat) := sum (fun j => Z P i j * b j) S + b0.

(** checker/__init__.py: "sum_i w_i loss(y_i, Z_iS b + b0) + (ridge / 2) |b|^2" *)
Definition objective (S : list nat) (b : nat -> R) (b0 : R) :=
  sum (fun i => w P i * loss (the_loss P) (y P i) (fit S b b0 i)) (rows P)
  + ridge P / 2 * sum (fun j => b j * b j) S.

(** F(S) >= lower. F(S) is the greatest lower bound of the objective; that it is attained is not needed anywhere. *)
Definition F_at_least (lower : R) (S : list nat) := forall b b0, lower <= objective S b b0.

(** checker/__init__.py: "with e = sum_i w_i a_i, let g = -sum_i w_i l*(a_i), v = Z'(w a)" *)
Definition g (a : nat -> R) := - sum (fun i => w P i * conj (the_loss P) (y P i) (a i)) (rows P).
Definition v (a : nat -> R) (j : nat) := sum (fun i => Z P i j * (w P i * a i)) (rows P).
Definition e (a : nat -> R) := sum (fun i => w P i * a i) (rows P).
Definition feasible (a : nat -> R) := forall i, In i (rows P) -> dom (the_loss P) (y P i) (a i).

(** sum_i w_i a_i f_i = v_S . b + e b0 *)
Lemma exchange S a b b0 :
  sum (fun i => w P i * (a i * fit S b b0 i)) (rows P) = sum (fun j => v a j * b j) S + e a * b0.
Proof.
  unfold fit, v, e.
  rewrite (sum_ext _ (fun i => sum (fun j => b j * (Z P i j * (w P i * a i))) S + b0 * (w P i * a i))).
  - rewrite sum_plus, sum_swap, sum_scal.
    rewrite (sum_ext _ (fun j => sum (fun i => Z P i j * (w P i * a i)) (rows P) * b j)).
    + ring.
    + intros j _. rewrite sum_scal. ring.
  - intros i _. rewrite !Rmult_plus_distr_l, <- !sum_scal. f_equal; [|ring].
    apply sum_ext. intros j _. ring.
Qed.

(** checker/__init__.py: "Fenchel and Young on each row give, at the optimum (b, b0) of any S,
    F(S) >= g + v_S'b + e b0 + (ridge/2)|b|^2"; here at every point (b, b0). *)
Theorem weak_duality_at_point S a b b0 : feasible a ->
  objective S b b0 >= g a + (sum (fun j => v a j * b j) S + ridge P / 2 * sum (fun j => b j * b j) S) + e a * b0.
Proof.
  intros Ha. unfold objective, g.
  assert (sum (fun i => w P i * (a i * fit S b b0 i)) (rows P)
          <= sum (fun i => w P i * loss (the_loss P) (y P i) (fit S b b0 i)
                           + w P i * conj (the_loss P) (y P i) (a i)) (rows P)) as H.
  { apply sum_le. intros i Hi. rewrite <- Rmult_plus_distr_l.
    apply Rmult_le_compat_l; [now apply w_nonneg|].
    pose proof (fenchel_young (the_loss P) (y P i) (a i) (fit S b b0 i) (y_label P i Hi) (Ha i Hi)). lra. }
  rewrite sum_plus, exchange in H. lra.
Qed.

(** min over b of v_S'b + (ridge/2)|b|^2 is - |v_S|^2 / (2 ridge). *)
Lemma complete_square S a b :
  sum (fun j => v a j * b j) S + ridge P / 2 * sum (fun j => b j * b j) S
  >= - (sum (fun j => v a j * v a j) S / (2 * ridge P)).
Proof.
  pose proof (ridge_pos P) as Hr.
  assert (0 <= sum (fun j => (v a j + ridge P * b j) * (v a j + ridge P * b j)) S) as H.
  { apply sum_nonneg. intros. apply Rle_0_sqr. }
  rewrite (sum_ext _ (fun j => v a j * v a j + (2 * ridge P * (v a j * b j) + ridge P * ridge P * (b j * b j)))) in H
    by (intros; ring).
  rewrite !sum_plus, !sum_scal in H.
  set (X := sum (fun j => v a j * b j) S) in *. set (Y := sum (fun j => b j * b j) S) in *.
  set (V := sum (fun j => v a j * v a j) S) in *.
  assert (X + ridge P / 2 * Y + V / (2 * ridge P)
          = (V + (2 * ridge P * X + ridge P * ridge P * Y)) / (2 * ridge P)) as E by (field; lra).
  assert (0 <= (V + (2 * ridge P * X + ridge P * ridge P * Y)) / (2 * ridge P)) as Q.
  { apply Rmult_le_pos; [lra|]. left. apply Rinv_0_lt_compat. lra. }
  lra.
Qed.

(** formulations/bounds.py: "F(S) >= g(a) - sum_{j in S} d_j(a),      d_j(a) = v_j(a)^2 / (2 ridge)," *)
Theorem weak_duality S a : feasible a -> e a = 0 ->
  F_at_least (g a - sum (fun j => v a j * v a j) S / (2 * ridge P)) S.
Proof.
  intros Ha He b b0. pose proof (weak_duality_at_point S a b b0 Ha). pose proof (complete_square S a b).
  rewrite He in *. lra.
Qed.

(** checker/__init__.py: ">= g - |v_S|^2 / (2 ridge) - |e| B with B >= |b0|" *)
Theorem weak_duality_within S a B b b0 : feasible a -> Rabs b0 <= B ->
  g a - sum (fun j => v a j * v a j) S / (2 * ridge P) - Rabs (e a) * B <= objective S b b0.
Proof.
  intros Ha HB. pose proof (weak_duality_at_point S a b b0 Ha). pose proof (complete_square S a b).
  assert (- (Rabs (e a) * B) <= e a * b0).
  { assert (Rabs (e a * b0) <= Rabs (e a) * B).
    { rewrite Rabs_mult. apply Rmult_le_compat_l; [apply Rabs_pos|auto]. }
    pose proof (Rle_abs (- (e a * b0))) as Q. rewrite Rabs_Ropp in Q. lra. }
  lra.
Qed.

(** What it means that B bounds |b0| at the optimum, if no optimum is to be supposed: some point with |b0| <= B is as good
    as any given point. *)
Definition intercepts_within (B : R) (S : list nat) :=
  forall b b0, exists b' b0', Rabs b0' <= B /\ objective S b' b0' <= objective S b b0.

Theorem weak_duality_intercept S a B : feasible a -> intercepts_within B S ->
  F_at_least (g a - sum (fun j => v a j * v a j) S / (2 * ridge P) - Rabs (e a) * B) S.
Proof.
  intros Ha HB b b0. destruct (HB b b0) as (b' & b0' & H1 & H2).
  eapply Rle_trans; [apply weak_duality_within with (b := b') (b0 := b0')|]; auto.
Qed.

(** ** The set is a set: its order does not matter, and larger sets are not worse *)

Lemma objective_perm S S' b b0 : Permutation S S' -> objective S b b0 = objective S' b b0.
Proof.
  intros H. unfold objective, fit. rewrite (sum_perm _ _ _ H). f_equal.
  apply sum_ext. intros i _. now rewrite (sum_perm _ _ _ H).
Qed.

Lemma F_perm lower S S' : Permutation S S' -> F_at_least lower S -> F_at_least lower S'.
Proof. intros H Q b b0. rewrite <- (objective_perm S S' b b0 H). apply Q. Qed.

(** docs/certificates.md: "F never increases when a set grows" *)
Theorem F_monotone lower S S' : NoDup S -> NoDup S' -> incl S S' -> F_at_least lower S' -> F_at_least lower S.
Proof.
  intros N N' HI Q b b0. destruct (split_off S S' N N' HI) as (T & HP & NT & HT & _).
  set (b' := fun j => if in_dec Nat.eq_dec j S then b j else 0).
  assert (objective S' b' b0 = objective S b b0) as E; [|rewrite <- E; apply Q].
  rewrite (objective_perm _ _ _ _ HP). unfold objective, fit.
  assert (forall f : nat -> R -> R, (forall j, f j 0 = 0) ->
          sum (fun j => f j (b' j)) (S ++ T) = sum (fun j => f j (b j)) S) as K.
  { intros f Hf. rewrite sum_app.
    rewrite (sum_ext (fun j => f j (b' j)) (fun j => f j (b j)) S).
    - rewrite (sum_ext (fun j => f j (b' j)) (fun _ => 0) T).
      + rewrite sum_const. ring.
      + intros j Hj. unfold b'. destruct (in_dec Nat.eq_dec j S); [|auto]. apply HT in Hj. tauto.
    - intros j Hj. unfold b'. destruct (in_dec Nat.eq_dec j S); [auto|contradiction]. }
  f_equal.
  - apply sum_ext. intros i _. rewrite (K (fun j x => Z P i j * x)); auto. intros; ring.
  - f_equal. apply (K (fun j x => x * x)). intros; ring.
Qed.
End Duality.
