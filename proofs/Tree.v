(** checker/tree.py: the walk in preorder, with its stack. If it ends well, every set has F >= lower that contains no
    listed set. *)
From Coq Require Import Reals List Permutation Bool Lra Lia.
From Opt Require Import Sums Pairs Duality NodeBound.
Import ListNotations.
Open Scope R_scope.

Section Tree.
Variable P : Problem.
Variable size : nat.
Variable candidates : list nat.
Variable lower : R.
Variable listed : list (list nat).

(** Dual vectors by number: their values, rounding and intercept subtracted, and the discounts of all columns. *)
Variable value : nat -> R.
Variable discount : nat -> nat -> R.
Hypothesis valid : forall c S, NoDup S -> length S = size -> incl S candidates ->
  F_at_least P (value c - sum (discount c) S) S.

(** What the pair leaves find out about one set, by whatever bound of its own. *)
Variable pair_ok : list nat -> bool.
Hypothesis pair_valid : forall S, NoDup S -> length S = size -> incl S candidates -> pair_ok S = true ->
  F_at_least P lower S.

Definition leb (x y : R) : bool := if Rle_dec x y then true else false.
Definition ltb (x y : R) : bool := if Rlt_dec x y then true else false.
Lemma leb_true x y : leb x y = true -> x <= y. Proof. unfold leb. destruct Rle_dec; [auto|discriminate]. Qed.

Definition subset (L S : list nat) : bool := forallb (fun j => if in_dec Nat.eq_dec j S then true else false) L.
Lemma subset_incl L S : subset L S = true <-> incl L S.
Proof.
  unfold subset. rewrite forallb_forall. split; intros H j Hj; specialize (H j Hj);
  destruct (in_dec Nat.eq_dec j S); auto. discriminate.
Qed.
Definition has_listed (S : list nat) : bool := existsb (fun L => subset L S) listed.

Record node := Node { inside : list nat; allowed : list nat }.
Definition need (nd : node) := (size - length (inside nd))%nat.
Definition counted_top (c : nat) (nd : node) := top (discount c) (need nd) (allowed nd).

Definition bound (c : nat) (nd : node) : R :=
  value c - (sum (discount c) (inside nd) + sum (discount c) (counted_top c nd)).

(** [node_bound(...) >= lower]: infinite if fewer columns are free than are needed; -infinite without a dual vector. *)
Definition reaches (c : option nat) (nd : node) : bool :=
  (length (allowed nd) <? need nd)%nat || match c with None => false | Some c => leb lower (bound c nd) end.

(** The smallest discount among the counted ones. *)
Definition counted (c : nat) (nd : node) : R := discount c (last (counted_top c nd) 0%nat).
Definition screened (c : nat) (nd : node) (j : nat) : bool :=
  (need nd <=? length (allowed nd))%nat && (1 <=? need nd)%nat
  && leb lower (bound c nd + Rmax (counted c nd - discount c j) 0).

(** The checker compares numbers in floating point. All that is needed: what it finds true is true of the exact
    bounds of its (rounded) values and discounts. Bounds.v has the rounding; [reaches] and [screened] will do. *)
Variable leaf_ok : option nat -> node -> bool.
Variable screen_out : nat -> node -> nat -> bool.
Hypothesis leaf_sound : forall c nd, leaf_ok c nd = true -> reaches c nd = true.
Hypothesis screen_sound : forall c nd j, screen_out c nd j = true -> screened c nd j = true.

(** `_common`: columns of every set of a node.
    checker/tree.py: "return [*inside, *np.flatnonzero(free).tolist()] if int(free.sum()) == size - len(inside) else inside"
    The checker's numbers are integers, and [inside] never has more than size columns. *)
Definition common (nd : node) : list nat :=
  if (length (inside nd) + length (allowed nd) =? size)%nat then inside nd ++ allowed nd else inside nd.

Inductive step := Branch (j : nat) | Leaf (c : option nat) | Screen (c : nat) | Pairs.

(** What is left of the steps when the stack is empty; None where a step rejects, or the steps end too early. *)
Fixpoint walk (steps : list step) (stack : list node) : option (list step) :=
  match stack, steps with
  | [], _ => Some steps
  | _, [] => None
  | nd :: others, Branch j :: more =>
      if in_dec Nat.eq_dec j (inside nd) then None else
      let without := remove Nat.eq_dec j (allowed nd) in
      if (length (inside nd) <? size)%nat
      then walk more (Node (inside nd ++ [j]) without :: Node (inside nd) without :: others)
      else walk more (Node (inside nd) without :: others)
  | nd :: others, Leaf c :: more =>
      if has_listed (common nd) || leaf_ok c nd then walk more others else None
  | nd :: others, Screen c :: more =>
      walk more (Node (inside nd) (filter (fun j => negb (screen_out c nd j)) (allowed nd)) :: others)
  | nd :: others, Pairs :: more =>
      if (length (inside nd) + 2 =? size)%nat
         && forallb (fun q => let S := inside nd ++ [fst q; snd q] in has_listed S || pair_ok S) (pairs (allowed nd))
      then walk more others else None
  end.

Definition free_of_listed (S : list nat) := forall L, In L listed -> ~ incl L S.

Lemma has_listed_no S : free_of_listed S -> has_listed S = false.
Proof.
  intros H. unfold has_listed. destruct (existsb _ _) eqn:E; auto. apply existsb_exists in E.
  destruct E as (L & HL & Q). apply subset_incl in Q. exfalso. exact (H L HL Q).
Qed.

(** Every set of the node that the claim is about has F >= lower. *)
Definition closed (nd : node) := forall S, covers size (inside nd) (allowed nd) S -> incl S candidates ->
  free_of_listed S -> F_at_least P lower S.

Lemma weaker a b S : b <= a -> F_at_least P a S -> F_at_least P b S.
Proof. intros H Q x x0. specialize (Q x x0). lra. Qed.

Lemma cover_need nd S : NoDup (inside nd) -> covers size (inside nd) (allowed nd) S ->
  (length (inside nd) <= size)%nat /\ (need nd <= length (allowed nd))%nat.
Proof.
  intros NI (NS & HL & H1 & H2). destruct (split_off (inside nd) S NI NS H1) as (T & HP & NT & HT & HLen).
  split; [lia|]. unfold need. assert (length T <= length (allowed nd))%nat; [|lia].
  apply NoDup_incl_length; auto. intros x Hx. destruct (HT x Hx) as [Hs Hn]. specialize (H2 x Hs).
  rewrite in_app_iff in H2. tauto.
Qed.

Lemma leaf_closes c nd : NoDup (inside nd) -> reaches c nd = true -> closed nd.
Proof.
  intros NI HR S HC HS _. destruct (cover_need nd S NI HC) as [Hsize Hneed].
  unfold reaches in HR. destruct (Nat.ltb_spec (length (allowed nd)) (need nd)); [lia|]. simpl in HR.
  destruct c as [c|]; [|discriminate]. apply leb_true in HR.
  pose proof HC as (NS & HL & _ & _). apply (weaker (value c - sum (discount c) S)); [|now apply valid].
  assert (sum (discount c) S <= sum (discount c) (inside nd) + sum (discount c) (counted_top c nd)) as Q.
  { apply (node_bound (discount c) size (inside nd) (allowed nd) _ (rest (discount c) (need nd) (allowed nd))); auto.
    - apply top_splits.
    - unfold counted_top. rewrite top_length by auto. unfold need. lia. }
  unfold bound in HR. lra.
Qed.

Lemma common_in_all nd S : NoDup (inside nd) -> covers size (inside nd) (allowed nd) S -> incl (common nd) S.
Proof.
  intros NI HC. pose proof HC as (NS & HL & H1 & H2). unfold common.
  destruct (Nat.eqb_spec (length (inside nd) + length (allowed nd)) size) as [E|]; auto.
  apply NoDup_length_incl; auto. rewrite app_length. lia.
Qed.

Lemma listed_closes nd : NoDup (inside nd) -> has_listed (common nd) = true -> closed nd.
Proof.
  intros NI HL S HC _ HF. exfalso. apply existsb_exists in HL. destruct HL as (L & HLi & Q). apply subset_incl in Q.
  apply (HF L HLi). intros x Hx. apply (common_in_all nd S NI HC). auto.
Qed.

Lemma screen_closes c nd j S : NoDup (inside nd) -> ~ In j (inside nd) -> screened c nd j = true ->
  covers size (inside nd) (allowed nd) S -> incl S candidates -> In j S -> F_at_least P lower S.
Proof.
  intros NI Hj HR HC HS HjS. destruct (cover_need nd S NI HC) as [Hsize _].
  unfold screened in HR. rewrite !andb_true_iff in HR. destruct HR as ((Hn & Hone) & HR).
  apply Nat.leb_le in Hn, Hone. apply leb_true in HR. pose proof HC as (NS & HL & _ & _).
  apply (weaker (value c - sum (discount c) S)); [|now apply valid].
  assert (sum (discount c) S <= sum (discount c) (inside nd) + sum (discount c) (counted_top c nd)) as Q0.
  { apply (node_bound (discount c) size (inside nd) (allowed nd) _ (rest (discount c) (need nd) (allowed nd))); auto.
    - apply top_splits.
    - unfold counted_top. rewrite top_length by auto. unfold need. lia. }
  unfold Rmax in HR. destruct (Rle_dec (counted c nd - discount c j) 0) as [_|_].
  { unfold bound in HR. lra. }
  assert (length (counted_top c nd) = need nd) as HLt by (now apply top_length).
  destruct (counted_top c nd) as [|x0 others] eqn:Et; [simpl in HLt; lia|].
  destruct (top_last (discount c) (need nd) (allowed nd) x0) as (m & Hm & Em & Hmin).
  { unfold counted_top in Et. rewrite Et. simpl; auto. }
  assert (sum (discount c) S <= sum (discount c) (inside nd) + sum (discount c) (counted_top c nd)
          - discount c m + discount c j) as Q.
  { apply (screen_bound (discount c) size (inside nd) (allowed nd) _ (rest (discount c) (need nd) (allowed nd))); auto.
    - apply top_splits.
    - rewrite Et, HLt. unfold need. lia. }
  unfold bound, counted, counted_top in *. lra.
Qed.

(** The invariant of the walk. *)
Theorem walk_closes : forall steps stack more, walk steps stack = Some more ->
  (forall nd, In nd stack -> NoDup (inside nd)) -> forall nd, In nd stack -> closed nd.
Proof.
  induction steps as [|s steps IH]; intros stack more HW HN nd Hnd.
  { destruct stack; [destruct Hnd | discriminate]. }
  destruct stack as [|first others]; [destruct Hnd|].
  assert (NoDup (inside first)) as NF by (apply HN; simpl; auto).
  assert (forall nd, In nd others -> NoDup (inside nd)) as NO by (intros; apply HN; simpl; auto).
  destruct s as [j | c | c | ]; cbn [walk] in HW.
  - (* Branch *)
    destruct (in_dec Nat.eq_dec j (inside first)) as [|Hj]; [discriminate|].
    set (without := remove Nat.eq_dec j (allowed first)) in *.
    assert (forall S, covers size (inside first) (allowed first) S -> ~ In j S ->
            covers size (inside first) without S) as Hout.
    { intros S (NS & HL & H1 & H2) HjS. repeat split; auto. intros x Hx. specialize (H2 x Hx).
      rewrite in_app_iff in *. destruct H2; auto. right. apply in_in_remove; auto. intros ->. contradiction. }
    assert (forall S, covers size (inside first) (allowed first) S -> In j S ->
            covers size (inside first ++ [j]) without S) as Hin.
    { intros S (NS & HL & H1 & H2) HjS. repeat split; auto.
      - intros x. rewrite in_app_iff. simpl. intros [|[<-|[]]]; auto.
      - intros x Hx. specialize (H2 x Hx). rewrite !in_app_iff in *. simpl.
        destruct (Nat.eq_dec x j) as [->|D]; [auto|]. destruct H2; auto. right. now apply in_in_remove. }
    assert (NoDup (inside first ++ [j])) as NJ.
    { apply NoDup_app_disjoint; auto.
      - repeat constructor; simpl; auto.
      - intros x [<-|[]]; auto. }
    destruct (Nat.ltb_spec (length (inside first)) size) as [L|L].
    + assert (forall nd', In nd' (Node (inside first ++ [j]) without :: Node (inside first) without :: others) ->
              closed nd') as HC.
      { apply (IH _ more); auto. intros nd' [<- | [<- | H]]; auto. }
      destruct Hnd as [<- | Hnd]; [|apply HC; simpl; auto].
      intros S HS. destruct (in_dec Nat.eq_dec j S).
      * apply (HC (Node (inside first ++ [j]) without)); simpl; auto.
      * apply (HC (Node (inside first) without)); simpl; auto.
    + assert (forall nd', In nd' (Node (inside first) without :: others) -> closed nd') as HC.
      { apply (IH _ more); auto. intros nd' [<- | H]; auto. }
      destruct Hnd as [<- | Hnd]; [|apply HC; simpl; auto].
      intros S HS. apply (HC (Node (inside first) without)); simpl; auto. apply Hout; auto.
      intros HjS. (* |S| = size = |In| leaves no room for j *)
      destruct HS as (NS & HL & H1 & H2).
      assert (length (inside first ++ [j]) <= length S)%nat as Q.
      { apply NoDup_incl_length; auto. intros x. rewrite in_app_iff. simpl. intros [|[<-|[]]]; auto. }
      rewrite app_length in Q. simpl in Q. lia.
  - (* Leaf *)
    destruct (has_listed (common first) || leaf_ok c first) eqn:HR; [|discriminate].
    destruct Hnd as [<- | Hnd]; [|now apply (IH others more)].
    apply orb_true_iff in HR. destruct HR as [HR | HR]; [now apply listed_closes|now apply (leaf_closes c), leaf_sound].
  - (* Screen *)
    assert (forall nd', In nd' (Node (inside first) (filter (fun j => negb (screen_out c first j)) (allowed first))
            :: others) -> closed nd') as HC.
    { apply (IH _ more); auto. intros nd' [<- | H]; auto. }
    destruct Hnd as [<- | Hnd]; [|apply HC; simpl; auto].
    intros S HS HSc HSl.
    destruct (existsb (fun j => screen_out c first j && negb (if in_dec Nat.eq_dec j (inside first) then true else false)) S) eqn:Ex.
    + apply existsb_exists in Ex. destruct Ex as (j & HjS & Q). apply andb_true_iff in Q. destruct Q as [Q1 Q2].
      destruct (in_dec Nat.eq_dec j (inside first)); [discriminate|]. apply (screen_closes c first j); auto.
    + apply (HC (Node (inside first) (filter (fun j => negb (screen_out c first j)) (allowed first)))); simpl; auto.
      destruct HS as (NS & HL & H1 & H2). repeat split; auto. intros x Hx. specialize (H2 x Hx).
      rewrite in_app_iff in *. destruct (in_dec Nat.eq_dec x (inside first)) as [|Hn]; auto. right.
      apply filter_In. split; [tauto|]. destruct (screen_out c first x) eqn:Es; auto.
      exfalso. rewrite <- not_true_iff_false in Ex. apply Ex. apply existsb_exists. exists x. split; auto. rewrite Es.
      destruct (in_dec Nat.eq_dec x (inside first)); tauto.
  - (* Pairs *)
    match type of HW with (if ?t then _ else _) = _ => destruct t eqn:HR; [|discriminate] end.
    rewrite !andb_true_iff in HR. destruct HR as [Htwo HP]. apply Nat.eqb_eq in Htwo.
    destruct Hnd as [<- | Hnd]; [|now apply (IH others more)].
    intros S (NS & HL & H1 & H2) HSc HSl.
    destruct (split_off (inside first) S NF NS H1) as (T & HPT & NT & HT & HLen).
    destruct T as [|x [|z [|u T]]]; simpl in HLen; try lia.
    assert (x <> z) as D. { inversion NT; subst. simpl in *. intros ->. tauto. }
    assert (forall a, In a [x; z] -> In a (allowed first)) as HA.
    { intros a Ha. destruct (HT a Ha) as [Hs Hn]. specialize (H2 a Hs). rewrite in_app_iff in H2. tauto. }
    rewrite forallb_forall in HP.
    assert (forall S', Permutation S S' -> has_listed S' = false) as NL.
    { intros S' HS'. apply has_listed_no. intros L HLi Hi. apply (HSl L HLi). intros a Ha.
      apply (Permutation_in a (Permutation_sym HS')). auto. }
    assert (forall S', Permutation S S' -> has_listed S' || pair_ok S' = true -> F_at_least P lower S) as Done.
    { intros S' HS' HO. rewrite (NL S' HS') in HO. simpl in HO. apply (F_perm P lower S'); [now symmetry|].
      apply pair_valid; auto.
      - now apply (Permutation_NoDup HS').
      - now rewrite <- (Permutation_length HS').
      - intros a Ha. apply HSc. apply (Permutation_in a (Permutation_sym HS')). auto. }
    destruct (pairs_of_two (allowed first) x z) as [Hp | Hp]; auto; try (apply HA; simpl; auto).
    + apply (Done (inside first ++ [x; z])); auto. apply (HP (x, z) Hp).
    + apply (Done (inside first ++ [z; x])); [|apply (HP (z, x) Hp)].
      rewrite HPT. apply Permutation_app_head. apply perm_swap.
Qed.

(** One tree, from its root; [more] are the steps of the next. *)
Theorem tree_proves steps more : walk steps [Node [] candidates] = Some more ->
  forall S, NoDup S -> length S = size -> incl S candidates -> free_of_listed S -> F_at_least P lower S.
Proof.
  intros HW S NS HL HC HF.
  apply (walk_closes steps [Node [] candidates] more HW) with (nd := Node [] candidates); simpl; auto.
  - intros nd [<-|[]]. simpl. constructor.
  - repeat split; simpl; auto. intros x [].
Qed.

(** Where nothing is listed, sets of fewer columns follow.
    docs/certificates.md: "F never increases when a set grows" *)
Lemma enlarge S : NoDup S -> incl S candidates -> NoDup candidates -> (length S <= size <= length candidates)%nat ->
  exists S', NoDup S' /\ length S' = size /\ incl S' candidates /\ incl S S'.
Proof.
  intros NS HI NC HL. destruct (split_off S candidates NS NC HI) as (T & HP & NT & HT & HLen).
  exists (S ++ firstn (size - length S) T). split; [|split; [|split]].
  - apply NoDup_app_disjoint; auto.
    + rewrite <- (firstn_skipn (size - length S) T) in NT. clear - NT.
      induction (firstn (size - length S) T) as [|a l IH]; [constructor|].
      inversion NT; subst. constructor; auto. rewrite in_app_iff in *. tauto.
    + intros x Hx. apply HT. rewrite <- (firstn_skipn (size - length S) T), in_app_iff. auto.
  - rewrite app_length, firstn_length. lia.
  - intros x. rewrite in_app_iff. intros [Hx | Hx]; auto. apply HT.
    rewrite <- (firstn_skipn (size - length S) T), in_app_iff. auto.
  - intros x Hx. rewrite in_app_iff. auto.
Qed.

Theorem tree_proves_smaller steps more : listed = [] -> NoDup candidates -> (size <= length candidates)%nat ->
  walk steps [Node [] candidates] = Some more ->
  forall S, NoDup S -> (length S <= size)%nat -> incl S candidates -> F_at_least P lower S.
Proof.
  intros HN NC HK HW S NS HL HC. destruct (enlarge S) as (S' & N' & L' & C' & I'); auto.
  apply (F_monotone P lower S S'); auto. apply (tree_proves steps more); auto.
  intros L. rewrite HN. intros [].
Qed.
End Tree.
