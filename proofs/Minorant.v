(** Theorem 1 of optprobe/engines/bounds/minorant.py (one reference fit, every set), with the terms of
    checker/minorant.py for a sum w a that is not 0; and the box of its theorem 2, as in checker/dual_sweep.py. *)
From Coq Require Import Reals List Permutation Lra Psatz Lia.
From Opt Require Import Sums Duality.
Import ListNotations.
Open Scope R_scope.

Section Minorant.
Variable P : Problem.
Variables D zeta A lo hi : nat -> R.
Hypothesis D_pos : forall i, In i (rows P) -> 0 < D i.

(** Any box and any quadratic majorant of the conjugate in it; Majorant.v has those of the logistic loss. *)
Definition in_box (i : nat) (a : R) := lo i <= - (a * y P i) <= hi i.
Hypothesis box_in_domain : forall i a, In i (rows P) -> in_box i a -> dom (the_loss P) (y P i) a.
Hypothesis majorant : forall i a, In i (rows P) -> in_box i a ->
  conj (the_loss P) (y P i) a <= A i + zeta i * a + a * a / (2 * D i).

(** optprobe/engines/bounds/minorant.py: "``<u, v> = sum w D u v``"; the checker's omega is w D as rounded, and its
    D is omega / w. *)
Definition inner (u v : nat -> R) := sum (fun i => w P i * D i * u i * v i) (rows P).
Definition ones (i : nat) := 1.
Definition z (l i : nat) := Z P i l.

(** zc = zeta - c, of any c; <1, zeta> / <1, 1> is used. *)
Variable c : R.
Definition zc i := zeta i - c.
Definition r l := inner (z l) zc.
Definition base := sum (fun i => w P i * (D i * (zc i * zc i) / 2 - A i)) (rows P).

(** optprobe/engines/bounds/minorant.py: "``a = D (x - zc)``" *)
Definition dual (x : nat -> R) i := D i * (x i - zc i).

Lemma e_of_dual x : e P (dual x) = inner ones x - inner ones zc.
Proof.
  unfold e, inner, ones, dual. rewrite <- sum_minus. apply sum_ext. intros; ring.
Qed.

Lemma v_of_dual x l : v P (dual x) l = inner (z l) x - r l.
Proof.
  unfold v, r, inner, z, dual. rewrite <- sum_minus. apply sum_ext. intros; ring.
Qed.

Lemma g_of_dual x : (forall i, In i (rows P) -> in_box i (dual x i)) ->
  g P (dual x) >= base - inner x x / 2 - c * e P (dual x).
Proof.
  intros HB. unfold g.
  assert (sum (fun i => w P i * conj (the_loss P) (y P i) (dual x i)) (rows P)
          <= sum (fun i => w P i * (A i + zeta i * dual x i + dual x i * dual x i / (2 * D i))) (rows P)) as H.
  { apply sum_le. intros i Hi. apply Rmult_le_compat_l; [now apply w_nonneg|]. now apply majorant; auto. }
  assert (sum (fun i => w P i * (A i + zeta i * dual x i + dual x i * dual x i / (2 * D i))) (rows P)
          = - base + / 2 * inner x x + c * e P (dual x)) as E; [|lra].
  unfold base, inner, e. rewrite <- !sum_scal.
  replace (- sum (fun i => w P i * (D i * (zc i * zc i) / 2 - A i)) (rows P))
    with (sum (fun i => -1 * (w P i * (D i * (zc i * zc i) / 2 - A i))) (rows P)) by (rewrite sum_scal; ring).
  rewrite <- !sum_plus. apply sum_ext. intros i Hi. pose proof (D_pos i Hi). unfold dual.
  replace (zeta i) with (zc i + c) by (unfold zc; ring). field. lra.
Qed.

(** checker/minorant.py: "F(S) >= base - <x, x> / 2 - sum_{l in S} (r_l - <z_l, x>)^2 / (2 ridge) - |e| (B + |c|)"
    checker/minorant.py: "``e = sum w a = <1, x> - <1, zc>``" *)
Theorem minorant_with_intercept S x B : 0 <= B ->
  (forall i, In i (rows P) -> in_box i (dual x i)) -> intercepts_within P B S ->
  F_at_least P (base - inner x x / 2 - sum (fun l => (r l - inner (z l) x) * (r l - inner (z l) x)) S / (2 * ridge P)
                - Rabs (inner ones x - inner ones zc) * (B + Rabs c)) S.
Proof.
  intros HB0 HBox HI b b0.
  assert (feasible P (dual x)) as HF. { intros i Hi. apply box_in_domain; auto. }
  pose proof (weak_duality_intercept P S (dual x) B HF HI b b0) as Q.
  pose proof (g_of_dual x HBox) as G. rewrite e_of_dual in *.
  rewrite (sum_ext (fun j => v P (dual x) j * v P (dual x) j)
                   (fun l => (r l - inner (z l) x) * (r l - inner (z l) x)) S) in Q.
  2: { intros l _. rewrite v_of_dual. ring. }
  set (ee := inner ones x - inner ones zc) in *.
  assert (c * ee <= Rabs ee * Rabs c).
  { rewrite <- Rabs_mult. rewrite Rmult_comm. apply Rle_abs. }
  lra.
Qed.

(** optprobe/engines/bounds/minorant.py: "for every S and every x in the box ``lo <= -y D (x - zc) <= 1 - lo`` with
    <1, x> = 0 F(S) >= base - <x, x> / 2 - sum_{l in S} (r_l - <z_l, x>)^2 / (2 ridge)." *)
Theorem minorant S x : inner ones zc = 0 -> inner ones x = 0 ->
  (forall i, In i (rows P) -> in_box i (dual x i)) ->
  F_at_least P (base - inner x x / 2
                - sum (fun l => (r l - inner (z l) x) * (r l - inner (z l) x)) S / (2 * ridge P)) S.
Proof.
  intros H1 H2 HBox b b0.
  assert (feasible P (dual x)) as HF. { intros i Hi. apply box_in_domain; auto. }
  assert (e P (dual x) = 0) as He by (rewrite e_of_dual; lra).
  pose proof (weak_duality P S (dual x) HF He b b0) as Q.
  pose proof (g_of_dual x HBox) as G. rewrite He in G.
  rewrite (sum_ext (fun j => v P (dual x) j * v P (dual x) j)
                   (fun l => (r l - inner (z l) x) * (r l - inner (z l) x)) S) in Q.
  2: { intros l _. rewrite v_of_dual. ring. }
  lra.
Qed.
End Minorant.

(** optprobe/engines/bounds/minorant.py: "``zc = zeta - <1, zeta> / <1, 1>``"
    makes <1, zc> = 0, where <1, 1> is not 0: some row must have a weight. *)
Lemma centred P D zeta : inner P D ones ones <> 0 ->
  inner P D ones (zc zeta (inner P D ones zeta / inner P D ones ones)) = 0.
Proof.
  intros H. unfold zc.
  assert (forall c, inner P D ones (fun i => zeta i - c) = inner P D ones zeta - c * inner P D ones ones) as E.
  { intros c. unfold inner. rewrite <- sum_scal, <- sum_minus. apply sum_ext. unfold ones. intros; ring. }
  rewrite E. field. exact H.
Qed.

(** checker/dual_sweep.py: "If a unit of s_m takes at most M_m (forwards) or N_m (backwards) of what x_P
    leaves of the box, and ``sum max(s_m M_m, -s_m N_m) <= 1``, then x is in the box"; one row. *)
Theorem screen_in_box (below above : R) (h s M N : nat -> R) (T : list nat) :
  0 <= below -> 0 <= above ->                        (* x_P itself is in the box *)
  (forall m, In m T -> h m <= M m * above /\ - h m <= M m * below /\ - h m <= N m * above /\ h m <= N m * below) ->
  sum (fun m => Rmax (s m * M m) (- s m * N m)) T <= 1 ->
  - below <= sum (fun m => s m * h m) T <= above.
Proof.
  intros Hb Ha HM HS.
  assert (forall m, In m T -> s m * h m <= Rmax (s m * M m) (- s m * N m) * above /\
                              - (s m * h m) <= Rmax (s m * M m) (- s m * N m) * below) as K.
  { intros m Hm. destruct (HM m Hm) as (H1 & H2 & H3 & H4).
    pose proof (Rmax_l (s m * M m) (- s m * N m)) as L. pose proof (Rmax_r (s m * M m) (- s m * N m)) as R'.
    set (X := Rmax (s m * M m) (- s m * N m)) in *.
    destruct (Rle_dec 0 (s m)) as [Hs|Hs].
    - split.
      + apply Rle_trans with (s m * M m * above); [rewrite Rmult_assoc; apply Rmult_le_compat_l; lra|].
        apply Rmult_le_compat_r; lra.
      + apply Rle_trans with (s m * M m * below).
        * replace (- (s m * h m)) with (s m * (- h m)) by ring. rewrite Rmult_assoc. apply Rmult_le_compat_l; lra.
        * apply Rmult_le_compat_r; lra.
    - split.
      + apply Rle_trans with (- s m * N m * above).
        * replace (s m * h m) with (- s m * - h m) by ring. rewrite Rmult_assoc. apply Rmult_le_compat_l; lra.
        * apply Rmult_le_compat_r; lra.
      + apply Rle_trans with (- s m * N m * below).
        * replace (- (s m * h m)) with (- s m * h m) by ring. rewrite Rmult_assoc. apply Rmult_le_compat_l; lra.
        * apply Rmult_le_compat_r; lra. }
  set (X := fun m => Rmax (s m * M m) (- s m * N m)) in *.
  assert (sum (fun m => s m * h m) T <= above * sum X T).
  { rewrite <- sum_scal. apply sum_le. intros m Hm. destruct (K m Hm). unfold X. lra. }
  assert (sum (fun m => -1 * (s m * h m)) T <= below * sum X T) as H'.
  { rewrite <- sum_scal. apply sum_le. intros m Hm. destruct (K m Hm). unfold X. lra. }
  rewrite sum_scal in H'. nra.
Qed.
