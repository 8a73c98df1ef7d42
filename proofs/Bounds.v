(** checker/bounds.py and checker/tree.py: the comparisons in floating point err on the safe side.
    The standard model without underflow: a computed x of an exact value t has |x - t| <= u |t|. Everything finite. *)
From Coq Require Import Reals List Lra Psatz Lia.
From Opt Require Import Sums Duality Intercept Rounding.
Import ListNotations.
Open Scope R_scope.

Lemma Rabs_le_inv x a : Rabs x <= a -> - a <= x <= a.
Proof. intros H. pose proof (Rle_abs x). pose proof (Rle_abs (- x)) as Q. rewrite Rabs_Ropp in Q. lra. Qed.

Section Bounds.
Variable u : R.
Hypothesis u_pos : 0 < u.
Hypothesis u_small : u <= / 64.

Definition fl_of (t x : R) := Rabs (x - t) <= u * Rabs t.

Lemma fl_of_nonneg t x : 0 <= t -> fl_of t x -> (1 - u) * t <= x <= (1 + u) * t.
Proof. intros Ht H. unfold fl_of in H. rewrite (Rabs_right t) in H by lra. apply Rabs_le_inv in H. lra. Qed.

Lemma fl_of_abs t x : fl_of t x -> t - u * Rabs t <= x <= t + u * Rabs t.
Proof. intros H. unfold fl_of in H. apply Rabs_le_inv in H. lra. Qed.

(** ** What a node takes off is rounded up
    checker/bounds.py: "taken = (float(discount[inside].sum()) + float(top.sum())) * (1 + gamma(problem.size + 4))" *)

Lemma shrink_nonneg n : 0 <= (1 - u) ^ n. Proof. apply pow_le. lra. Qed.

Lemma shrink_mono n m : (n <= m)%nat -> (1 - u) ^ m <= (1 - u) ^ n.
Proof.
  induction 1 as [|m H IH]; [lra|]. simpl. pose proof (shrink_nonneg m). nra.
Qed.

Fixpoint all_nonneg o := match o with Term _ x => 0 <= x | Add a b => all_nonneg a /\ all_nonneg b end.

Lemma exact_nonneg o : all_nonneg o -> 0 <= exact o.
Proof. induction o; simpl; [auto|]. intros [Ha Hb]. specialize (IHo1 Ha). specialize (IHo2 Hb). lra. Qed.

Lemma sum_from_below o v : computes u 0 o v -> at_most 0 o -> all_nonneg o -> (1 - u) ^ roundings o * exact o <= v.
Proof.
  induction 1 as [k x v H | a b va vb d h Ha IHa Hb IHb Hd Hh]; intros HM HN.
  - simpl in *. assert (k = 0%nat) as -> by lia. simpl in *. rewrite (Rabs_right x) in H by lra.
    apply Rabs_le_inv in H. lra.
  - destruct HM as [Ma Mb], HN as [Na Nb]. specialize (IHa Ma Na). specialize (IHb Mb Nb).
    pose proof (exact_nonneg a Na) as Pa. pose proof (exact_nonneg b Nb) as Pb.
    cbn [roundings exact]. set (r := max (roundings a) (roundings b)).
    assert ((1 - u) ^ r * exact a <= va) as Ea.
    { eapply Rle_trans; [|exact IHa]. apply Rmult_le_compat_r; auto. apply shrink_mono. unfold r. lia. }
    assert ((1 - u) ^ r * exact b <= vb) as Eb.
    { eapply Rle_trans; [|exact IHb]. apply Rmult_le_compat_r; auto. apply shrink_mono. unfold r. lia. }
    assert (h = 0) as -> by (apply Rabs_le_inv in Hh; lra). apply Rabs_le_inv in Hd.
    pose proof (shrink_nonneg r) as Pr. simpl.
    assert (0 <= (1 - u) ^ r * exact a) by now apply Rmult_le_pos.
    assert (0 <= (1 - u) ^ r * exact b) by now apply Rmult_le_pos.
    assert ((va + vb) * (1 - u) <= (va + vb) * (1 + d)) by (apply Rmult_le_compat_l; lra). nra.
Qed.

(** n roundings are undone by 1 + gamma_n. *)
Lemma gamma_undoes n : INR n * u < 1 -> 1 <= (1 - u) ^ n * (1 + gamma u n).
Proof.
  intros H. pose proof (bernoulli u (Rlt_le _ _ u_pos) n ltac:(lra)) as B. unfold gamma.
  replace (1 + INR n * u / (1 - INR n * u)) with (/ (1 - INR n * u)) by (field; lra).
  apply Rmult_le_reg_r with (1 - INR n * u); [lra|]. rewrite Rmult_assoc, Rinv_l by lra. lra.
Qed.

(** [c] is the stored 1 + gamma(size + 4): its own two roundings are counted. *)
Theorem taken_rounded_up size inside top s1 s2 s T c :
  (terms inside + terms top <= size + 2)%nat -> at_most 0 inside -> at_most 0 top -> all_nonneg inside -> all_nonneg top ->
  computes u 0 inside s1 -> computes u 0 top s2 -> fl_of (s1 + s2) s ->
  (1 - u) ^ 2 * (1 + gamma u (size + 4)) <= c -> fl_of (s * c) T -> INR (size + 4) * u < 1 ->
  exact inside + exact top <= T.
Proof.
  intros HL M1 M2 N1 N2 C1 C2 HS Hc HT Hn.
  assert (computes u 0 (Add inside top) s) as C.
  { assert (exists d, Rabs d <= u /\ s = (s1 + s2) * (1 + d)) as (d & Hd & ->).
    { unfold fl_of in HS. destruct (Req_dec (s1 + s2) 0) as [E|E].
      - exists 0. rewrite Rabs_R0. split; [lra|]. rewrite E in *. rewrite Rabs_R0, Rmult_0_r in HS.
        apply Rabs_le_inv in HS. lra.
      - exists ((s - (s1 + s2)) / (s1 + s2)). split; [|field; auto].
        unfold Rdiv. rewrite Rabs_mult, Rabs_inv. apply Rmult_le_reg_r with (Rabs (s1 + s2)); [now apply Rabs_pos_lt|].
        rewrite Rmult_assoc, Rinv_l, Rmult_1_r by (now apply Rabs_no_R0). exact HS. }
    replace ((s1 + s2) * (1 + d)) with ((s1 + s2) * (1 + d) + 0) by ring. constructor; auto. rewrite Rabs_R0. lra. }
  pose proof (sum_from_below (Add inside top) s C (Logic.conj M1 M2) (Logic.conj N1 N2)) as Q.
  pose proof (roundings_le 0 (Add inside top) (Logic.conj M1 M2)) as L.
  change (exact (Add inside top)) with (exact inside + exact top) in Q.
  change (terms (Add inside top)) with (terms inside + terms top)%nat in L.
  set (E := exact inside + exact top) in *.
  assert (0 <= E) as E0 by (apply (exact_nonneg (Add inside top)); split; auto).
  assert ((1 - u) ^ (size + 1) * E <= s) as Q1.
  { eapply Rle_trans; [|exact Q]. apply Rmult_le_compat_r; auto. apply shrink_mono. lia. }
  pose proof (gamma_undoes (size + 4) Hn) as G.
  assert (0 <= gamma u (size + 4)) as G0.
  { unfold gamma. pose proof (pos_INR (size + 4)). apply Rmult_le_pos; [apply Rmult_le_pos; lra|]. left.
    apply Rinv_0_lt_compat. lra. }
  pose proof (shrink_nonneg (size + 1)) as S1. pose proof (shrink_nonneg 2) as S2.
  assert (0 <= (1 - u) ^ (size + 1) * E) as S3 by now apply Rmult_le_pos.
  assert (0 <= (1 - u) ^ 2 * (1 + gamma u (size + 4))) as S4 by (apply Rmult_le_pos; lra).
  assert ((1 - u) ^ (size + 1) * E * ((1 - u) ^ 2 * (1 + gamma u (size + 4))) <= s * c) as Q2 by (apply Rmult_le_compat; auto).
  assert (0 <= s * c) as S5 by (eapply Rle_trans; [|exact Q2]; now apply Rmult_le_pos).
  destruct (fl_of_nonneg _ _ S5 HT) as [Q3 _]. eapply Rle_trans; [|exact Q3].
  apply Rle_trans with ((1 - u) * ((1 - u) ^ (size + 1) * E * ((1 - u) ^ 2 * (1 + gamma u (size + 4))))).
  - replace (size + 4)%nat with (size + 1 + 3)%nat in * by lia. rewrite pow_add in G.
    replace ((1 - u) * ((1 - u) ^ (size + 1) * E * ((1 - u) ^ 2 * (1 + gamma u (size + 1 + 3)))))
      with (E * ((1 - u) ^ (size + 1) * (1 - u) ^ 3 * (1 + gamma u (size + 1 + 3)))) by ring.
    rewrite <- (Rmult_1_r E) at 1. apply Rmult_le_compat_l; auto.
  - apply Rmult_le_compat_l; lra.
Qed.

(** ** The node bound is rounded down
    checker/bounds.py: "return value - taken - 4 * U * (abs(value) + taken)" *)
Theorem node_bound_rounded_down value T a b x bound : 0 <= T ->
  fl_of (value - T) a -> fl_of (Rabs value + T) b -> x = 4 * u * b -> fl_of (a - x) bound -> bound <= value - T.
Proof.
  intros HT Ha Hb -> Hr. set (m := Rabs value + T) in *. pose proof (Rabs_pos value) as V0.
  assert (0 <= m) as Hm by (unfold m; lra).
  destruct (fl_of_nonneg _ _ Hm Hb) as [B1 B2]. apply fl_of_abs in Ha, Hr.
  assert (Rabs (value - T) <= m) as D.
  { unfold m. eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, (Rabs_right T) by lra. lra. }
  assert (Rabs (a - 4 * u * b) <= 2 * m) as D2.
  { assert (Rabs a <= (1 + u) * m) as A1.
    { replace a with ((value - T) + (a - (value - T))) by ring. eapply Rle_trans; [apply Rabs_triang|].
      assert (Rabs (a - (value - T)) <= u * m); [|lra].
      apply Rabs_le. assert (u * Rabs (value - T) <= u * m) by (apply Rmult_le_compat_l; lra). lra. }
    eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp.
    assert (0 <= b) by nra. rewrite (Rabs_right (4 * u * b)) by (apply Rle_ge; repeat apply Rmult_le_pos; lra).
    assert (4 * u * b <= 4 * u * ((1 + u) * m)) by (apply Rmult_le_compat_l; lra). nra. }
  assert (4 * u * ((1 - u) * m) <= 4 * u * b) by (apply Rmult_le_compat_l; lra).
  assert (u * Rabs (value - T) <= u * m) by (apply Rmult_le_compat_l; lra).
  assert (u * Rabs (a - 4 * u * b) <= u * (2 * m)) by (apply Rmult_le_compat_l; lra).
  assert (0 <= u * m) by (apply Rmult_le_pos; lra). nra.
Qed.

(** ** The bound with a column forced inside is rounded down
    checker/tree.py: "slack = 8 * U * (abs(value) + abs(bound))"
    checker/tree.py: "forced = bound + np.maximum(counted - discount, 0.0) * (1 - 4 * U) - slack"
    The four factors 1 - U are just what the four roundings on the way of counted - discount need. *)
Theorem forced_rounded_down value bound delta x1 x2 x3 n slack forced : 0 <= delta ->
  fl_of delta x1 -> fl_of (x1 * (1 - 4 * u)) x2 -> fl_of (bound + x2) x3 ->
  fl_of (Rabs value + Rabs bound) n -> slack = 8 * u * n -> fl_of (x3 - slack) forced ->
  forced <= bound + delta.
Proof.
  intros Hd H1 H2 H3 Hn -> H4. pose proof (Rabs_pos value) as V0. pose proof (Rabs_pos bound) as B0.
  destruct (fl_of_nonneg _ _ Hd H1) as [X1 X1'].
  assert (0 <= x1) as P1 by nra.
  assert (0 <= x1 * (1 - 4 * u)) as P2 by (apply Rmult_le_pos; lra).
  destruct (fl_of_nonneg _ _ P2 H2) as [X2 X2'].
  assert (0 <= x2) as P3 by nra.
  destruct (fl_of_nonneg (Rabs value + Rabs bound) n ltac:(lra) Hn) as [N1 N2].
  apply fl_of_abs in H3, H4.
  assert (Rabs (bound + x2) <= Rabs bound + x2) as A1.
  { eapply Rle_trans; [apply Rabs_triang|]. rewrite (Rabs_right x2) by lra. lra. }
  assert (0 <= n) as Pn by nra. assert (0 <= 8 * u * n) as Ps by (repeat apply Rmult_le_pos; lra).
  assert (u * Rabs (bound + x2) <= u * (Rabs bound + x2)) as A2 by (apply Rmult_le_compat_l; lra).
  assert (Rabs x3 <= (1 + u) * (Rabs bound + x2)) as A3.
  { replace x3 with ((bound + x2) + (x3 - (bound + x2))) by ring. eapply Rle_trans; [apply Rabs_triang|].
    assert (Rabs (x3 - (bound + x2)) <= u * (Rabs bound + x2)); [|lra]. apply Rabs_le. lra. }
  assert (Rabs (x3 - 8 * u * n) <= Rabs x3 + 8 * u * n) as A4.
  { eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, (Rabs_right (8 * u * n)) by lra. lra. }
  assert (u * Rabs (x3 - 8 * u * n) <= u * ((1 + u) * (Rabs bound + x2) + 8 * u * n)) as A5 by (apply Rmult_le_compat_l; lra).
  assert (8 * u * ((1 - u) * Rabs bound) <= 8 * u * n) as A6 by (apply Rmult_le_compat_l; nra).
  (* what is left is x2 (1 + u)^2 <= delta *)
  assert (forced <= bound + x2 * ((1 + u) * (1 + u))) as A7.
  { set (q := 8 * u * n) in *. assert (0 <= u * Rabs bound) by (apply Rmult_le_pos; lra).
    assert (u * (u * Rabs bound) <= / 64 * (u * Rabs bound)) by (apply Rmult_le_compat_r; lra).
    assert (u * q <= / 64 * q) by (apply Rmult_le_compat_r; lra). nra. }
  assert ((1 + u) * (1 + u) * ((1 + u) * (1 + u)) * (1 - 4 * u) <= 1) as A8.
  { assert (0 <= u * u) by nra. assert (0 <= u * u * u) by nra. assert (0 <= u * u * (u * u)) by nra.
    assert (0 <= u * u * (u * u) * u) by nra. lra || nra. }
  assert (x2 * ((1 + u) * (1 + u)) <= delta * ((1 + u) * (1 + u) * ((1 + u) * (1 + u)) * (1 - 4 * u))) as A9.
  { assert (x2 <= delta * ((1 + u) * (1 + u) * (1 - 4 * u))) as A10.
    { eapply Rle_trans; [exact X2'|].
      replace (delta * ((1 + u) * (1 + u) * (1 - 4 * u))) with ((1 + u) * ((1 + u) * delta * (1 - 4 * u))) by ring.
      apply Rmult_le_compat_l; [lra|]. apply Rmult_le_compat_r; lra. }
    replace (delta * ((1 + u) * (1 + u) * ((1 + u) * (1 + u)) * (1 - 4 * u)))
      with (delta * ((1 + u) * (1 + u) * (1 - 4 * u)) * ((1 + u) * (1 + u))) by ring.
    apply Rmult_le_compat_r; [nra|auto]. }
  assert (delta * ((1 + u) * (1 + u) * ((1 + u) * (1 + u)) * (1 - 4 * u)) <= delta * 1) by (apply Rmult_le_compat_l; auto).
  lra.
Qed.

(** ** g - |e| B is rounded down
    checker/bounds.py: "value - error - unbalanced * intercept_bound(problem) - 8 * U * np.abs(value) - UNDERFLOW"
    It is below value - error - |e| B, if error and unbalanced are above the true ones by a factor 1 / (1 - 4 u):
    gamma(n + 8) against gamma(n + 2), and so on. What UNDERFLOW takes off makes it smaller only. *)
Theorem value_rounded_down value err unb B a1 q a2 r : 0 <= err -> 0 <= unb * B ->
  fl_of (value - err) a1 -> fl_of (unb * B) q -> fl_of (a1 - q) a2 -> fl_of (a2 - 8 * u * Rabs value) r ->
  r <= value - (1 - 4 * u) * (err + unb * B).
Proof.
  intros He Hq H1 H2 H3 H4. set (p := unb * B) in *. pose proof (Rabs_pos value) as V0. set (m := Rabs value) in *.
  destruct (fl_of_nonneg p q Hq H2) as [Q1 Q2]. assert (0 <= q) as Q0 by nra.
  apply fl_of_abs in H1, H3, H4.
  assert (Rabs (value - err) <= m + err) as A1.
  { unfold m. eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, (Rabs_right err) by lra. lra. }
  assert (u * Rabs (value - err) <= u * (m + err)) as A1u by (apply Rmult_le_compat_l; lra).
  assert (Rabs a1 <= (1 + u) * (m + err)) as A2.
  { replace a1 with ((value - err) + (a1 - (value - err))) by ring. eapply Rle_trans; [apply Rabs_triang|].
    assert (Rabs (a1 - (value - err)) <= u * (m + err)) by (apply Rabs_le; lra). lra. }
  assert (Rabs (a1 - q) <= (1 + u) * (m + err + p)) as A3.
  { eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, (Rabs_right q) by lra. lra. }
  assert (u * Rabs (a1 - q) <= u * ((1 + u) * (m + err + p))) as A3u by (apply Rmult_le_compat_l; lra).
  assert (Rabs a2 <= (1 + u) * ((1 + u) * (m + err + p))) as A4.
  { replace a2 with ((a1 - q) + (a2 - (a1 - q))) by ring. eapply Rle_trans; [apply Rabs_triang|].
    assert (Rabs (a2 - (a1 - q)) <= u * ((1 + u) * (m + err + p))) by (apply Rabs_le; lra). lra. }
  assert (0 <= 8 * u * m) as M0 by (repeat apply Rmult_le_pos; lra).
  assert (Rabs (a2 - 8 * u * m) <= (1 + u) * ((1 + u) * (m + err + p)) + 8 * u * m) as A5.
  { eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, (Rabs_right (8 * u * m)) by lra. lra. }
  assert (u * Rabs (a2 - 8 * u * m) <= u * ((1 + u) * ((1 + u) * (m + err + p)) + 8 * u * m)) as A5u
    by (apply Rmult_le_compat_l; lra).
  set (t := m + err + p) in *. assert (0 <= t) as T0 by (unfold t; lra).
  assert (0 <= u * t) as U1 by (apply Rmult_le_pos; lra).
  assert (u * (u * t) <= / 64 * (u * t)) as U2 by (apply Rmult_le_compat_r; lra).
  assert (0 <= u * (u * t)) as U3 by (apply Rmult_le_pos; lra).
  assert (u * (u * (u * t)) <= / 64 * (u * (u * t))) as U4 by (apply Rmult_le_compat_r; lra).
  assert (0 <= u * m) as U5 by (apply Rmult_le_pos; lra).
  assert (u * (u * m) <= / 64 * (u * m)) as U6 by (apply Rmult_le_compat_r; lra).
  assert (u * t = u * m + u * err + u * p) as Et by (unfold t; ring).
  assert (0 <= u * err) by (apply Rmult_le_pos; lra). assert (0 <= u * p) by (apply Rmult_le_pos; lra).
  nra.
Qed.

(** ** Discounts are rounded up
    checker/bounds.py: "(v_up * v_up + SUBNORMAL) * ((1 + 16 * U) / (2 * problem.ridge))"
    The constant takes one rounding, 1 + 16 U and 2 ridge none. The square may underflow, by eta. *)
Theorem discount_rounded_up v vc G ridge s q eta tiny q1 c d : 0 < ridge -> Rabs v <= Rabs vc + G -> 0 <= G ->
  fl_of (Rabs vc + G) s -> Rabs (q - s * s) <= u * (s * s) + eta -> eta <= tiny -> fl_of (q + tiny) q1 ->
  fl_of ((1 + 16 * u) / (2 * ridge)) c -> fl_of (q1 * c) d ->
  v * v / (2 * ridge) <= d.
Proof.
  intros Hr Hv HG Hs Hq Ht Hq1 Hc Hd. pose proof (Rabs_pos vc) as V0. pose proof (Rabs_pos v) as V1.
  set (t := Rabs vc + G) in *. assert (0 <= t) as T0 by (unfold t; lra).
  set (m := 1 - u). assert (0 <= m) as M0 by (unfold m; lra).
  destruct (fl_of_nonneg _ _ T0 Hs) as [S1 _]. fold m in S1.
  assert (0 <= m * t) as S0 by (apply Rmult_le_pos; lra).
  assert (m * t * (m * t) <= s * s) as S2 by (apply Rmult_le_compat; auto).
  assert (0 <= m * t * (m * t)) as S3 by apply Rle_0_sqr.
  apply Rabs_le_inv in Hq. assert (m * (s * s) <= q + tiny) as Q1 by (unfold m; lra).
  assert (m * (m * t * (m * t)) <= q + tiny) as Q2.
  { eapply Rle_trans; [|exact Q1]. now apply Rmult_le_compat_l. }
  assert (0 <= m * (m * t * (m * t))) as Q3 by now apply Rmult_le_pos.
  destruct (fl_of_nonneg (q + tiny) q1 ltac:(lra) Hq1) as [Q4 _]. fold m in Q4.
  assert (m * (m * (m * t * (m * t))) <= q1) as Q5.
  { eapply Rle_trans; [|exact Q4]. now apply Rmult_le_compat_l. }
  assert (0 < / (2 * ridge)) as R0 by (apply Rinv_0_lt_compat; lra).
  assert (0 <= (1 + 16 * u) / (2 * ridge)) as C0 by (apply Rmult_le_pos; lra).
  destruct (fl_of_nonneg _ _ C0 Hc) as [C1 _]. fold m in C1.
  assert (0 <= m * (m * (m * t * (m * t)))) as Q6 by now apply Rmult_le_pos.
  assert (0 <= m * ((1 + 16 * u) / (2 * ridge))) as C2 by now apply Rmult_le_pos.
  assert (m * (m * (m * t * (m * t))) * (m * ((1 + 16 * u) / (2 * ridge))) <= q1 * c) as D0 by now apply Rmult_le_compat.
  assert (0 <= q1 * c) as D1 by (eapply Rle_trans; [|exact D0]; now apply Rmult_le_pos).
  destruct (fl_of_nonneg _ _ D1 Hd) as [D2 _]. fold m in D2.
  assert (v * v <= t * t) as VV.
  { replace (v * v) with (Rabs v * Rabs v) by (rewrite <- Rabs_mult; apply Rabs_right, Rle_ge, Rle_0_sqr).
    apply Rmult_le_compat; auto. }
  assert (1 <= m ^ 6 * (1 + 16 * u)) as K.
  { pose proof (bernoulli u (Rlt_le _ _ u_pos) 6 ltac:(lra)) as B. fold m in B. simpl INR in B.
    assert (1 <= (1 - 6 * u) * (1 + 16 * u)) by nra.
    assert ((1 - 6 * u) * (1 + 16 * u) <= m ^ 6 * (1 + 16 * u)) by (apply Rmult_le_compat_r; lra). lra. }
  apply Rle_trans with (t * t * / (2 * ridge)); [apply Rmult_le_compat_r; lra|].
  eapply Rle_trans; [|exact D2].
  apply Rle_trans with (m * (m * (m * (m * t * (m * t))) * (m * ((1 + 16 * u) / (2 * ridge))))).
  - replace (m * (m * (m * (m * t * (m * t))) * (m * ((1 + 16 * u) / (2 * ridge)))))
      with (t * t * / (2 * ridge) * (m ^ 6 * (1 + 16 * u))) by (field; lra).
    rewrite <- (Rmult_1_r (t * t * / (2 * ridge))) at 1. apply Rmult_le_compat_l; auto.
    apply Rmult_le_pos; [apply Rle_0_sqr|lra].
  - now apply Rmult_le_compat_l.
Qed.
End Bounds.

(** ** The error of v = Z'(w a) in any order of summation
    checker/bounds.py: "v_up = np.abs(v) + (gamma(n + 8) * norm + UNDERFLOW)[:, None]"
    [o] is the order of the sum over the rows, its terms are Z_ij fl(w_i a_i), rounded twice. *)
Theorem v_error P a j u o vc kappa : 0 < u -> INR (terms o + 1) * u < 1 ->
  at_most 2 o -> computes u 0 o vc ->
  exact o = v P a j -> absolute o = sum (fun i => Rabs (Z P i j * (w P i * a i))) (rows P) ->
  0 <= kappa -> sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W P ->
  Rabs (v P a j) <= Rabs vc + gamma u (terms o + 1) * (sqrt (kappa * W P) * sqrt (sum (fun i => w P i * (a i * a i)) (rows P))).
Proof.
  intros Hu Hn HM HC HE HA Hk HU.
  pose proof (product_error u 0 (Rlt_le _ _ Hu) (Rle_refl 0) o vc HM HC Hn) as E.
  rewrite Rmult_0_r, Rmult_0_l, Rplus_0_r, HE, HA in E.
  assert (0 <= gamma u (terms o + 1)) as G0.
  { unfold gamma. pose proof (pos_INR (terms o + 1)). apply Rmult_le_pos; [apply Rmult_le_pos; lra|]. left.
    apply Rinv_0_lt_compat. lra. }
  assert (sum (fun i => Rabs (Z P i j * (w P i * a i))) (rows P)
          <= sqrt (kappa * W P) * sqrt (sum (fun i => w P i * (a i * a i)) (rows P))) as Q.
  { set (A := sum (fun i => w P i * (a i * a i)) (rows P)).
    assert (0 <= A) as A0. { apply sum_nonneg. intros i Hi. apply Rmult_le_pos; [now apply w_nonneg|apply Rle_0_sqr]. }
    pose proof (W_nonneg P) as W0.
    rewrite <- sqrt_mult; [|now apply Rmult_le_pos|auto].
    set (X := sum (fun i => Rabs (Z P i j * (w P i * a i))) (rows P)).
    assert (0 <= X) as X0 by (apply sum_nonneg; intros; apply Rabs_pos).
    rewrite <- (Rabs_right X) by lra. apply abs_le_sqrt.
    assert (X = sum (fun i => (sqrt (w P i) * Rabs (Z P i j)) * (sqrt (w P i) * Rabs (a i))) (rows P)) as ->.
    { apply sum_ext. intros i Hi. pose proof (w_nonneg P i Hi) as Hw. rewrite !Rabs_mult, (Rabs_right (w P i)) by lra.
      transitivity (sqrt (w P i) * sqrt (w P i) * (Rabs (Z P i j) * Rabs (a i))); [rewrite sqrt_sqrt by auto|]; ring. }
    eapply Rle_trans; [apply cauchy_schwarz|].
    assert (forall f : nat -> R, sum (fun i => sqrt (w P i) * Rabs (f i) * (sqrt (w P i) * Rabs (f i))) (rows P)
            = sum (fun i => w P i * (f i * f i)) (rows P)) as K.
    { intros f. apply sum_ext. intros i Hi. pose proof (w_nonneg P i Hi) as Hw.
      transitivity (sqrt (w P i) * sqrt (w P i) * (Rabs (f i) * Rabs (f i))); [ring|]. rewrite sqrt_sqrt by auto.
      rewrite <- Rabs_mult, (Rabs_right (f i * f i)) by (apply Rle_ge, Rle_0_sqr). reflexivity. }
    cbv beta. rewrite (K (fun i => Z P i j)), (K a). fold A. apply Rmult_le_compat_r; auto. }
  assert (Rabs (v P a j) <= Rabs vc + Rabs (vc - v P a j)) as T.
  { replace (v P a j) with (vc + - (vc - v P a j)) at 1 by ring. eapply Rle_trans; [apply Rabs_triang|].
    rewrite Rabs_Ropp. lra. }
  assert (gamma u (terms o + 1) * sum (fun i => Rabs (Z P i j * (w P i * a i))) (rows P)
          <= gamma u (terms o + 1) * (sqrt (kappa * W P) * sqrt (sum (fun i => w P i * (a i * a i)) (rows P))))
    by (apply Rmult_le_compat_l; auto).
  lra.
Qed.
