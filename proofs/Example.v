(** The hypotheses of Certificate.v can be met, and its bound be tight: two rows, one column z = y, ridge 1, squared loss.
    F({0}) = 1/4, and a leaf with a = -y/2 proves it. *)
From Coq Require Import Reals List Lra Psatz Lia.
From Opt Require Import Sums Duality NodeBound Tree Intercept Certificate.
Import ListNotations.
Open Scope R_scope.

Definition y2 (i : nat) : R := match i with O => 1 | _ => -1 end.
Lemma half_nonneg : forall i : nat, In i [0; 1]%nat -> 0 <= / 2. Proof. intros; lra. Qed.
Definition two_rows : Problem :=
  Build_Problem squared [0; 1]%nat (fun _ => / 2) y2 (fun i _ => y2 i) 1 half_nonneg (fun _ _ => I) Rlt_0_1.

Definition a2 (_ : nat) (i : nat) := - (y2 i / 2).
Definition value2 (_ : nat) := 3 / 8.
Definition discount2 (_ _ : nat) := / 8.
Definition B2 := W two_rows / 2 / (/ 2) + sqrt (INR 1 * 1 * W two_rows / (/ 2)) * sqrt (2 * (W two_rows / 2) / ridge two_rows).

Lemma W2 : W two_rows = 1. Proof. unfold W. simpl. lra. Qed.

Lemma leaf_ok2 : reaches 1 (/ 4) value2 discount2 (Some 0%nat) (Node [] [0%nat]) = true.
Proof.
  unfold reaches, leb, bound, counted_top, need, top, value2, discount2. simpl.
  destruct (Rle_dec _ _) as [|H]; auto. exfalso. apply H. lra.
Qed.

Theorem example : F_at_least two_rows (/ 4) [0%nat] /\ objective two_rows [0%nat] (fun _ => / 2) 0 = / 4.
Proof.
  split.
  - apply (claim_of_at_most two_rows 1 [0%nat] (/ 4) B2 a2 value2 discount2) with
      (leaf_ok := reaches 1 (/ 4) value2 discount2) (screen_out := screened 1 (/ 4) value2 discount2)
      (pair_ok := fun _ => false) (listed := []) (steps := [Leaf (Some 0%nat)]) (more := []); auto.
    + intros c i _. exact I.
    + intros c. unfold g, e, value2, a2. simpl. unfold squared_conj.
      replace (/ 2 * - (1 / 2) + (/ 2 * - (-1 / 2) + 0)) with 0 by field. rewrite Rabs_R0. lra.
    + intros c j _. unfold v, a2, discount2. simpl. lra.
    + discriminate.
    + apply (intercepts_squared two_rows 1 [0%nat] 1) with (Wmin := / 2) (F0 := W two_rows / 2); rewrite ?W2; auto; try lra.
      * intros j _. simpl. lra.
      * unfold B2. rewrite W2. lra.
      * intros i _. simpl. destruct i; simpl; lra.
    + cbn [walk]. rewrite leaf_ok2, Bool.orb_true_r. reflexivity.
    + repeat constructor. simpl. tauto.
    + repeat constructor. simpl. tauto.
    + intros j Hj. exact Hj.
  - unfold objective, fit. simpl. unfold squared_loss. field.
Qed.
