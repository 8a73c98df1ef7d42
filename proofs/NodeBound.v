(** The node bound of checker/bounds.py and the screen rule of checker/tree.py. *)
From Coq Require Import Reals List Permutation Sorting Lra Lia.
From Opt Require Import Sums Pairs.
Import ListNotations.
Open Scope R_scope.

(** docs/certificates.md: "Nodes are (inside, free): all sets of `size` candidates that contain `inside` and otherwise
    use `free`." *)
Definition covers (size : nat) (inside free S : list nat) :=
  NoDup S /\ length S = size /\ incl inside S /\ incl S (inside ++ free).

Section NodeBound.
Variable d : nat -> R.       (* d_j = v_j^2 / (2 ridge) *)

(** What np.partition does: the free columns split into [top] and [rest], and nothing in [rest] is larger. *)
Definition splits (free top rest : list nat) :=
  Permutation free (top ++ rest) /\ forall i j, In i top -> In j rest -> d j <= d i.

(** No set of as many free columns has a larger sum. Neither d >= 0 nor distinct free columns are needed. *)
Lemma top_is_largest free top rest T : splits free top rest -> NoDup T -> incl T free -> length T = length top ->
  sum d T <= sum d top.
Proof.
  intros [HP HM] NT HI HL. destruct top as [|t0 top'] eqn:Et.
  { destruct T; simpl in *; [lra|discriminate]. }
  rewrite <- Et in *. assert (top <> []) as Ht by (rewrite Et; discriminate). clear Et t0 top'.
  destruct (largest (fun i => - d i) top Ht) as (m & Hm & Hmin).
  set (theta := d m).
  assert (sum (fun j => Rmax (d j - theta) 0) T <= sum (fun j => Rmax (d j - theta) 0) (top ++ rest)) as Q.
  { apply sum_incl; auto.
    - intros x Hx. apply (Permutation_in x HP). auto.
    - intros x _. apply Rmax_r. }
  rewrite sum_app in Q.
  rewrite (sum_ext (fun j => Rmax (d j - theta) 0) (fun j => d j - theta) top) in Q.
  2: { intros j Hj. rewrite Rmax_left; [reflexivity|]. specialize (Hmin j Hj). simpl in Hmin. unfold theta. lra. }
  rewrite (sum_ext (fun j => Rmax (d j - theta) 0) (fun j => 0) rest) in Q.
  2: { intros j Hj. rewrite Rmax_right; [reflexivity|]. specialize (HM m j Hm Hj). unfold theta. lra. }
  assert (sum (fun j => d j - theta) T <= sum (fun j => Rmax (d j - theta) 0) T) as Q'.
  { apply sum_le. intros. apply Rmax_l. }
  rewrite !sum_minus, !sum_const in *. rewrite HL in Q'. lra.
Qed.

(** checker/__init__.py: "F(S) >= g - |e| B - sum_{inside} d_j - (the size - |inside| largest d_j over free)" *)
Theorem node_bound size inside free top rest S :
  NoDup inside -> covers size inside free S -> splits free top rest -> (length inside + length top = size)%nat ->
  sum d S <= sum d inside + sum d top.
Proof.
  intros NI (NS & HL & H1 & H2) HS HK.
  destruct (split_off inside S NI NS H1) as (T & HP & NT & HT & HLen).
  rewrite (sum_perm d _ _ HP), sum_app.
  assert (sum d T <= sum d top); [|lra].
  apply (top_is_largest free top rest); auto; [|lia].
  intros x Hx. destruct (HT x Hx) as [Hs Hn]. specialize (H2 x Hs). rewrite in_app_iff in H2. tauto.
Qed.

(** checker/tree.py: "forced = bound + np.maximum(counted - discount, 0.0)"
    With column j forced inside, the smallest of the counted ones makes room for it. Whether d_j < counted does not
    matter. *)
Theorem screen_bound size inside free top rest S j m :
  NoDup inside -> ~ In j inside -> covers size inside free S -> splits free top rest ->
  (length inside + length top = size)%nat -> In m top -> (forall i, In i top -> d m <= d i) -> In j S ->
  sum d S <= sum d inside + sum d top - d m + d j.
Proof.
  intros NI Hj (NS & HL & H1 & H2) [HP HM] HK Hm Hmin HjS.
  destruct (split_off inside S NI NS H1) as (T & HPT & NT & HT & HLen).
  assert (In j T) as HjT.
  { apply (Permutation_in j HPT) in HjS. rewrite in_app_iff in HjS. tauto. }
  destruct (in_split j T HjT) as (T1 & T2 & ET). destruct (in_split m top Hm) as (t1 & t2 & Et).
  assert (NoDup (T1 ++ T2)) as NT' by (rewrite ET in NT; now apply NoDup_remove_1 in NT).
  assert (sum d (T1 ++ T2) <= sum d (t1 ++ t2)) as Q.
  { apply (top_is_largest free (t1 ++ t2) (m :: rest)); auto.
    - split.
      + rewrite HP, Et. rewrite <- !app_assoc. simpl. apply Permutation_app_head. apply Permutation_middle.
      + intros i z Hi [<- | Hz].
        * apply Hmin. rewrite Et, in_app_iff in *. simpl. tauto.
        * apply HM; auto. rewrite Et, in_app_iff in *. simpl. tauto.
    - intros x Hx. assert (In x T) as HxT by (rewrite ET, in_app_iff in *; simpl; tauto).
      destruct (HT x HxT) as [Hs Hn]. specialize (H2 x Hs). rewrite in_app_iff in H2. tauto.
    - rewrite ET in HLen. rewrite Et in HK. rewrite !app_length in *. simpl in *. lia. }
  rewrite (sum_perm d _ _ HPT), ET, Et. rewrite !sum_app in *. simpl. lra.
Qed.

(** ** A split that can be computed *)
Fixpoint insert (x : nat) (l : list nat) :=
  match l with [] => [x] | h :: t => if Rle_dec (d h) (d x) then x :: h :: t else h :: insert x t end.
Fixpoint sorted (l : list nat) := match l with [] => [] | x :: t => insert x (sorted t) end.

Definition falls (a b : nat) := d b <= d a.

Lemma insert_perm x l : Permutation (x :: l) (insert x l).
Proof.
  induction l as [|h t IH]; simpl; [reflexivity|]. destruct (Rle_dec (d h) (d x)); [reflexivity|].
  rewrite perm_swap. now constructor.
Qed.

Lemma sorted_perm l : Permutation l (sorted l).
Proof. induction l as [|x t IH]; simpl; [reflexivity|]. rewrite <- insert_perm. now constructor. Qed.

Lemma insert_sorted x l : StronglySorted falls l -> StronglySorted falls (insert x l).
Proof.
  induction l as [|h t IH]; simpl; intros H; [repeat constructor|].
  inversion H as [|? ? Ht Hall]; subst. destruct (Rle_dec (d h) (d x)) as [L|L].
  - constructor; auto. constructor; auto. rewrite Forall_forall in *. intros z Hz. specialize (Hall z Hz).
    unfold falls in *. lra.
  - constructor; auto. rewrite Forall_forall in *. intros z Hz.
    apply (Permutation_in z (Permutation_sym (insert_perm x t))) in Hz. destruct Hz as [<- | Hz]; auto. unfold falls. lra.
Qed.

Lemma sorted_sorted l : StronglySorted falls (sorted l).
Proof. induction l; simpl; [constructor|]. now apply insert_sorted. Qed.

Definition top (need : nat) (free : list nat) := firstn need (sorted free).
Definition rest (need : nat) (free : list nat) := skipn need (sorted free).

Lemma top_splits need free : splits free (top need free) (rest need free).
Proof.
  split.
  - unfold top, rest. rewrite firstn_skipn. apply sorted_perm.
  - unfold top, rest. pose proof (sorted_sorted free) as H. revert need. induction H as [|h t Ht IH Hall]; intros need i j.
    + now rewrite firstn_nil.
    + destruct need; simpl; [tauto|]. intros [<- | Hi] Hj.
      * rewrite Forall_forall in Hall. apply Hall. rewrite <- (firstn_skipn need t), in_app_iff. auto.
      * eauto.
Qed.

Lemma top_length need free : (need <= length free)%nat -> length (top need free) = need.
Proof. intros H. unfold top. rewrite firstn_length, <- (Permutation_length (sorted_perm free)). lia. Qed.

(** The sorted list falls, so its last entry is the smallest. *)
Lemma top_last need free x : In x (top need free) -> exists m, In m (top need free) /\ d (last (top need free) 0%nat) = d m
  /\ forall i, In i (top need free) -> d m <= d i.
Proof.
  assert (StronglySorted falls (top need free)) as H.
  { unfold top. pose proof (sorted_sorted free) as H. revert need. induction H as [|h t Ht IH Hall]; intros need.
    - rewrite firstn_nil. constructor.
    - destruct need; simpl; constructor; auto. rewrite Forall_forall in *. intros z Hz. apply Hall.
      rewrite <- (firstn_skipn need t), in_app_iff. auto. }
  revert x. induction H as [|h t Ht IH Hall]; intros x Hx; [destruct Hx|].
  destruct t as [|h' t].
  - exists h. simpl. repeat split; auto. intros i [->|[]]; lra.
  - destruct (IH h') as (m & Hm & E & M); [simpl; auto|]. exists m. split; [simpl in *; auto|]. split.
    + rewrite <- E. reflexivity.
    + intros i [<- | Hi]; [|now apply M]. rewrite Forall_forall in Hall. now apply Hall.
Qed.
End NodeBound.
