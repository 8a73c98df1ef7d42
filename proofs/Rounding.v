(** The a-priori error of a sum of products in any order, gamma_n times the sum of absolute terms:
    checker/__init__.py: "IEEE float64 (u = 2^-53, any order of summation: gamma_n = n u / (1 - n u))"

    The standard model, with what is usually left out: fl(x op y) = (x op y)(1 + d) + h, |d| <= u, |h| <= eta, where
    eta is half the least subnormal number, and h = 0 unless a product underflows. No overflow. *)
From Coq Require Import Reals List Lra Psatz Lia.
From Opt Require Import Sums.
Import ListNotations.
Open Scope R_scope.

Section Rounding.
Variables u eta : R.
Hypothesis u_nonneg : 0 <= u.
Hypothesis eta_nonneg : 0 <= eta.

Lemma pow_ge_1 n : 1 <= (1 + u) ^ n.
Proof. apply pow_R1_Rle. lra. Qed.

Lemma pow_mono n m : (n <= m)%nat -> (1 + u) ^ n <= (1 + u) ^ m.
Proof. intros. apply Rle_pow; [lra|auto]. Qed.

(** A way to add up: the terms may come with roundings already (1 for x_i z_i; 2 for fl(w_i a_i) z_i; 0 for a product
    that a fused multiply-add takes in exactly), and any two partial sums may be added. *)
Inductive order := Term (roundings : nat) (x : R) | Add (o1 o2 : order).

Fixpoint exact o := match o with Term _ x => x | Add a b => exact a + exact b end.
Fixpoint absolute o := match o with Term _ x => Rabs x | Add a b => absolute a + absolute b end.
Fixpoint terms o : nat := match o with Term _ _ => 1 | Add a b => terms a + terms b end.
Fixpoint roundings o : nat := match o with Term k _ => k | Add a b => S (max (roundings a) (roundings b)) end.
Fixpoint operations o : nat := match o with Term _ _ => 1 | Add a b => S (operations a + operations b) end.

(** What may be computed: by induction over the order. *)
Inductive computes : order -> R -> Prop :=
| computes_term k x v : Rabs (v - x) <= ((1 + u) ^ k - 1) * Rabs x + eta -> computes (Term k x) v
| computes_add a b va vb d h : computes a va -> computes b vb -> Rabs d <= u -> Rabs h <= eta ->
    computes (Add a b) ((va + vb) * (1 + d) + h).

Lemma absolute_bounds o : Rabs (exact o) <= absolute o.
Proof. induction o; simpl; [lra|]. eapply Rle_trans; [apply Rabs_triang|]. lra. Qed.

Theorem sum_error o v : computes o v ->
  Rabs (v - exact o) <= ((1 + u) ^ roundings o - 1) * absolute o
                        + INR (operations o) * eta * (1 + u) ^ roundings o.
Proof.
  induction 1 as [k x v H | a b va vb d h Ha IHa Hb IHb Hd Hh].
  - simpl. pose proof (pow_ge_1 k). nra.
  - change (exact (Add a b)) with (exact a + exact b). change (absolute (Add a b)) with (absolute a + absolute b).
    change (operations (Add a b)) with (S (operations a + operations b)). rewrite S_INR, plus_INR.
    change (roundings (Add a b)) with (S (max (roundings a) (roundings b))).
    set (r := max (roundings a) (roundings b)).
    set (p := (1 + u) ^ r). change ((1 + u) ^ S r) with ((1 + u) * p).
    assert (1 <= p) as Hp by apply pow_ge_1.
    assert ((1 + u) ^ roundings a <= p) as Pa by (apply pow_mono; unfold r; lia).
    assert ((1 + u) ^ roundings b <= p) as Pb by (apply pow_mono; unfold r; lia).
    pose proof (absolute_bounds a) as Aa. pose proof (absolute_bounds b) as Ab.
    pose proof (Rabs_pos (exact a)) as Ra. pose proof (Rabs_pos (exact b)) as Rb.
    set (na := INR (operations a)) in *. set (nb := INR (operations b)) in *.
    assert (0 <= na) by apply pos_INR. assert (0 <= nb) by apply pos_INR.
    assert (Rabs (va - exact a) <= (p - 1) * absolute a + na * eta * p) as Ea.
    { eapply Rle_trans; [exact IHa|]. apply Rplus_le_compat; [apply Rmult_le_compat_r; lra|].
      apply Rmult_le_compat_l; [apply Rmult_le_pos; auto|lra]. }
    assert (Rabs (vb - exact b) <= (p - 1) * absolute b + nb * eta * p) as Eb.
    { eapply Rle_trans; [exact IHb|]. apply Rplus_le_compat; [apply Rmult_le_compat_r; lra|].
      apply Rmult_le_compat_l; [apply Rmult_le_pos; auto|lra]. }
    replace ((va + vb) * (1 + d) + h - (exact a + exact b))
      with (((va - exact a) + (vb - exact b)) * (1 + d) + ((exact a + exact b) * d + h)) by ring.
    assert (Rabs (1 + d) <= 1 + u) as Hd'.
    { eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_R1. lra. }
    assert (Rabs ((exact a + exact b) * d) <= (absolute a + absolute b) * u) as E2.
    { rewrite Rabs_mult. apply Rmult_le_compat; auto; try apply Rabs_pos.
      eapply Rle_trans; [apply Rabs_triang|]. lra. }
    assert (Rabs (((va - exact a) + (vb - exact b)) * (1 + d))
            <= ((p - 1) * (absolute a + absolute b) + (na + nb) * eta * p) * (1 + u)) as E1.
    { rewrite Rabs_mult. apply Rmult_le_compat; auto; try apply Rabs_pos.
      eapply Rle_trans; [apply Rabs_triang|]. lra. }
    eapply Rle_trans; [apply Rabs_triang|]. pose proof (Rabs_triang ((exact a + exact b) * d) h) as E3.
    assert (eta <= eta * ((1 + u) * p)) by (rewrite <- (Rmult_1_r eta) at 1; apply Rmult_le_compat_l; [auto|nra]).
    nra.
Qed.

(** Each of n terms meets at most n - 1 additions, in any order. *)
Fixpoint at_most (k : nat) o : Prop :=
  match o with Term j _ => (j <= k)%nat | Add a b => at_most k a /\ at_most k b end.

Lemma terms_pos o : (1 <= terms o)%nat.
Proof. induction o; simpl; lia. Qed.

Lemma roundings_le k o : at_most k o -> (roundings o + 1 <= terms o + k)%nat.
Proof.
  induction o as [j x | a IHa b IHb]; simpl; [lia|]. intros [Ha Hb]. specialize (IHa Ha). specialize (IHb Hb).
  pose proof (terms_pos a). pose proof (terms_pos b). lia.
Qed.

(** gamma_n is above (1 + u)^n - 1. *)
Definition gamma (n : nat) := INR n * u / (1 - INR n * u).

Lemma bernoulli n : u <= 1 -> 1 - INR n * u <= (1 - u) ^ n.
Proof.
  intros H1. induction n as [|n IH]; [simpl; lra|]. rewrite S_INR. change ((1 - u) ^ S n) with ((1 - u) * (1 - u) ^ n).
  pose proof (pos_INR n). assert (0 <= INR n * u) by (apply Rmult_le_pos; auto). nra.
Qed.

Theorem gamma_above n : INR n * u < 1 -> (1 + u) ^ n - 1 <= gamma n.
Proof.
  intros H. destruct n as [|n]; [unfold gamma; simpl; lra|].
  assert (u < 1) as Hu.
  { rewrite S_INR in H. pose proof (pos_INR n). assert (0 <= INR n * u) by (apply Rmult_le_pos; auto). lra. }
  set (N := S n) in *. pose proof (bernoulli N (Rlt_le _ _ Hu)) as B.
  assert ((1 + u) ^ N * (1 - u) ^ N <= 1) as Q.
  { rewrite <- Rpow_mult_distr. replace ((1 + u) * (1 - u)) with (1 - u * u) by ring.
    apply Rle_trans with (1 ^ N); [apply pow_incr; split; nra | rewrite pow1; lra]. }
  pose proof (pow_ge_1 N) as P1.
  assert ((1 + u) ^ N * (1 - INR N * u) <= 1) as K.
  { eapply Rle_trans; [|exact Q]. apply Rmult_le_compat_l; lra. }
  unfold gamma. apply Rmult_le_reg_r with (1 - INR N * u); [lra|].
  unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. lra.
Qed.

(** A dot product of n terms, in any order, with or without fused multiply-add: gamma_n times the sum of absolute
    terms, and what underflow may add. *)
Theorem dot_error o v : at_most 1 o -> computes o v -> INR (terms o) * u < 1 ->
  Rabs (v - exact o) <= gamma (terms o) * absolute o + INR (operations o) * eta * (1 + gamma (terms o)).
Proof.
  intros H1 Hc Hn. pose proof (sum_error o v Hc) as E. pose proof (roundings_le 1 o H1) as L.
  pose proof (gamma_above _ Hn) as G. assert ((1 + u) ^ roundings o <= (1 + u) ^ terms o) as M by (apply pow_mono; lia).
  assert (0 <= absolute o) as A0. { eapply Rle_trans; [apply Rabs_pos|apply absolute_bounds]. }
  eapply Rle_trans; [exact E|]. apply Rplus_le_compat; [apply Rmult_le_compat_r; lra|].
  apply Rmult_le_compat_l; [apply Rmult_le_pos; [apply pos_INR|auto]|lra].
Qed.

(** v_j = sum_i Z_ij fl(w_i a_i): one rounding more. *)
Theorem product_error o v : at_most 2 o -> computes o v -> INR (terms o + 1) * u < 1 ->
  Rabs (v - exact o) <= gamma (terms o + 1) * absolute o + INR (operations o) * eta * (1 + gamma (terms o + 1)).
Proof.
  intros H1 Hc Hn. pose proof (sum_error o v Hc) as E. pose proof (roundings_le 2 o H1) as L.
  pose proof (gamma_above _ Hn) as G. assert ((1 + u) ^ roundings o <= (1 + u) ^ (terms o + 1)) as M by (apply pow_mono; lia).
  assert (0 <= absolute o) as A0. { eapply Rle_trans; [apply Rabs_pos|apply absolute_bounds]. }
  eapply Rle_trans; [exact E|]. apply Rplus_le_compat; [apply Rmult_le_compat_r; lra|].
  apply Rmult_le_compat_l; [apply Rmult_le_pos; [apply pos_INR|auto]|lra].
Qed.
End Rounding.
