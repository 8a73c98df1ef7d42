(** checker/pair_sweep.py: what closes a set in the sweep of the squared loss. *)
From Coq Require Import Reals List Permutation Lra Psatz Lia.
From Opt Require Import Sums Pairs Duality Intercept PairBound Moments.
Import ListNotations.
Open Scope R_scope.

(** A set that gains more than the gap has an open pair; so a set without one is closed, for the stored A and u. *)
Theorem closed_without_open_pair P S lower Mt ct eps Q (heavy : nat * nat -> bool) :
  the_loss P = squared -> 0 < W P -> NoDup S -> (2 <= length S)%nat -> 0 <= eps ->
  (forall i j, Mt i j = Mt j i) ->
  (forall i j, In i S -> In j S -> Rabs (M P i j - Mt i j) <= eps) ->
  (forall j, In j S -> Rabs (c P j - ct j) <= eps) ->
  let k := INR (length S) in let reach := sqrt (v0 P / ridge P) in let s := k - 1 in
  Q <= v0 P - 2 * lower - 2 * eps * sqrt k * reach - eps * k * (reach * reach) ->
  (forall q, In q (pairs S) -> heavy q = false -> admissible Mt s q) ->
  (forall q, In q (pairs S) -> heavy q = false /\ phi Mt ct s (fst q) (snd q) <= 2 * Q / k) ->
  F_at_least P lower S.
Proof.
  intros HL HW N H2 He Hsym HM Hc k reach s HQ HA HO.
  apply (stored_moments_suffice P HL HW S lower Mt ct eps Q N He HM Hc HQ).
  intros b. apply Rnot_lt_le. intros HG.
  destruct (open_pair Mt ct Hsym S b Q heavy H2 HA HG) as (q & Hq & [E | E]).
  - destruct (HO q Hq) as [E' _]. congruence.
  - destruct (HO q Hq) as [_ E']. unfold s, k in E'. lra.
Qed.

(** One column: the test of `_singles`, with its variance. *)
Lemma single m c l b : 0 < m l l -> gain_at m c [l] b <= c l * c l / m l l.
Proof.
  intros H. unfold gain_at. simpl.
  assert (0 <= (m l l * b l - c l) * (m l l * b l - c l) / m l l) as Q.
  { apply Rmult_le_pos; [apply Rle_0_sqr|]. left. now apply Rinv_0_lt_compat. }
  assert ((m l l * b l - c l) * (m l l * b l - c l) / m l l = m l l * b l * b l - 2 * (c l * b l) + c l * c l / m l l) as E
    by (field; lra).
  lra.
Qed.

(** checker/pair_sweep.py: "Sets {i, j, l} with an open pair ij: ``c_l^2 > gap d_l`` given i and j, times their squared
    determinant D^2." The set is closed where
    left^2 <= missing variance. *)
Theorem triple_test m c i j l gap b : (forall x y, m x y = m y x) -> 0 < m i i ->
  let di := m i i in let dj := m j j in let r := m i j in let ci := c i in let cj := c j in
  let D := di * dj - r * r in
  let missing := gap * D - (ci * ci * dj + cj * cj * di - 2 * r * ci * cj) in
  let variance := D * m l l - (dj * m i l * m i l + di * m j l * m j l - 2 * r * m i l * m j l) in
  let left := D * c l - (ci * dj - cj * r) * m i l - (cj * di - ci * r) * m j l in
  0 < D -> 0 < variance -> left * left <= missing * variance -> gain_at m c [i; j; l] b <= gap.
Proof.
  intros Hs Hi di dj r ci cj D missing variance left HD HV HT.
  set (m1 := fun x y => m x y - m x i * m y i / m i i). set (c1 := fun x => c x - m x i * c i / m i i).
  set (m2 := fun x y => m1 x y - m1 x j * m1 y j / m1 j j). set (c2 := fun x => c1 x - m1 x j * c1 j / m1 j j).
  assert (m1 j j = D / di) as E1. { unfold m1, D, di, dj, r. rewrite (Hs j i). field. lra. }
  assert (0 < m1 j j) as P1. { rewrite E1. apply Rdiv_lt_0_compat; auto. }
  assert (m2 l l = variance / D) as E2.
  { unfold m2. rewrite E1. unfold m1, variance. unfold D, di, dj, r in *. rewrite (Hs l i), (Hs l j), (Hs j i).
    field. split; lra. }
  assert (c2 l = left / D) as E3.
  { unfold c2. rewrite E1. unfold m1, c1, left. unfold D, di, dj, r, ci, cj in *. rewrite (Hs l i), (Hs l j), (Hs j i).
    field. split; lra. }
  assert (0 < m2 l l) as P2. { rewrite E2. apply Rdiv_lt_0_compat; auto. }
  assert (forall x y, m1 x y = m1 y x) as S1. { intros. unfold m1. rewrite (Hs x y). field. lra. }
  pose proof (project_out m c i [j; l] b Hs Hi) as Q1. fold m1 c1 in Q1.
  pose proof (project_out m1 c1 j [l] b S1 P1) as Q2. fold m2 c2 in Q2.
  pose proof (single m2 c2 l b P2) as Q3. rewrite E3, E2 in Q3.
  assert (c i * c i / m i i + c1 j * c1 j / m1 j j = gap - missing / D) as E4.
  { rewrite E1. unfold c1, missing. unfold D, di, dj, r, ci, cj in *. rewrite (Hs j i). field. split; lra. }
  assert (left / D * (left / D) / (variance / D) <= missing / D) as Q4.
  { apply Rmult_le_reg_r with (D * variance); [now apply Rmult_lt_0_compat|].
    replace (left / D * (left / D) / (variance / D) * (D * variance)) with (left * left) by (field; split; lra).
    replace (missing / D * (D * variance)) with (missing * variance) by (field; lra). exact HT. }
  lra.
Qed.
