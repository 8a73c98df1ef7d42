(** The squared loss by its moments, with the intercept eliminated exactly.
    checker/pair_sweep.py: "F(S) = (v0 - q(S)) / 2 with q(S) = c_S' M_SS^-1 c_S = max_b 2 c_S'b - b'M_SS b."
    The latter at b is PairBound.gain_at. *)
From Coq Require Import Reals List Lra Psatz Lia.
From Opt Require Import Sums Pairs Duality Intercept PairBound.
Import ListNotations.
Open Scope R_scope.

Section Moments.
Variable P : Problem.
Hypothesis is_squared : the_loss P = squared.
Hypothesis W_pos : 0 < W P.

Definition mean (f : nat -> R) := sum (fun i => w P i * f i) (rows P) / W P.
Definition yc i := y P i - mean (y P).
Definition zc i j := Z P i j - mean (fun i => Z P i j).
Definition v0 := sum (fun i => w P i * (yc i * yc i)) (rows P).
Definition cov j l := sum (fun i => w P i * (zc i j * zc i l)) (rows P).
Definition M j l := cov j l + (if Nat.eq_dec j l then ridge P else 0).
Definition c j := sum (fun i => w P i * (zc i j * yc i)) (rows P).

Lemma M_sym i j : M i j = M j i.
Proof.
  unfold M, cov. f_equal; [apply sum_ext; intros; ring|]. destruct (Nat.eq_dec i j), (Nat.eq_dec j i); congruence || lra.
Qed.

Lemma diagonal (b : nat -> R) r S : NoDup S ->
  sum (fun j => sum (fun l => (if Nat.eq_dec j l then r else 0) * b j * b l) S) S = r * sum (fun j => b j * b j) S.
Proof.
  intros N.
  assert (forall j T, ~ In j T -> sum (fun l => (if Nat.eq_dec j l then r else 0) * b j * b l) T = 0) as Z0.
  { intros j T. induction T as [|a T IH]; simpl; intros H; [lra|]. rewrite IH by tauto.
    destruct (Nat.eq_dec j a); [subst; tauto|lra]. }
  assert (forall j T, NoDup T -> In j T ->
          sum (fun l => (if Nat.eq_dec j l then r else 0) * b j * b l) T = r * (b j * b j)) as Z1.
  { intros j T NT. induction NT as [|a T Ha NT IH]; simpl; [tauto|]. intros [-> | H].
    - rewrite (Z0 j T Ha). destruct (Nat.eq_dec j j); [ring|congruence].
    - rewrite (IH H). destruct (Nat.eq_dec j a); [subst; tauto|ring]. }
  rewrite <- sum_scal. apply sum_ext. intros j Hj. now apply Z1.
Qed.

Lemma residual_centred S b i : residual P S b i - best_intercept P S b = yc i - sum (fun j => zc i j * b j) S.
Proof.
  assert (best_intercept P S b = mean (y P) - sum (fun j => mean (fun i => Z P i j) * b j) S) as E.
  { unfold best_intercept, residual, mean.
    rewrite (sum_ext (fun i => w P i * (y P i - sum (fun j => Z P i j * b j) S))
                     (fun i => w P i * y P i - sum (fun j => b j * (w P i * Z P i j)) S)).
    2: { intros x _. rewrite Rmult_minus_distr_l, <- sum_scal. f_equal. apply sum_ext; intros; ring. }
    rewrite sum_minus, sum_swap. unfold Rdiv. rewrite Rmult_minus_distr_r. f_equal.
    rewrite Rmult_comm, <- sum_scal. apply sum_ext. intros j _. rewrite sum_scal. ring. }
  rewrite E. unfold residual, yc, zc.
  rewrite (sum_ext (fun j => (Z P i j - mean (fun i => Z P i j)) * b j)
                   (fun j => Z P i j * b j - mean (fun i => Z P i j) * b j)) by (intros; ring).
  rewrite sum_minus. ring.
Qed.

(** The objective, its intercept at the best value: (v0 - (2 c'b - b'Mb)) / 2. *)
Theorem objective_of_moments S b : NoDup S ->
  objective P S b (best_intercept P S b) = (v0 - gain_at M c S b) / 2.
Proof.
  intros N. unfold objective. rewrite is_squared. simpl. unfold squared_loss, fit.
  rewrite (sum_ext _ (fun i => / 2 * (w P i * (yc i * yc i)) - w P i * (yc i * sum (fun j => zc i j * b j) S)
             + / 2 * (w P i * (sum (fun j => zc i j * b j) S * sum (fun j => zc i j * b j) S)))).
  2: { intros i _. pose proof (residual_centred S b i) as E. unfold residual in E.
       replace (y P i - (sum (fun j => Z P i j * b j) S + best_intercept P S b))
         with (yc i - sum (fun j => zc i j * b j) S) by lra. field. }
  rewrite sum_plus, sum_minus, !sum_scal. fold v0.
  assert (sum (fun i => w P i * (yc i * sum (fun j => zc i j * b j) S)) (rows P) = sum (fun j => c j * b j) S) as ->.
  { rewrite (sum_ext _ (fun i => sum (fun j => b j * (w P i * (zc i j * yc i))) S)).
    - rewrite sum_swap. apply sum_ext. intros j _. rewrite sum_scal. unfold c. ring.
    - intros i _. rewrite <- !sum_scal. apply sum_ext; intros; ring. }
  assert (sum (fun i => w P i * (sum (fun j => zc i j * b j) S * sum (fun j => zc i j * b j) S)) (rows P)
          = sum (fun j => sum (fun l => cov j l * b j * b l) S) S) as ->.
  { rewrite (sum_ext _ (fun i => sum (fun j => sum (fun l => b j * b l * (w P i * (zc i j * zc i l))) S) S)).
    - rewrite sum_swap. apply sum_ext. intros j _. rewrite sum_swap. apply sum_ext. intros l _.
      rewrite sum_scal. unfold cov. ring.
    - intros i _. set (s := sum (fun j => zc i j * b j) S).
      transitivity (sum (fun j => w P i * s * (zc i j * b j)) S); [rewrite sum_scal; unfold s; ring|].
      apply sum_ext. intros j _.
      transitivity (sum (fun l => w P i * (zc i j * b j) * (zc i l * b l)) S); [rewrite sum_scal; unfold s; ring|].
      apply sum_ext. intros l _. ring. }
  unfold gain_at.
  rewrite (sum_ext (fun i => sum (fun j => M i j * b i * b j) S)
            (fun i => sum (fun j => cov i j * b i * b j) S + sum (fun j => (if Nat.eq_dec i j then ridge P else 0) * b i * b j) S)).
  2: { intros i _. rewrite <- sum_plus. apply sum_ext. intros j _. unfold M. ring. }
  rewrite sum_plus, diagonal by auto. field.
Qed.

(** F(S) >= lower exactly if no b has 2 c'b - b'Mb above v0 - 2 lower. *)
Theorem F_of_moments S lower : NoDup S ->
  (F_at_least P lower S <-> forall b, gain_at M c S b <= v0 - 2 * lower).
Proof.
  intros N. split.
  - intros H b. specialize (H b (best_intercept P S b)). rewrite objective_of_moments in H by auto. lra.
  - intros H b b0. rewrite (squared_in_b0 P S is_squared W_pos). rewrite objective_of_moments by auto.
    specialize (H b). assert (0 <= (b0 - best_intercept P S b) * (b0 - best_intercept P S b)) by apply Rle_0_sqr. nra.
Qed.

(** The checker's c = Z'W(y - mean y): the columns need not be centred for it.
    checker/pair_sweep.py: "A is not centred, which costs the product of two means."
    Divided by W, which is 1 to rounding. *)
Lemma c_uncentred j : c j = sum (fun i => w P i * (Z P i j * yc i)) (rows P).
Proof.
  unfold c. assert (sum (fun i => w P i * yc i) (rows P) = 0) as E.
  { unfold yc. rewrite (sum_ext _ (fun i => w P i * y P i - mean (y P) * w P i)) by (intros; ring).
    rewrite sum_minus, sum_scal. unfold mean. fold (W P). field. lra. }
  unfold zc. rewrite (sum_ext _ (fun i => w P i * (Z P i j * yc i) - mean (fun i => Z P i j) * (w P i * yc i))) by (intros; ring).
  rewrite sum_minus, sum_scal, E. ring.
Qed.

Lemma cov_uncentred j l : cov j l = sum (fun i => w P i * (Z P i j * Z P i l)) (rows P)
  - sum (fun i => w P i * Z P i j) (rows P) * sum (fun i => w P i * Z P i l) (rows P) / W P.
Proof.
  unfold cov, zc. set (a := mean (fun i => Z P i j)). set (b := mean (fun i => Z P i l)).
  rewrite (sum_ext _ (fun i => w P i * (Z P i j * Z P i l) - a * (w P i * Z P i l) - b * (w P i * Z P i j) + a * b * w P i))
    by (intros; ring).
  rewrite sum_plus, !sum_minus, !sum_scal. fold (W P). unfold a, b, mean. field. lra.
Qed.

(** checker/pair_sweep.py: "On it A is 1, so M is exactly 1 + ridge, and the exact one is that plus (mean square - 1):
    ``off``, in units of M whatever the ridge." *)
Lemma diagonal_stored j : Rabs (M j j - (1 + ridge P))
  <= Rabs (sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) - 1)
     + sum (fun i => w P i * Z P i j) (rows P) * sum (fun i => w P i * Z P i j) (rows P) / W P.
Proof.
  unfold M. rewrite cov_uncentred. destruct (Nat.eq_dec j j); [|congruence].
  set (q := sum (fun i => w P i * (Z P i j * Z P i j)) (rows P)). set (s := sum (fun i => w P i * Z P i j) (rows P)).
  assert (0 <= s * s / W P). { apply Rmult_le_pos; [apply Rle_0_sqr|]. left. now apply Rinv_0_lt_compat. }
  replace (q - s * s / W P + ridge P - (1 + ridge P)) with ((q - 1) + - (s * s / W P)) by ring.
  eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp, (Rabs_right (s * s / W P)) by lra. lra.
Qed.

(** ** Stored moments
    checker/pair_sweep.py: "At the maximiser b of the exact q, ridge |b|^2 <= q <= v0, so q <= q_stored + 2 eps sqrt(k)
    |b| + eps k |b|^2. So it suffices that no set has q_stored > Q := v0 - 2 lower - that sum." *)
Theorem stored_moments_suffice S lower Mt ct eps Q : NoDup S -> 0 <= eps ->
  (forall i j, In i S -> In j S -> Rabs (M i j - Mt i j) <= eps) ->
  (forall j, In j S -> Rabs (c j - ct j) <= eps) ->
  let k := INR (length S) in let reach := sqrt (v0 / ridge P) in
  Q <= v0 - 2 * lower - 2 * eps * sqrt k * reach - eps * k * (reach * reach) ->
  (forall b, gain_at Mt ct S b <= Q) -> F_at_least P lower S.
Proof.
  intros N He HM Hc k reach HQ HG b b0. pose proof (ridge_pos P) as Hr.
  assert (0 <= v0) as Hv. { apply sum_nonneg. intros i Hi. apply Rmult_le_pos; [now apply w_nonneg|apply Rle_0_sqr]. }
  assert (0 <= v0 / ridge P) as Hvr by (apply Rmult_le_pos; auto; left; now apply Rinv_0_lt_compat).
  assert (0 <= k) as Hk by apply pos_INR. assert (0 <= reach) as HR by apply sqrt_pos.
  assert (reach * reach = v0 / ridge P) as HRR by (apply sqrt_sqrt; auto).
  assert (0 <= sqrt k) as Hsk by apply sqrt_pos. assert (sqrt k * sqrt k = k) as Hkk by (apply sqrt_sqrt; auto).
  set (n2 := sum (fun j => b j * b j) S).
  assert (0 <= n2) as Hn2 by (apply sum_nonneg; intros; apply Rle_0_sqr).
  (* the penalty alone, at a far away b *)
  assert (ridge P / 2 * n2 <= objective P S b b0) as Hpen.
  { unfold objective. fold n2. assert (0 <= sum (fun i => w P i * loss (the_loss P) (y P i) (fit P S b b0 i)) (rows P)); [|lra].
    apply sum_nonneg. intros i Hi. apply Rmult_le_pos; [now apply w_nonneg|]. rewrite is_squared. simpl. unfold squared_loss.
    pose proof (Rle_0_sqr (y P i - fit P S b b0 i)). unfold Rsqr in *. lra. }
  destruct (Rle_dec n2 (v0 / ridge P)) as [L | L].
  2: { pose proof (HG (fun _ => 0)) as G0. unfold gain_at in G0.
       rewrite (sum_ext (fun i => ct i * 0) (fun _ => 0)) in G0 by (intros; ring).
       rewrite (sum_ext (fun i => sum (fun j => Mt i j * 0 * 0) S) (fun _ => 0)) in G0.
       2: { intros i _. rewrite (sum_ext _ (fun _ => 0)) by (intros; ring). rewrite sum_const. ring. }
       rewrite sum_const, Rmult_0_r in G0.
       assert (v0 < ridge P * n2).
       { apply Rnot_le_lt in L. apply Rmult_lt_compat_r with (r := ridge P) in L; auto.
         unfold Rdiv in L. rewrite Rmult_assoc, Rinv_l, Rmult_1_r in L by lra. lra. }
       assert (0 <= 2 * eps * sqrt k * reach) by (repeat apply Rmult_le_pos; lra).
       assert (0 <= eps * k * (reach * reach)) by (repeat apply Rmult_le_pos; lra). lra. }
  (* |b|_1 <= sqrt k reach *)
  set (n1 := sum (fun j => Rabs (b j)) S).
  assert (0 <= n1) as Hn1 by (apply sum_nonneg; intros; apply Rabs_pos).
  assert (n1 <= sqrt k * reach) as H1.
  { apply Rsqr_incr_0_var; [|now apply Rmult_le_pos]. unfold Rsqr.
    pose proof (cauchy_schwarz (fun j => Rabs (b j)) (fun _ => 1) S) as CS. simpl in CS.
    rewrite (sum_ext (fun x => Rabs (b x) * 1) (fun j => Rabs (b j))) in CS by (intros; ring).
    rewrite (sum_ext (fun x => Rabs (b x) * Rabs (b x)) (fun j => b j * b j)) in CS.
    2: { intros j _. rewrite <- Rabs_mult, Rabs_right; auto. apply Rle_ge, Rle_0_sqr. }
    rewrite sum_const in CS. fold n1 n2 k in CS.
    replace (sqrt k * reach * (sqrt k * reach)) with (sqrt k * sqrt k * (reach * reach)) by ring. rewrite Hkk, HRR.
    assert (n2 * (k * (1 * 1)) <= v0 / ridge P * (k * (1 * 1))) by (apply Rmult_le_compat_r; lra). lra. }
  (* so the exact gain is at most the stored one, and the errors *)
  assert (gain_at M c S b <= gain_at Mt ct S b + 2 * (eps * n1) + eps * (n1 * n1)) as HD.
  { unfold gain_at.
    assert (sum (fun i => c i * b i) S <= sum (fun i => ct i * b i) S + eps * n1) as D1.
    { unfold n1. rewrite <- sum_scal, <- sum_plus. apply sum_le. intros j Hj. specialize (Hc j Hj).
      assert ((c j - ct j) * b j <= eps * Rabs (b j)); [|lra].
      eapply Rle_trans; [apply Rle_abs|]. rewrite Rabs_mult. apply Rmult_le_compat_r; [apply Rabs_pos|auto]. }
    assert (sum (fun i => sum (fun j => Mt i j * b i * b j) S) S
            <= sum (fun i => sum (fun j => M i j * b i * b j) S) S + eps * (n1 * n1)) as D2.
    { assert (eps * (n1 * n1) = sum (fun i => sum (fun j => eps * (Rabs (b i) * Rabs (b j))) S) S) as ->.
      { unfold n1 at 1. rewrite (Rmult_comm _ n1), <- Rmult_assoc, <- sum_scal. apply sum_ext. intros i _.
        unfold n1. rewrite !sum_scal. ring. }
      rewrite <- sum_plus. apply sum_le. intros i Hi. rewrite <- sum_plus. apply sum_le. intros j Hj.
      specialize (HM i j Hi Hj).
      assert ((Mt i j - M i j) * (b i * b j) <= eps * (Rabs (b i) * Rabs (b j))); [|lra].
      eapply Rle_trans; [apply Rle_abs|]. rewrite Rabs_mult, Rabs_mult, Rabs_minus_sym.
      apply Rmult_le_compat_r; [apply Rmult_le_pos; apply Rabs_pos|auto]. }
    lra. }
  assert (n1 * n1 <= sqrt k * reach * (sqrt k * reach)) as H2 by (apply Rmult_le_compat; auto).
  replace (sqrt k * reach * (sqrt k * reach)) with (sqrt k * sqrt k * (reach * reach)) in H2 by ring. rewrite Hkk in H2.
  assert (eps * n1 <= eps * (sqrt k * reach)) by (apply Rmult_le_compat_l; auto).
  assert (eps * (n1 * n1) <= eps * (k * (reach * reach))) by (apply Rmult_le_compat_l; auto).
  specialize (HG b).
  rewrite (squared_in_b0 P S is_squared W_pos), objective_of_moments by auto.
  assert (0 <= (b0 - best_intercept P S b) * (b0 - best_intercept P S b)) by apply Rle_0_sqr. nra.
Qed.
End Moments.

(** checker/pair_sweep.py: "Divided by 1 + ridge, M becomes A with unit diagonal, c is u."
    The gains are those of b / sqrt(1 + ridge). *)
Lemma gain_scaled m c tau S b : tau <> 0 ->
  gain_at (fun i j => m i j / (tau * tau)) (fun i => c i / tau) S b = gain_at m c S (fun i => b i / tau).
Proof.
  intros Ht. unfold gain_at. f_equal.
  - f_equal. apply sum_ext. intros. field. auto.
  - apply sum_ext. intros i _. apply sum_ext. intros j _. field. auto.
Qed.
