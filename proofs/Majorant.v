(** The majorant of the logistic conjugate around one reference fit: checker/minorant.py. *)
From Coq Require Import Reals List Lra Psatz.
From Opt Require Import Sums Duality.
Open Scope R_scope.

Lemma rises f f' a b : a <= b -> (forall s, a <= s <= b -> derivable_pt_lim f s (f' s)) ->
  (forall s, a <= s <= b -> 0 <= f' s) -> f a <= f b.
Proof.
  intros [L | ->] HD HP; [|lra]. destruct (MVT_cor2 f f' a b L HD) as (s & E & Hs).
  assert (0 <= f' s * (b - a)) by (apply Rmult_le_pos; [apply HP|]; lra). lra.
Qed.

Lemma falls f f' a b : a <= b -> (forall s, a <= s <= b -> derivable_pt_lim f s (f' s)) ->
  (forall s, a <= s <= b -> f' s <= 0) -> f b <= f a.
Proof.
  intros [L | ->] HD HP; [|lra]. destruct (MVT_cor2 f f' a b L HD) as (s & E & Hs).
  assert (f' s <= 0) by (apply HP; lra). assert (f' s * (b - a) <= 0) by nra. lra.
Qed.

Section Majorant.
Variables k D : R.          (* k = zeta y *)
Hypothesis D_pos : 0 < D.

(** checker/minorant.py: "h(s) = s log s + (1 - s) log(1 - s) + zeta y s - s^2 / (2 D)"; h1 = h', h2 = h''. *)
Definition h s := negent s + k * s - s * s / (2 * D).
Definition h1 s := ln s - ln (1 - s) + k - s / D.
Definition h2 s := / s + / (1 - s) - / D.

Lemma d_ln_1 s : s < 1 -> derivable_pt_lim (fun x => ln (1 - x)) s (- / (1 - s)).
Proof.
  intros Hs. replace (- / (1 - s)) with (/ (1 - s) * (0 - 1)) by ring.
  apply (derivable_pt_lim_comp (fun x => 1 - x) ln).
  - apply (derivable_pt_lim_minus (fun _ => 1) (fun x => x)); [apply derivable_pt_lim_const|apply derivable_pt_lim_id].
  - apply derivable_pt_lim_ln. lra.
Qed.

Lemma d_h s : 0 < s < 1 -> derivable_pt_lim h s (h1 s).
Proof.
  intros Hs. unfold h, negent.
  replace (h1 s) with ((1 * ln s + s * / s) + ((0 - 1) * ln (1 - s) + (1 - s) * (- / (1 - s))) + (0 * s + k * 1)
                       - ((1 * s + s * 1) * / (2 * D) + (s * s) * 0)) by (unfold h1; field; repeat split; lra).
  apply (derivable_pt_lim_minus (fun x => x * ln x + (1 - x) * ln (1 - x) + k * x) (fun x => x * x / (2 * D))).
  - apply (derivable_pt_lim_plus (fun x => x * ln x + (1 - x) * ln (1 - x)) (fun x => k * x)).
    + apply (derivable_pt_lim_plus (fun x => x * ln x) (fun x => (1 - x) * ln (1 - x))).
      * apply (derivable_pt_lim_mult (fun x => x) ln); [apply derivable_pt_lim_id|apply derivable_pt_lim_ln; lra].
      * apply (derivable_pt_lim_mult (fun x => 1 - x) (fun x => ln (1 - x))).
        -- apply (derivable_pt_lim_minus (fun _ => 1) (fun x => x));
           [apply derivable_pt_lim_const|apply derivable_pt_lim_id].
        -- apply d_ln_1. lra.
    + apply (derivable_pt_lim_mult (fun _ => k) (fun x => x));
      [apply derivable_pt_lim_const|apply derivable_pt_lim_id].
  - apply (derivable_pt_lim_mult (fun x => x * x) (fun _ => / (2 * D))).
    + apply (derivable_pt_lim_mult (fun x => x) (fun x => x)); apply derivable_pt_lim_id.
    + apply derivable_pt_lim_const.
Qed.

Lemma d_h1 s : 0 < s < 1 -> derivable_pt_lim h1 s (h2 s).
Proof.
  intros Hs. unfold h1.
  replace (h2 s) with (/ s - (- / (1 - s)) + 0 - (1 * / D + s * 0)) by (unfold h2; ring).
  apply (derivable_pt_lim_minus (fun x => ln x - ln (1 - x) + k) (fun x => x / D)).
  - apply (derivable_pt_lim_plus (fun x => ln x - ln (1 - x)) (fun _ => k)); [|apply derivable_pt_lim_const].
    apply (derivable_pt_lim_minus ln (fun x => ln (1 - x))); [apply derivable_pt_lim_ln; lra|apply d_ln_1; lra].
  - apply (derivable_pt_lim_mult (fun x => x) (fun _ => / D)); [apply derivable_pt_lim_id|apply derivable_pt_lim_const].
Qed.

(** checker/minorant.py: "h'' = 1 / (s (1 - s)) - 1 / D is negative exactly between t and 1 - t, and h'(t) = 0."
    For D = t (1 - t). *)
Variable t : R.
Hypothesis t_in : 0 < t < 1.
Hypothesis D_t : D = t * (1 - t).
Hypothesis h1_t : h1 t = 0.

Lemma h2_le s : 0 < s < 1 -> D <= s * (1 - s) -> h2 s <= 0.
Proof.
  intros Hs H. unfold h2. replace (/ s + / (1 - s)) with (/ (s * (1 - s))) by (field; lra).
  assert (/ (s * (1 - s)) <= / D) by (apply Rinv_le_contravar; auto). lra.
Qed.

Lemma h2_ge s : 0 < s < 1 -> s * (1 - s) <= D -> 0 <= h2 s.
Proof.
  intros Hs H. unfold h2. replace (/ s + / (1 - s)) with (/ (s * (1 - s))) by (field; lra).
  assert (/ D <= / (s * (1 - s))) by (apply Rinv_le_contravar; [nra|auto]). lra.
Qed.

Lemma left_half lo hi s A : t <= 1 / 2 -> 0 < lo -> hi < 1 -> lo <= s <= hi ->
  h t <= A -> h lo <= A -> h hi <= A -> h s <= A.
Proof.
  intros Ht Hlo Hhi Hs At Alo Ahi.
  assert (forall u, t <= u <= 1 - t -> h1 u <= 0) as Mid.
  { intros u Hu. rewrite <- h1_t. apply (falls h1 h2); [lra|intros; apply d_h1; lra|].
    intros x Hx. apply h2_le; [lra|]. rewrite D_t. nra. }
  assert (forall u, t <= u <= 1 - t -> h u <= h t) as MidH.
  { intros u Hu. apply (falls h h1); [lra|intros; apply d_h; lra|]. intros x Hx. apply Mid. lra. }
  destruct (Rle_dec s t) as [L | L].
  - (* below t: h falls from lo *)
    apply Rle_trans with (h lo); auto. apply (falls h h1); [lra|intros; apply d_h; lra|].
    intros x Hx. rewrite <- h1_t. apply (rises h1 h2); [lra|intros; apply d_h1; lra|].
    intros u Hu. apply h2_ge; [lra|]. rewrite D_t. nra.
  - destruct (Rle_dec s (1 - t)) as [L' | L'].
    + apply Rle_trans with (h t); auto. apply MidH. lra.
    + (* above 1 - t: convex *)
      assert (forall a b, 1 - t <= a -> a <= b -> b <= hi -> h1 a <= h1 b) as Up.
      { intros a b H1 H2 H3. apply (rises h1 h2); [lra|intros; apply d_h1; lra|].
        intros x Hx. apply h2_ge; [lra|]. rewrite D_t. nra. }
      destruct (Rle_dec 0 (h1 s)) as [Q | Q].
      * apply Rle_trans with (h hi); auto. apply (rises h h1); [lra|intros; apply d_h; lra|].
        intros x Hx. assert (h1 s <= h1 x) by (apply Up; lra). lra.
      * apply Rle_trans with (h (1 - t)); [|apply Rle_trans with (h t); [apply MidH; lra|auto]].
        apply (falls h h1); [lra|intros; apply d_h; lra|].
        intros x Hx. assert (h1 x <= h1 s) by (apply Up; lra). lra.
Qed.
End Majorant.

(** The reflection s -> 1 - s exchanges t and 1 - t. *)
Lemma h_reflect k D s : 0 < D -> h (/ D - k) D (1 - s) = h k D s + (/ (2 * D) - k).
Proof. intros HD. unfold h, negent. replace (1 - (1 - s)) with s by ring. field. lra. Qed.

Lemma h1_reflect k D s : 0 < D -> h1 (/ D - k) D (1 - s) = - h1 k D s.
Proof. intros HD. unfold h1. replace (1 - (1 - s)) with s by ring. field. lra. Qed.

(** With D = t (1 - t) and h'(t) = 0. That hi = 1 - lo, or that t lies between them, is not needed. *)
Theorem h_majorised k t lo hi s A : 0 < t < 1 -> h1 k (t * (1 - t)) t = 0 -> 0 < lo -> hi < 1 -> lo <= s <= hi ->
  h k (t * (1 - t)) t <= A -> h k (t * (1 - t)) lo <= A -> h k (t * (1 - t)) hi <= A -> h k (t * (1 - t)) s <= A.
Proof.
  intros Ht H1 Hlo Hhi Hs At Alo Ahi. set (D := t * (1 - t)) in *. assert (0 < D) as HD by (unfold D; nra).
  destruct (Rle_dec t (1 / 2)) as [L | L].
  - apply (left_half k D HD t Ht eq_refl H1 lo hi s A); auto.
  - set (K := / (2 * D) - k). assert (h (/ D - k) D (1 - s) <= A + K) as Q.
    { apply (left_half (/ D - k) D HD (1 - t)) with (lo := 1 - hi) (hi := 1 - lo); try lra.
      - unfold D. ring.
      - rewrite h1_reflect by auto. lra.
      - rewrite h_reflect by auto. unfold K. lra.
      - rewrite h_reflect by auto. unfold K. lra.
      - rewrite h_reflect by auto. unfold K. lra. }
    rewrite h_reflect in Q by auto. unfold K in Q. lra.
Qed.

Lemma times_within a b : -1 <= b <= 1 -> a * b <= Rabs a.
Proof.
  intros Hb. eapply Rle_trans; [apply Rle_abs|]. rewrite Rabs_mult. rewrite <- (Rmult_1_r (Rabs a)) at 2.
  apply Rmult_le_compat_l; [apply Rabs_pos|]. apply Rabs_le. lra.
Qed.

(** As the checker needs it: its t, D and zeta are rounded, so that D differs from t (1 - t) and h'(t) from 0.
    checker/minorant.py: "Then A must be raised by ``|h'(t)| + 2 |1 / D - 1 / (t (1 - t))|`` for the D, zeta and t that
    are used" *)
Theorem h_majorised_rounded k D t lo hi s A : 0 < D -> 0 < t < 1 -> 0 < lo -> hi < 1 -> lo <= s <= hi ->
  lo < 1 -> 0 < hi -> h k D t <= A -> h k D lo <= A -> h k D hi <= A ->
  h k D s <= A + Rabs (h1 k D t) + 2 * Rabs (/ D - / (t * (1 - t))).
Proof.
  intros HD Ht Hlo Hhi Hs Hlo1 Hhi0 At Alo Ahi.
  set (D0 := t * (1 - t)). assert (0 < D0) as HD0 by (unfold D0; nra).
  set (q := / D - / D0). set (d0 := h1 k D0 t). set (k0 := k - d0).
  assert (forall x, h k D x = h k0 D0 x + d0 * x - q * (x * x) / 2) as E.
  { intros x. unfold h, k0, q. field. lra. }
  assert (h1 k0 D0 t = 0) as Z0. { unfold k0, d0, h1. ring. }
  assert (d0 = h1 k D t + q * t) as E1. { unfold d0, h1, q. field. lra. }
  assert (Rabs d0 <= Rabs (h1 k D t) + Rabs q) as Hd0.
  { rewrite E1. eapply Rle_trans; [apply Rabs_triang|]. rewrite (Rabs_mult q t), (Rabs_right t) by lra.
    pose proof (Rabs_pos q). nra. }
  assert (forall u, 0 < u < 1 -> h k D u <= A -> h k0 D0 u <= A + Rabs d0 + Rabs q / 2 - d0 * s + q * (s * s) / 2) as Up.
  { intros u Hu HA. rewrite E in HA.
    assert (d0 * (s - u) <= Rabs d0) by (apply times_within; lra).
    assert (q * (u * u - s * s) <= Rabs q) by (apply times_within; nra).
    lra. }
  assert (h k0 D0 s <= A + Rabs d0 + Rabs q / 2 - d0 * s + q * (s * s) / 2) as Q.
  { apply (h_majorised k0 t lo hi); fold D0; auto; apply Up; auto; lra. }
  rewrite E. pose proof (Rabs_pos q). lra.
Qed.

(** From the bound of h,
    checker/minorant.py: "the conjugate is at most ``A + zeta a + a^2 / (2 D)`` for ``lo <= -y a <= 1 - lo``" *)
Lemma majorant_from_h zeta y D A a : sign y ->
  h (zeta * y) D (- (a * y)) <= A -> logistic_conj y a <= A + zeta * a + a * a / (2 * D).
Proof.
  intros Hy H. unfold h in H. unfold logistic_conj.
  assert (zeta * y * - (a * y) = - (zeta * a)) as E1 by (destruct Hy as [-> | ->]; ring).
  assert (- (a * y) * - (a * y) = a * a) as E2 by (destruct Hy as [-> | ->]; ring).
  rewrite E1, E2 in H. lra.
Qed.

(** What makes h'(t) = 0:
    checker/minorant.py: "``t = sigma(-y f)``, ``D = t (1 - t)``, ``zeta = f + y t / D``" *)
Lemma reference_is_stationary f y : sign y ->
  let t := / (1 + exp (y * f)) in let D := t * (1 - t) in let zeta := f + y * t / D in
  0 < t < 1 /\ h1 (zeta * y) D t = 0.
Proof.
  intros Hy t D zeta. assert (0 < exp (y * f)) as E by apply exp_pos. set (x := exp (y * f)) in *.
  assert (0 < t) as T0 by (apply Rinv_0_lt_compat; lra).
  assert (1 - t = x * t) as T1 by (unfold t; field; lra).
  assert (0 < 1 - t) as T2 by (rewrite T1; nra).
  split; [lra|]. unfold h1. rewrite T1, ln_mult by lra.
  assert (ln x = y * f) as Ex by (unfold x; apply ln_exp).
  assert (0 < D) by (unfold D; nra).
  assert (zeta * y = y * f + t / D) as Ez by (unfold zeta; destruct Hy as [-> | ->]; field; lra).
  rewrite Ez, Ex. lra.
Qed.

Theorem logistic_majorant f y lo hi a A : sign y ->
  let t := / (1 + exp (y * f)) in let D := t * (1 - t) in let zeta := f + y * t / D in
  0 < lo -> hi < 1 -> lo <= - (a * y) <= hi ->
  h (zeta * y) D t <= A -> h (zeta * y) D lo <= A -> h (zeta * y) D hi <= A ->
  logistic_conj y a <= A + zeta * a + a * a / (2 * D).
Proof.
  intros Hy t D zeta Hlo Hhi Ha At Alo Ahi. destruct (reference_is_stationary f y Hy) as [Ht H1].
  apply majorant_from_h; auto. apply (h_majorised (zeta * y) t lo hi); auto.
Qed.
