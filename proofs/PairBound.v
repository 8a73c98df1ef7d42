(** The pair bound, open pairs, and the heaviest pair first, in the form of checker/pair_sweep.py: conditional variances
    d_i = m_ii, covariances m_ij, correlations c_i with y, not normalised. *)
From Coq Require Import Reals List Permutation Bool Lra Psatz Lia.
From Opt Require Import Sums Pairs.
Import ListNotations.
Open Scope R_scope.

Section Pair.
Variable m : nat -> nat -> R.
Variable c : nat -> R.
Hypothesis m_sym : forall i j, m i j = m j i.

(** The gain of T is the maximum over b of 2 c'b - b'Cb: a bound of the gain is a bound for every b. *)
Definition gain_at (T : list nat) (b : nat -> R) :=
  2 * sum (fun i => c i * b i) T - sum (fun i => sum (fun j => m i j * b i * b j) T) T.

Definition phi (s : R) (i j : nat) :=
  (c i * c i * m j j + c j * c j * m i i - 2 * s * m i j * c i * c j) / (m i i * m j j - s * s * (m i j * m i j)).

(** checker/pair_sweep.py: "each bracket is at most phi_ij = (c_i^2 d_j + c_j^2 d_i - 2 s m c_i c_j) / (d_i d_j - s^2 m^2)"
    Where d_i > 0. *)
Lemma bracket s i j x z : 0 < m i i -> s * s * (m i j * m i j) < m i i * m j j ->
  2 * (c i * x + c j * z) - (m i i * x * x + m j j * z * z + 2 * s * m i j * x * z) <= phi s i j.
Proof.
  intros Hp HD. unfold phi.
  set (p := m i i) in *. set (q := m j j) in *. set (u := s * m i j).
  assert (s * s * (m i j * m i j) = u * u) as Eu by (unfold u; ring). rewrite Eu in *.
  replace (2 * s * m i j * x * z) with (2 * u * x * z) by (unfold u; ring).
  replace (2 * s * m i j * c i * c j) with (2 * u * c i * c j) by (unfold u; ring).
  set (D := p * q - u * u). assert (0 < D) as HD' by (unfold D; lra).
  set (X := x - (c i * q - c j * u) / D). set (Y := z - (c j * p - c i * u) / D).
  assert (p * (p * X * X + q * Y * Y + 2 * u * X * Y) = (p * X + u * Y) * (p * X + u * Y) + D * (Y * Y)) as E1
    by (unfold D; ring).
  assert (0 <= p * X * X + q * Y * Y + 2 * u * X * Y) as Q.
  { assert (0 <= (p * X + u * Y) * (p * X + u * Y)) by apply Rle_0_sqr.
    assert (0 <= D * (Y * Y)) by (apply Rmult_le_pos; [lra|apply Rle_0_sqr]).
    apply Rmult_le_reg_l with p; [auto|]. rewrite Rmult_0_r. lra. }
  assert ((c i * c i * q + c j * c j * p - 2 * u * c i * c j) / D
          - (2 * (c i * x + c j * z) - (p * x * x + q * z * z + 2 * u * x * z))
          = p * X * X + q * Y * Y + 2 * u * X * Y) as E2.
  { unfold X, Y. unfold D. field. fold D. lra. }
  lra.
Qed.

(** A pair of T for the pair bound: s |m_ij| < sqrt(d_i d_j), and a positive variance. *)
Definition admissible s (q : nat * nat) :=
  0 < m (fst q) (fst q) /\ s * s * (m (fst q) (snd q) * m (fst q) (snd q)) < m (fst q) (fst q) * m (snd q) (snd q).

(** The gain is at most (1/s) sum_{i<j} phi_ij, as
    checker/pair_sweep.py: "2 c'b - b'Cb is (1/s) sum_{i<j} [2 (c_i b_i + c_j b_j) - (d_i b_i^2 + d_j b_j^2 + 2 s m_ij b_i b_j)]" *)
Theorem pair_bound T b : let s := INR (length T) - 1 in (2 <= length T)%nat ->
  (forall q, In q (pairs T) -> admissible s q) ->
  gain_at T b <= / s * sum (fun q => phi s (fst q) (snd q)) (pairs T).
Proof.
  intros s HL HA.
  assert (0 < s) as Hs. { unfold s. apply le_INR in HL. simpl in HL. lra. }
  apply Rmult_le_reg_l with s; [auto|]. rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l by lra.
  unfold gain_at. rewrite (quadratic_form m b T m_sym).
  apply Rle_trans with (sum (fun q => (2 * c (fst q) * b (fst q) - m (fst q) (fst q) * b (fst q) * b (fst q)
       + (2 * c (snd q) * b (snd q) - m (snd q) (snd q) * b (snd q) * b (snd q)))
       - 2 * s * (m (fst q) (snd q) * b (fst q) * b (snd q))) (pairs T)).
  - rewrite sum_minus, sum_scal.
    rewrite (sum_pairs_both (fun i => 2 * c i * b i - m i i * b i * b i) T). fold s.
    rewrite sum_minus.
    rewrite (sum_ext (fun x => 2 * c x * b x) (fun x => 2 * (c x * b x)) T) by (intros; ring).
    rewrite sum_scal. right. ring.
  - apply sum_le. intros [i j] Hq. destruct (HA _ Hq) as [H1 H2]. simpl in *.
    pose proof (bracket s i j (b i) (b j) H1 H2). lra.
Qed.

(** checker/pair_sweep.py: "Hence a set T that gains more than the gap has an *open* pair: s |m| >= sqrt(d_i d_j), or
    phi > 2 gap / r."
    [heavy] is any test that leaves admissible pairs only, as that of `open_pairs`, which lets 0.9 d_i d_j - eta pass. *)
Theorem open_pair T b gap (heavy : nat * nat -> bool) : let s := INR (length T) - 1 in (2 <= length T)%nat ->
  (forall q, In q (pairs T) -> heavy q = false -> admissible s q) -> gain_at T b > gap ->
  exists q, In q (pairs T) /\ (heavy q = true \/ phi s (fst q) (snd q) > 2 * gap / INR (length T)).
Proof.
  intros s HL HA HG.
  destruct (existsb heavy (pairs T)) eqn:Ex.
  { apply existsb_exists in Ex. destruct Ex as (q & Hq & E). exists q. auto. }
  assert (forall q, In q (pairs T) -> heavy q = false) as NH.
  { intros q Hq. destruct (heavy q) eqn:E; auto. rewrite <- not_true_iff_false in Ex. exfalso. apply Ex.
    apply existsb_exists. eauto. }
  assert (2 <= INR (length T)) as HR by (apply le_INR in HL; simpl in HL; lra).
  assert (0 < s) as Hs by (unfold s; lra).
  assert (gain_at T b <= / s * sum (fun q => phi s (fst q) (snd q)) (pairs T)) as Q by (apply pair_bound; auto).
  destruct (above_the_mean (fun q => phi s (fst q) (snd q)) (2 * gap / INR (length T)) (pairs T)) as (q & Hq & E).
  - pose proof (length_pairs T) as HP.
    assert (INR (length (pairs T)) * (2 * gap / INR (length T)) = s * gap) as ->.
    { unfold s. replace (INR (length (pairs T))) with (INR (length T) * (INR (length T) - 1) / 2) by lra. field. lra. }
    assert (s * gap < s * (/ s * sum (fun q => phi s (fst q) (snd q)) (pairs T))) as K.
    { apply Rmult_lt_compat_l; lra. }
    rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l in K by lra. lra.
  - exists q. auto.
Qed.

(** The test without division,
    checker/pair_sweep.py: "test = ci * ci * dj + cj * cj * di - (2 * s) * (ci * cj) * C - theta * (both - (s * s) * squared)" *)
Lemma test_without_division s theta q : admissible s q ->
  (phi s (fst q) (snd q) > theta <->
   let (i, j) := q in c i * c i * m j j + c j * c j * m i i - 2 * s * m i j * c i * c j
                      - theta * (m i i * m j j - s * s * (m i j * m i j)) > 0).
Proof.
  destruct q as [i j]. intros [H1 H2]. unfold phi. simpl in *.
  set (N := c i * c i * m j j + c j * c j * m i i - 2 * s * m i j * c i * c j).
  set (D := m i i * m j j - s * s * (m i j * m i j)). assert (0 < D) as HD by (unfold D; lra).
  split; intros H.
  - assert (theta * D < N / D * D) as Q by (apply Rmult_lt_compat_r; lra).
    unfold Rdiv in Q. rewrite Rmult_assoc, Rinv_l, Rmult_1_r in Q by lra. lra.
  - apply Rmult_lt_reg_r with D; auto. unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. lra.
Qed.

(** checker/pair_sweep.py: "For r = 2 this is the exact gain."
    A better pair passes the test with s = 1, if m is positive definite on it. *)
Corollary exact_pair i j b gap : admissible 1 (i, j) -> gain_at [i; j] b > gap -> phi 1 i j > gap.
Proof.
  intros HA HG. assert (gain_at [i; j] b <= phi 1 i j) as Q; [|lra].
  pose proof (pair_bound [i; j] b) as H. simpl in H. replace (1 + 1 - 1) with 1 in H by ring.
  rewrite Rinv_1, Rmult_1_l, Rplus_0_r in H. apply H; [lia|]. intros q [<-|[]]. exact HA.
Qed.

(** ** The heaviest pair first, and the cover of `_quadruples`
    checker/pair_sweep.py: "If a pair of T has 9 rho^2 > 0.9, let e be the heaviest: no pair of T has a larger |rho|
    (cap = |rho_e|)."
    [heavy] and [phi_open] may be any tests such that a set with a better gain has a pair that passes one of them;
    [strong] any list of neurons, in any order. *)
Section Cover.
Variable weight : nat * nat -> R.                (* |rho| as stored *)
Hypothesis weight_sym : forall i j, weight (i, j) = weight (j, i).
Variable tau : R.                                (* tau_h *)
Variable phi_open : nat -> nat -> Prop.
Variable strong : list nat.

Definition heavy (q : nat * nat) := if Rlt_dec tau (weight q) then true else false.
Definition no_pair_above (cap : R) (T : list nat) := forall i j, In i T -> In j T -> i <> j -> weight (i, j) <= cap.

Theorem heaviest_pair_first T :
  NoDup T ->
  (exists q, In q (pairs T) /\ (heavy q = true \/ phi_open (fst q) (snd q))) ->
  (* (H) *) (exists a b, In a T /\ In b T /\ a <> b /\ tau < weight (a, b) /\ no_pair_above (weight (a, b)) T) \/
  (* (V) *) (exists before v after, strong = before ++ v :: after /\ In v T /\ (forall x, In x before -> ~ In x T)
             /\ no_pair_above tau T) \/
  (* (L) *) (exists a b, In a T /\ In b T /\ a <> b /\ phi_open a b /\ weight (a, b) <= tau
             /\ (forall x, In x strong -> ~ In x T) /\ no_pair_above tau T).
Proof.
  intros NT (q & Hq & Hopen).
  assert (forall a b, In (a, b) (pairs T) -> a <> b) as Hne.
  { clear - NT. induction T as [|x T IH]; simpl; [tauto|]. inversion NT; subst. intros a b.
    rewrite in_app_iff, in_map_iff. intros [(z & E & Hz) | H]; [inversion E; subst; intros ->; contradiction|auto]. }
  destruct (largest weight (pairs T)) as ([a b] & Hab & Hmax). { intros E. rewrite E in Hq. destruct Hq. }
  assert (no_pair_above (weight (a, b)) T) as HB.
  { intros i j Hi Hj D. destruct (pairs_of_two T i j Hi Hj D) as [H | H]; [now apply Hmax|].
    rewrite weight_sym. now apply Hmax. }
  destruct (in_pairs T a b Hab) as [Ha Hb].
  destruct (Rlt_dec tau (weight (a, b))) as [L | L].
  { left. exists a, b. repeat split; auto. }
  right.
  assert (no_pair_above tau T) as HN. { intros i j Hi Hj D. pose proof (HB i j Hi Hj D). lra. }
  assert ((exists before v after, strong = before ++ v :: after /\ In v T /\ (forall x, In x before -> ~ In x T)) \/
          (forall x, In x strong -> ~ In x T)) as HS.
  { clear - T. induction strong as [|v vs IH]; [right; simpl; tauto|].
    destruct (in_dec Nat.eq_dec v T) as [Hv|Hv].
    - left. exists [], v, vs. simpl. auto.
    - destruct IH as [(before & v' & after & -> & Hv' & HB) | H].
      + left. exists (v :: before), v', after. simpl. repeat split; auto. intros x [<-|Hx]; auto.
      + right. intros x [<-|Hx]; auto. }
  destruct HS as [(before & v' & after & E & Hv & HB') | HS]; [left; exists before, v', after; auto|].
  right. destruct Hopen as [Hh | Hp].
  - unfold heavy in Hh. destruct (Rlt_dec tau (weight q)) as [L'|]; [|discriminate].
    exfalso. apply Hmax in Hq. lra.
  - destruct q as [i j]. simpl in Hp. destruct (in_pairs T i j Hq) as [Hi Hj]. pose proof (Hne i j Hq).
    exists i, j. repeat split; auto.
Qed.
End Cover.

(** ** Projecting a column out, as an upper bound: `without` of checker/pair_sweep.py, and
    checker/exhaustive.py: "Conditional on v, these are ``m_ij - m_iv m_jv / d_v`` and ``c_i - m_iv c_v / d_v``." *)
End Pair.

Theorem project_out m c v T b : (forall i j, m i j = m j i) -> 0 < m v v ->
  gain_at m c (v :: T) b <=
  c v * c v / m v v
  + gain_at (fun i j => m i j - m i v * m j v / m v v) (fun i => c i - m i v * c v / m v v) T b.
Proof.
  intros Hm Hv. unfold gain_at. cbn [sum].
  set (L := sum (fun i => m i v * b i) T).
  rewrite (sum_plus (fun i => m i v * b i * b v) (fun i => sum (fun j => m i j * b i * b j) T) T).
  rewrite (sum_ext (fun j => m v j * b v * b j) (fun j => b v * (m j v * b j)) T)
    by (intros; rewrite (Hm v); ring).
  rewrite (sum_ext (fun j => m j v * b j * b v) (fun j => b v * (m j v * b j)) T) by (intros; ring).
  rewrite !sum_scal. fold L.
  rewrite (sum_ext (fun i => sum (fun j => (m i j - m i v * m j v / m v v) * b i * b j) T)
            (fun i => sum (fun j => m i j * b i * b j) T - / m v v * L * (m i v * b i)) T).
  2: { intros i _.
       rewrite (sum_ext (fun j => (m i j - m i v * m j v / m v v) * b i * b j)
                 (fun j => m i j * b i * b j - / m v v * (m i v * b i) * (m j v * b j)) T)
         by (intros; unfold Rdiv; ring).
       rewrite sum_minus, sum_scal. fold L. ring. }
  rewrite (sum_minus (fun i => sum (fun j => m i j * b i * b j) T) (fun i => / m v v * L * (m i v * b i))), sum_scal.
  fold L.
  rewrite (sum_ext (fun i => (c i - m i v * c v / m v v) * b i) (fun i => c i * b i - c v / m v v * (m i v * b i)) T)
    by (intros; unfold Rdiv; ring).
  rewrite sum_minus, sum_scal. fold L.
  assert (0 <= (m v v * b v + L - c v) * (m v v * b v + L - c v) / m v v) as Q.
  { apply Rmult_le_pos; [apply Rle_0_sqr|]. left. now apply Rinv_0_lt_compat. }
  apply Rminus_le.
  match goal with |- ?X <= 0 => replace X with (- ((m v v * b v + L - c v) * (m v v * b v + L - c v) / m v v)) end.
  - lra.
  - field. lra.
Qed.
