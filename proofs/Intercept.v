(** checker/bounds.py: "B >= |b0| at the optimum of every support."
    No optimum is supposed to exist: every point has one that is as good, with |b0| <= B (Duality.intercepts_within). *)
From Coq Require Import Reals List Lra Psatz Lia.
From Opt Require Import Sums Duality.
Import ListNotations.
Open Scope R_scope.

Lemma abs_le_sqrt x a : x * x <= a -> Rabs x <= sqrt a.
Proof.
  intros H. rewrite <- sqrt_Rsqr_abs. apply sqrt_le_1_alt. exact H.
Qed.

(** (sum w z)^2 <= (sum w) (sum w z^2), for weights that are not negative. *)
Lemma weighted_cauchy_schwarz (w z : nat -> R) l : (forall i, In i l -> 0 <= w i) ->
  sum (fun i => w i * z i) l * sum (fun i => w i * z i) l <= sum w l * sum (fun i => w i * (z i * z i)) l.
Proof.
  intros Hw. pose proof (cauchy_schwarz (fun i => sqrt (w i)) (fun i => sqrt (w i) * z i) l) as H. simpl in H.
  rewrite (sum_ext (fun x => sqrt (w x) * (sqrt (w x) * z x)) (fun i => w i * z i)) in H.
  2: { intros i Hi. rewrite <- Rmult_assoc, sqrt_sqrt by auto. reflexivity. }
  rewrite (sum_ext (fun x => sqrt (w x) * sqrt (w x)) w) in H by (intros i Hi; apply sqrt_sqrt; auto).
  rewrite (sum_ext (fun x => sqrt (w x) * z x * (sqrt (w x) * z x)) (fun i => w i * (z i * z i))) in H.
  2: { intros i Hi. transitivity (sqrt (w i) * sqrt (w i) * (z i * z i)); [ring|]. now rewrite sqrt_sqrt by auto. }
  exact H.
Qed.

Section Intercept.
Variable P : Problem.
Variable S : list nat.
Definition W := sum (w P) (rows P).
Definition k := INR (length S).

(** Columns of unit square, to a factor kappa, which the checker covers by its factor 1.01 on B. *)
Variable kappa : R.
Hypothesis kappa_nonneg : 0 <= kappa.
Hypothesis unit_columns : forall j, In j S -> sum (fun i => w P i * (Z P i j * Z P i j)) (rows P) <= kappa * W.

Lemma W_nonneg : 0 <= W.
Proof. apply sum_nonneg. apply w_nonneg. Qed.

(** For any part of the weights: |sum_j b_j m_j|^2 <= |b|^2 k W_c kappa W, with m_j = sum_i c_i z_ij. *)
Lemma linear_part (c : nat -> R) (b : nat -> R) : (forall i, In i (rows P) -> 0 <= c i <= w P i) ->
  let s := sum (fun j => sum (fun i => c i * Z P i j) (rows P) * b j) S in
  s * s <= sum (fun j => b j * b j) S * (k * (sum c (rows P) * (kappa * W))).
Proof.
  intros Hc s. set (m := fun j => sum (fun i => c i * Z P i j) (rows P)).
  assert (s * s <= sum (fun j => m j * m j) S * sum (fun j => b j * b j) S) as H by apply (cauchy_schwarz m b S).
  assert (0 <= sum c (rows P)) as HC by (apply sum_nonneg; intros; apply Hc; auto).
  assert (sum (fun j => m j * m j) S <= k * (sum c (rows P) * (kappa * W))) as HM.
  { unfold k. rewrite <- sum_const. apply sum_le. intros j Hj.
    eapply Rle_trans; [apply (weighted_cauchy_schwarz c (fun i => Z P i j)); intros; apply Hc; auto|].
    apply Rmult_le_compat_l; auto. eapply Rle_trans; [|apply (unit_columns j Hj)].
    apply sum_le. intros i Hi. apply Rmult_le_compat_r; [apply Rle_0_sqr|apply Hc; auto]. }
  eapply Rle_trans; [exact H|]. rewrite Rmult_comm. apply Rmult_le_compat_l; auto.
  apply sum_nonneg. intros. apply Rle_0_sqr.
Qed.

(** checker/bounds.py: "F(S) <= F(empty) <= F0 = (1/2, log 2, 1) W at the zero fit, so |b| <= sqrt(2 F0 / ridge)." *)
Lemma coefficients_within F0 b b0 :
  (forall i f, In i (rows P) -> 0 <= loss (the_loss P) (y P i) f) ->
  objective P S b b0 <= F0 -> sum (fun j => b j * b j) S <= 2 * F0 / ridge P.
Proof.
  intros Hl H. unfold objective in H. pose proof (ridge_pos P) as Hr.
  assert (0 <= sum (fun i => w P i * loss (the_loss P) (y P i) (fit P S b b0 i)) (rows P)) as Q.
  { apply sum_nonneg. intros i Hi. apply Rmult_le_pos; [now apply w_nonneg|now apply Hl]. }
  apply Rmult_le_reg_r with (ridge P); auto. unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. lra.
Qed.

Lemma zero_fit : objective P S (fun _ => 0) 0 = sum (fun i => w P i * loss (the_loss P) (y P i) 0) (rows P).
Proof.
  unfold objective, fit.
  rewrite (sum_ext (fun j => 0 * 0) (fun _ => 0) S) by (intros; ring). rewrite sum_const, Rmult_0_r, Rmult_0_r, Rplus_0_r.
  apply sum_ext. intros i _. rewrite (sum_ext _ (fun _ => 0) S) by (intros; ring). rewrite sum_const. repeat f_equal. ring.
Qed.

(** B of the checker, before its factor 1.01. *)
Definition B (F0 Wc : R) := F0 / Wc + sqrt (k * kappa * W / Wc) * sqrt (2 * F0 / ridge P).

Lemma B_mono F0 Wc Wc' : 0 <= F0 -> 0 < Wc <= Wc' -> B F0 Wc' <= B F0 Wc.
Proof.
  intros HF [H1 H2]. unfold B. pose proof W_nonneg. assert (/ Wc' <= / Wc) by (apply Rinv_le_contravar; auto).
  assert (0 <= k) by apply pos_INR.
  apply Rplus_le_compat.
  - unfold Rdiv. apply Rmult_le_compat_l; auto.
  - apply Rmult_le_compat_r; [apply sqrt_pos|]. apply sqrt_le_1_alt. unfold Rdiv. apply Rmult_le_compat_l; auto.
    repeat apply Rmult_le_pos; auto.
Qed.

Lemma B_nonneg F0 Wc : 0 <= F0 -> 0 < Wc -> 0 <= B F0 Wc.
Proof.
  intros HF H1. unfold B. apply Rplus_le_le_0_compat.
  - apply Rmult_le_pos; auto. left. now apply Rinv_0_lt_compat.
  - apply Rmult_le_pos; apply sqrt_pos.
Qed.

Section Classes.
Hypothesis labels : forall i, In i (rows P) -> sign (y P i).
Hypothesis loss_nonneg : forall i f, In i (rows P) -> 0 <= loss (the_loss P) (y P i) f.
(** checker/bounds.py: "Logistic and hinge loss are at least -y f" *)
Hypothesis loss_linear : forall i f, In i (rows P) -> - (y P i * f) <= loss (the_loss P) (y P i) f.

(** The weights of class s = 1 or -1. *)
Definition wc (s : R) i := w P i * ((1 + s * y P i) / 2).
Definition class_weight s := sum (wc s) (rows P).

Lemma wc_between s i : sign s -> In i (rows P) -> 0 <= wc s i <= w P i.
Proof.
  intros Hs Hi. pose proof (w_nonneg P i Hi). unfold wc.
  destruct Hs as [-> | ->], (labels i Hi) as [-> | ->]; lra.
Qed.

Lemma one_side s b b0 F0 : sign s -> 0 <= F0 -> 0 < class_weight s -> objective P S b b0 <= F0 ->
  - s * b0 <= B F0 (class_weight s).
Proof.
  intros Hs HF0 HWs HO. set (Ws := class_weight s) in *. pose proof (ridge_pos P) as Hr.
  set (lin := sum (fun j => sum (fun i => wc s i * Z P i j) (rows P) * b j) S).
  (* the class's losses are at least -s (b0 + z'b) *)
  assert (- s * (Ws * b0 + lin) <= F0) as H1.
  { eapply Rle_trans; [|exact HO]. unfold objective.
    assert (0 <= ridge P / 2 * sum (fun j => b j * b j) S) as Q.
    { apply Rmult_le_pos; [lra|]. apply sum_nonneg. intros. apply Rle_0_sqr. }
    assert (- s * (Ws * b0 + lin) <= sum (fun i => w P i * loss (the_loss P) (y P i) (fit P S b b0 i)) (rows P)); [|lra].
    assert (Ws * b0 + lin = sum (fun i => wc s i * fit P S b b0 i) (rows P)) as ->.
    { unfold fit.
      rewrite (sum_ext (fun i => wc s i * (sum (fun j => Z P i j * b j) S + b0))
                       (fun i => sum (fun j => b j * (wc s i * Z P i j)) S + b0 * wc s i)).
      2: { intros i _. rewrite Rmult_plus_distr_l, <- sum_scal. f_equal; [|ring]. apply sum_ext; intros; ring. }
      rewrite sum_plus, sum_swap, sum_scal. unfold lin, Ws, class_weight.
      rewrite (sum_ext (fun j => sum (fun i => b j * (wc s i * Z P i j)) (rows P))
                       (fun j => sum (fun i => wc s i * Z P i j) (rows P) * b j)); [ring|].
      intros j _. rewrite sum_scal. ring. }
    rewrite <- sum_scal. apply sum_le. intros i Hi.
    pose proof (loss_nonneg i (fit P S b b0 i) Hi) as L0. pose proof (loss_linear i (fit P S b b0 i) Hi) as L1.
    pose proof (w_nonneg P i Hi) as Hw. unfold wc.
    destruct Hs as [-> | ->], (labels i Hi) as [E | E]; rewrite E in *; nra. }
  assert (lin * lin <= sum (fun j => b j * b j) S * (k * (Ws * (kappa * W)))) as H2.
  { apply (linear_part (wc s) b). intros i Hi. now apply wc_between. }
  assert (sum (fun j => b j * b j) S <= 2 * F0 / ridge P) as H3 by (apply (coefficients_within F0 b b0); auto).
  pose proof W_nonneg as HW. assert (0 <= k) as Hk by apply pos_INR.
  assert (Rabs lin <= Ws * (sqrt (k * kappa * W / Ws) * sqrt (2 * F0 / ridge P))) as H4.
  { assert (0 <= k * kappa * W / Ws) as Q1.
    { unfold Rdiv. repeat apply Rmult_le_pos; auto. left. now apply Rinv_0_lt_compat. }
    assert (0 <= 2 * F0 / ridge P) as Q2.
    { unfold Rdiv. repeat apply Rmult_le_pos; auto; try lra. left. now apply Rinv_0_lt_compat. }
    rewrite <- sqrt_mult by auto. rewrite <- (sqrt_Rsqr Ws) at 1 by lra. rewrite <- sqrt_mult; [|apply Rle_0_sqr|now apply Rmult_le_pos].
    apply abs_le_sqrt. unfold Rsqr.
    apply Rle_trans with (2 * F0 / ridge P * (k * (Ws * (kappa * W)))).
    - eapply Rle_trans; [exact H2|]. apply Rmult_le_compat_r; auto. repeat apply Rmult_le_pos; auto; lra.
    - right. field. split; lra. }
  unfold B. apply Rmult_le_reg_l with Ws; auto.
  replace (Ws * (F0 / Ws + sqrt (k * kappa * W / Ws) * sqrt (2 * F0 / ridge P)))
    with (F0 + Ws * (sqrt (k * kappa * W / Ws) * sqrt (2 * F0 / ridge P))) by (field; lra).
  assert (s * lin <= Rabs lin).
  { pose proof (Rle_abs lin). pose proof (Rle_abs (- lin)) as Q. rewrite Rabs_Ropp in Q. destruct Hs as [-> | ->]; lra. }
  lra.
Qed.

(** checker/bounds.py: "over one class W_c (|b0| - |m_c'b|) <= F0 with the class mean m_c"; the smaller class gives B. *)
Theorem intercept_of_classes F0 Wmin : 0 <= F0 ->
  sum (fun i => w P i * loss (the_loss P) (y P i) 0) (rows P) <= F0 ->
  0 < Wmin <= class_weight 1 -> Wmin <= class_weight (-1) -> intercepts_within P (B F0 Wmin) S.
Proof.
  intros HF0 HZ [Hm H1] H2 b b0. destruct (Rle_dec (objective P S b b0) F0) as [L | L].
  - exists b, b0. split; [|lra].
    assert (- (1) * b0 <= B F0 Wmin).
    { eapply Rle_trans; [apply (one_side 1 b b0 F0); auto; [now left|lra]|]. apply B_mono; auto. }
    assert (- (-1) * b0 <= B F0 Wmin).
    { eapply Rle_trans; [apply (one_side (-1) b b0 F0); auto; [now right|lra]|]. apply B_mono; auto. }
    apply Rabs_le. lra.
  - exists (fun _ => 0), 0. rewrite Rabs_R0, zero_fit. split; [now apply B_nonneg|lra].
Qed.
End Classes.

(** checker/bounds.py: "For the squared loss b0 = mean y - (mean z)'b is smaller still."
    If |y| <= 1, and W_min is at most half of W. *)
Section Squared.
Hypothesis is_squared : the_loss P = squared.
Hypothesis y_within : forall i, In i (rows P) -> -1 <= y P i <= 1.
Hypothesis W_pos : 0 < W.

Definition residual (b : nat -> R) i := y P i - sum (fun j => Z P i j * b j) S.
Definition best_intercept b := sum (fun i => w P i * residual b i) (rows P) / W.

Lemma squared_in_b0 b b0 :
  objective P S b b0 = objective P S b (best_intercept b) + W / 2 * ((b0 - best_intercept b) * (b0 - best_intercept b)).
Proof.
  unfold objective. rewrite is_squared. simpl. unfold squared_loss, fit.
  set (t := best_intercept b).
  assert (forall x, sum (fun i => w P i * ((y P i - (sum (fun j => Z P i j * b j) S + x))
                                  * (y P i - (sum (fun j => Z P i j * b j) S + x)) / 2)) (rows P)
          = / 2 * sum (fun i => w P i * (residual b i * residual b i)) (rows P)
            - x * sum (fun i => w P i * residual b i) (rows P) + x * x / 2 * W) as E.
  { intros x. unfold W. rewrite <- !sum_scal, <- sum_minus, <- sum_plus. apply sum_ext. intros i _. unfold residual. field. }
  rewrite !E. assert (sum (fun i => w P i * residual b i) (rows P) = W * t) as -> by (unfold t, best_intercept; field; lra).
  field.
Qed.

Theorem intercept_squared Wmin : 0 < Wmin <= W / 2 -> intercepts_within P (B (W / 2) Wmin) S.
Proof.
  intros Hm b b0. set (t := best_intercept b). pose proof (ridge_pos P) as Hr.
  assert (objective P S b t <= objective P S b b0) as Hbest.
  { rewrite (squared_in_b0 b b0). fold t. assert (0 <= (b0 - t) * (b0 - t)) by apply Rle_0_sqr. nra. }
  assert (0 <= W / 2) as HF by lra.
  assert (forall i f, In i (rows P) -> 0 <= loss (the_loss P) (y P i) f) as Hpos.
  { intros i f _. rewrite is_squared. simpl. unfold squared_loss. pose proof (Rle_0_sqr (y P i - f)). unfold Rsqr in *. lra. }
  destruct (Rle_dec (objective P S b t) (W / 2)) as [L | L].
  - exists b, t. split; auto.
    pose proof (coefficients_within (W / 2) b t Hpos L) as Hb.
    set (lin := sum (fun j => sum (fun i => w P i * Z P i j) (rows P) * b j) S).
    assert (lin * lin <= sum (fun j => b j * b j) S * (k * (W * (kappa * W)))) as H2.
    { apply (linear_part (w P) b). intros i Hi. pose proof (w_nonneg P i Hi). lra. }
    assert (0 <= k) as Hk by apply pos_INR.
    assert (0 <= k * kappa * W / Wmin) as Q1.
    { unfold Rdiv. repeat apply Rmult_le_pos; auto; try lra. left. apply Rinv_0_lt_compat; lra. }
    assert (0 <= 2 * (W / 2) / ridge P) as Q2.
    { unfold Rdiv. repeat apply Rmult_le_pos; auto; try lra. left. now apply Rinv_0_lt_compat. }
    assert (Rabs lin <= W * (sqrt (k * kappa * W / Wmin) * sqrt (2 * (W / 2) / ridge P))) as H4.
    { rewrite <- sqrt_mult by auto. rewrite <- (sqrt_Rsqr W) at 1 by lra.
      rewrite <- sqrt_mult; [|apply Rle_0_sqr|now apply Rmult_le_pos]. apply abs_le_sqrt. unfold Rsqr.
      apply Rle_trans with (2 * (W / 2) / ridge P * (k * (W * (kappa * W)))).
      - eapply Rle_trans; [exact H2|]. apply Rmult_le_compat_r; auto. repeat apply Rmult_le_pos; auto; lra.
      - assert (1 <= W / Wmin) as Q3.
        { apply Rmult_le_reg_r with Wmin; [lra|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. lra. }
        replace (W * W * (k * kappa * W / Wmin * (2 * (W / 2) / ridge P)))
          with (2 * (W / 2) / ridge P * (k * (W * (kappa * W))) * (W / Wmin)) by (field; lra).
        rewrite <- (Rmult_1_r (2 * (W / 2) / ridge P * (k * (W * (kappa * W))))) at 1.
        apply Rmult_le_compat_l; auto. apply Rmult_le_pos; auto. repeat apply Rmult_le_pos; auto; lra. }
    assert (Rabs (sum (fun i => w P i * y P i) (rows P)) <= W) as H5.
    { eapply Rle_trans; [apply sum_abs|]. apply sum_le. intros i Hi. pose proof (w_nonneg P i Hi).
      rewrite Rabs_mult, Rabs_right by lra. rewrite <- (Rmult_1_r (w P i)) at 2. apply Rmult_le_compat_l; auto.
      apply Rabs_le. now apply y_within. }
    assert (W * t = sum (fun i => w P i * y P i) (rows P) - lin) as E.
    { unfold t, best_intercept, residual, lin. field_simplify; [|lra].
      rewrite (sum_ext _ (fun i => w P i * y P i - sum (fun j => b j * (w P i * Z P i j)) S)).
      - rewrite sum_minus, sum_swap. f_equal. apply sum_ext. intros j _. rewrite sum_scal. ring.
      - intros i _. rewrite Rmult_minus_distr_l, <- sum_scal. f_equal. apply sum_ext. intros; ring. }
    assert (1 <= W / 2 / Wmin) as Q4.
    { apply Rmult_le_reg_r with Wmin; [lra|]. unfold Rdiv. rewrite (Rmult_assoc _ (/ Wmin)), Rinv_l, Rmult_1_r by lra. lra. }
    unfold B. set (X := sqrt (k * kappa * W / Wmin) * sqrt (2 * (W / 2) / ridge P)) in *.
    apply Rmult_le_reg_l with W; auto.
    assert (W * Rabs t = Rabs (W * t)) as -> by (rewrite Rabs_mult, (Rabs_right W); lra).
    rewrite E. eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_Ropp. nra.
  - exists (fun _ => 0), 0. rewrite Rabs_R0, zero_fit. split; [apply B_nonneg; lra|].
    apply Rle_trans with (W / 2).
    + unfold W. replace (sum (w P) (rows P) / 2) with (/ 2 * sum (w P) (rows P)) by field. rewrite <- sum_scal.
      apply sum_le. intros i Hi. rewrite is_squared. simpl. unfold squared_loss. pose proof (w_nonneg P i Hi).
      pose proof (y_within i Hi). assert (y P i * y P i <= 1) by nra. nra.
    + lra.
Qed.
End Squared.
End Intercept.

(** Both losses of the first kind. *)
Lemma logistic_nonneg y f : 0 <= logistic_loss y f.
Proof.
  unfold logistic_loss. pose proof (exp_pos (- (y * f))).
  rewrite <- ln_1. apply ln_mono; lra.
Qed.

Lemma logistic_linear y f : - (y * f) <= logistic_loss y f.
Proof.
  unfold logistic_loss. pose proof (exp_pos (- (y * f))). rewrite <- (ln_exp (- (y * f))) at 1. apply ln_mono; lra.
Qed.

Lemma hinge_nonneg y f : 0 <= hinge_loss y f.
Proof. apply Rmax_l. Qed.

Lemma hinge_linear y f : - (y * f) <= hinge_loss y f.
Proof. unfold hinge_loss. pose proof (Rmax_r 0 (1 - y * f)). lra. Qed.
