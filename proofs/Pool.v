(** checker/pool.py: listed sets, and a bound of every set that contains none of them. F(S) <= U is a point with that
    objective; F(S) >= x is Duality.F_at_least. *)
From Coq Require Import Reals List Permutation Bool Lra Lia.
From Opt Require Import Sums Duality Tree.
Import ListNotations.
Open Scope R_scope.

(** What is to be proved: no set that contains none of the listed ones has F below a number. *)
Record goal := Goal { listed_of : list (list nat); lower_of : R }.

Section Pool.
Variable P : Problem.
Variable size : nat.
Variable candidates : list nat.
Hypothesis candidates_differ : NoDup candidates.

Definition F_at_most (upper : R) (S : list nat) := exists b b0, objective P S b b0 <= upper.
Definition same (S T : list nat) := incl S T /\ incl T S.

(** A set of the claim. *)
Definition within (S : list nat) := NoDup S /\ incl S candidates /\ (length S <= size)%nat.

(** checker/pool.py: "The columns allowed, less those that are listed sets alone." *)
Definition alone (listed : list (list nat)) (j : nat) : bool :=
  existsb (fun L => match L with [x] => (x =? j)%nat | _ => false end) listed.
Definition without_singles (listed : list (list nat)) : list nat := filter (fun j => negb (alone listed j)) candidates.

(** checker/pool.py: "outside = closed.count(np.flatnonzero(candidates & ~used))" *)
Definition used (listed : list (list nat)) (j : nat) : bool := existsb (existsb (Nat.eqb j)) listed.
Definition outside (listed : list (list nat)) : list nat := filter (fun j => negb (used listed j)) candidates.

(** checker/pool.py: "A proof covers the sets T of exactly ``size`` columns that contain no listed set: a search that
    drops the columns listed alone, and in which whatever contains a listed set is closed." *)
Definition proved (g : goal) := forall T, NoDup T -> length T = size -> incl T (without_singles (listed_of g)) ->
  free_of_listed (listed_of g) T -> F_at_least P (lower_of g) T.

(** checker/pool.py: "The parts of the proof of a claim, in the order of a stored tree's." *)
Definition listed_alone (listed : list (list nat)) : list (list nat) :=
  if forallb (fun L => (length L =? size)%nat) listed then listed else [].
Definition goals (listed : list (list nat)) (lower rest : R) : list goal :=
  match listed_alone listed with [] => [Goal [] lower; Goal listed rest] | _ => [Goal listed rest] end.

Lemma nothing_alone : without_singles [] = candidates.
Proof.
  unfold without_singles. assert (forall l : list nat, filter (fun j => negb (alone [] j)) l = l) as K; [|apply K].
  induction l as [|x l IH]; [reflexivity|]. change (x :: filter (fun j => negb (alone [] j)) l = x :: l). now rewrite IH.
Qed.

(** Columns listed alone stand in no set that contains no listed one. *)
Lemma free_within_singles listed T : incl T candidates -> free_of_listed listed T -> incl T (without_singles listed).
Proof.
  intros HC HF x Hx. apply filter_In. split; auto. apply negb_true_iff, not_true_iff_false. intros E.
  apply existsb_exists in E. destruct E as (L & HL & Q). destruct L as [|x' [|? ?]]; try discriminate.
  apply Nat.eqb_eq in Q. subst x'. apply (HF [x] HL). intros z [<-|[]]. exact Hx.
Qed.

Lemma not_used listed j L : In j (outside listed) -> In L listed -> ~ In j L.
Proof.
  intros Hj HL HI. apply filter_In in Hj. destruct Hj as [_ Q]. apply negb_true_iff, not_true_iff_false in Q. apply Q.
  apply existsb_exists. exists L. split; auto. apply existsb_exists. exists j. split; auto. apply Nat.eqb_refl.
Qed.

(** checker/pool.py: "enlarge T by some of them to T' of ``size`` columns. A listed set within T' has none of the new
    columns, so it lies within T; hence T' contains none, and F(T) >= F(T') >= rest." *)
Lemma enlarge_outside listed T : (size <= length (outside listed))%nat -> within T -> free_of_listed listed T ->
  exists T', NoDup T' /\ length T' = size /\ incl T' candidates /\ incl T T' /\ free_of_listed listed T'.
Proof.
  intros HO (NT & CT & LT) HF.
  set (spare := filter (fun j => if in_dec Nat.eq_dec j T then false else true) (outside listed)).
  assert (NoDup (outside listed)) as NO by (now apply NoDup_filter).
  assert (forall x, In x spare <-> In x (outside listed) /\ ~ In x T) as HS.
  { intros x. unfold spare. rewrite filter_In. destruct (in_dec Nat.eq_dec x T); intuition discriminate. }
  assert (size - length T <= length spare)%nat as HL.
  { assert (length (outside listed) <= length (T ++ spare))%nat as Q; [|rewrite app_length in Q; lia].
    apply NoDup_incl_length; auto. intros x Hx. rewrite in_app_iff, HS. destruct (in_dec Nat.eq_dec x T); auto. }
  assert (NoDup spare) as NS by (now apply NoDup_filter).
  set (more := firstn (size - length T) spare).
  assert (incl more spare) as HM.
  { intros x Hx. rewrite <- (firstn_skipn (size - length T) spare), in_app_iff. auto. }
  assert (NoDup more) as NM.
  { rewrite <- (firstn_skipn (size - length T) spare) in NS. fold more in NS. clear - NS.
    induction more as [|a l IH]; [constructor|]. inversion NS; subst. constructor; auto. rewrite in_app_iff in *. tauto. }
  exists (T ++ more). split; [|split; [|split; [|split]]].
  - apply NoDup_app_disjoint; auto. intros x Hx. apply HS. auto.
  - rewrite app_length. unfold more. rewrite firstn_length. lia.
  - intros x. rewrite in_app_iff. intros [Hx | Hx]; auto. apply HM, HS in Hx. destruct Hx as [Hx _].
    apply filter_In in Hx. tauto.
  - intros x Hx. rewrite in_app_iff. auto.
  - intros L HL' HI. apply (HF L HL'). intros x Hx. specialize (HI x Hx). rewrite in_app_iff in HI.
    destruct HI as [|HI]; auto. exfalso. apply HM, HS in HI. destruct HI as [HI _]. exact (not_used listed x L HI HL' Hx).
Qed.

Theorem rest_of_all listed rest : (size <= length (outside listed))%nat -> proved (Goal listed rest) ->
  forall T, within T -> free_of_listed listed T -> F_at_least P rest T.
Proof.
  intros HO HP T HT HF. destruct (enlarge_outside listed T HO HT HF) as (T' & NT & LT & CT & IT & FT).
  apply (F_monotone P rest T T'); auto; [apply HT|]. apply HP; auto. now apply free_within_singles.
Qed.

Lemma listed_or_not listed S : (exists L, In L listed /\ incl L S) \/ free_of_listed listed S.
Proof.
  destruct (has_listed listed S) eqn:E.
  - left. apply existsb_exists in E. destruct E as (L & HL & Q). exists L. split; auto. now apply subset_incl.
  - right. intros L HL HI. unfold has_listed in E. rewrite <- not_true_iff_false in E. apply E.
    apply existsb_exists. exists L. split; auto. now apply subset_incl.
Qed.

(** checker/pool.py: "Where every listed set has ``size`` columns, a set of that size is listed or contains none; so it
    suffices that rest >= lower, and that each listed set has a bound of its own that reaches lower. Otherwise the lower
    bound is proved as if there were no pool, and the proof has two parts: that, then this one." *)
Theorem lower_of_all listed lower rest : (size <= length candidates)%nat ->
  (forall L, In L listed -> within L) -> lower <= rest ->
  (forall L, In L (listed_alone listed) -> F_at_least P lower L) ->
  (forall g, In g (goals listed lower rest) -> proved g) ->
  forall T, within T -> F_at_least P lower T.
Proof.
  intros HK HL HR Own HG T (NT & CT & LT).
  destruct (enlarge size candidates T) as (T' & N' & L' & C' & I'); auto.
  apply (F_monotone P lower T T'); auto.
  unfold goals in HG. destruct (listed_alone listed) as [|L0 more] eqn:E.
  - apply (HG (Goal [] lower)); simpl; auto.
    + now rewrite nothing_alone.
    + intros L [].
  - assert (forall L, In L listed -> length L = size) as Whole.
    { intros L HLi. unfold listed_alone in E.
      destruct (forallb _ listed) eqn:Q; [|discriminate]. rewrite forallb_forall in Q. now apply Nat.eqb_eq, Q. }
    assert (listed_alone listed = listed) as EL.
    { unfold listed_alone in *. destruct (forallb _ listed); [reflexivity|discriminate]. }
    destruct (listed_or_not listed T') as [(L & HLi & HI) | HF].
    + destruct (HL L HLi) as (NL & _ & _). apply (F_perm P lower L).
      * apply NoDup_Permutation_bis; auto. rewrite (Whole L HLi). lia.
      * apply Own. now rewrite <- E, EL.
    + apply (weaker P rest); auto. apply (HG (Goal listed rest)); simpl; auto. now apply free_within_singles.
Qed.

(** ** What follows from the rest, in words of checker/verdict.py and optprobe/engines/pool.py *)
Section Rest.
Variable listed : list (list nat).
Variable rest : R.
Hypothesis claim : forall S, within S -> free_of_listed listed S -> F_at_least P rest S.

(** Every set below the rest contains a listed one. Strictly below: a set with F = rest may be missing. *)
Theorem complete S upper : within S -> F_at_most upper S -> upper < rest -> exists L, In L listed /\ incl L S.
Proof.
  intros HS (b & b0 & Hb) HU. destruct (listed_or_not listed S) as [|N]; auto.
  pose proof (claim S HS N b b0). lra.
Qed.

(** A column of every listed set is in every set below the rest: `role` of optprobe/engines/pool.py. *)
Theorem indispensable j S upper : (forall L, In L listed -> In j L) -> within S -> F_at_most upper S -> upper < rest ->
  In j S.
Proof. intros HJ HS HF HU. destruct (complete S upper HS HF HU) as (L & HL & HI). auto. Qed.

(** What contains a listed set is as good as it. *)
Lemma superset_in upper S T : NoDup S -> NoDup T -> incl S T -> F_at_most upper S -> F_at_most upper T.
Proof.
  intros NS NT HI (b & b0 & Hb).
  destruct (split_off S T NS NT HI) as (D & HP & ND & HD & _).
  exists (fun j => if in_dec Nat.eq_dec j S then b j else 0), b0. eapply Rle_trans; [|exact Hb]. right.
  rewrite (objective_perm P _ _ _ _ HP). unfold objective, fit.
  assert (forall f : nat -> R -> R, (forall j, f j 0 = 0) ->
          sum (fun j => f j (if in_dec Nat.eq_dec j S then b j else 0)) (S ++ D) = sum (fun j => f j (b j)) S) as K.
  { intros f Hf. rewrite sum_app.
    rewrite (sum_ext _ (fun j => f j (b j)) S).
    - rewrite (sum_ext _ (fun _ => 0) D); [rewrite sum_const; ring|].
      intros j Hj. destruct (in_dec Nat.eq_dec j S); [|auto]. apply HD in Hj. tauto.
    - intros j Hj. destruct (in_dec Nat.eq_dec j S); [auto|contradiction]. }
  f_equal.
  - apply sum_ext. intros i _. rewrite (K (fun j x => Z P i j * x)); auto. intros; ring.
  - f_equal. apply (K (fun j x => x * x)). intros; ring.
Qed.

(** A listed set is minimal: of a proper subset, which contains no listed set, F >= rest. *)
Theorem minimal L T : (forall L1 L2, In L1 listed -> In L2 listed -> incl L1 L2 -> incl L2 L1) ->
  In L listed -> within L -> NoDup T -> incl T L -> ~ incl L T -> F_at_least P rest T.
Proof.
  intros Anti HL (NL & CL & KL) NT HT Hne. apply claim.
  - split; [|split]; auto.
    + intros x Hx. auto.
    + pose proof (NoDup_incl_length NT HT). lia.
  - intros L' HL' HI. assert (incl L' L) as H1 by (intros x Hx; auto). pose proof (Anti L' L HL' HL H1) as H2.
    apply Hne. intros x Hx. auto.
Qed.

Lemma subset_of_full_size L S : NoDup L -> NoDup S -> (length S <= size)%nat -> length L = size -> incl L S -> same L S.
Proof.
  intros NL NS HS HL HI. split; auto. apply NoDup_length_incl; auto. lia.
Qed.

(** checker/verdict.py: "By how much every other set is worse at least, where the pool is one set of the largest size."
    Of listed sets of [size] columns, every set that is not listed has F >= rest. *)
Theorem others S : (forall L, In L listed -> NoDup L /\ length L = size) -> within S ->
  (forall L, In L listed -> ~ same L S) -> F_at_least P rest S.
Proof.
  intros HL HS HN. apply claim; auto. intros L HLi HI. destruct (HL L HLi) as [NL LL]. destruct HS as (NS & _ & KS).
  apply (HN L HLi). now apply subset_of_full_size.
Qed.

Theorem unique L upper S : listed = [L] -> within L -> length L = size -> within S -> upper < rest ->
  F_at_most upper S -> same L S.
Proof.
  intros E (NL & _) HL HS HU HF. destruct (complete S upper HS HF HU) as (L' & HL' & HI).
  rewrite E in HL'. destruct HL' as [<-|[]]. destruct HS as (NS & _ & HkS). now apply subset_of_full_size.
Qed.

(** With fewer columns in the only listed set, another set of at most [size] columns is as good as it. *)
Theorem not_unique L upper : within L -> (length L < size)%nat -> (size <= length candidates)%nat ->
  F_at_most upper L -> exists S, within S /\ ~ same L S /\ F_at_most upper S.
Proof.
  intros (NL & CL & _) Hlt Hk HF. destruct (enlarge size candidates L) as (S & NS & LS & CS & IS); auto; [lia|].
  exists S. split; [|split].
  - split; [|split]; auto. lia.
  - intros [_ H]. pose proof (NoDup_incl_length NS H). lia.
  - now apply (superset_in upper L).
Qed.
End Rest.
End Pool.

(** ** The trees of a claim with a pool, one after the other
    checker/tree.py: "the preorder must end exactly with the last of them, where the tree of the next part begins." *)
Section Trees.
Variable size : nat.
Variable candidates : list nat.
Variable value : nat -> R.
Variable discount : nat -> nat -> R.
Variable pair_ok : R -> list nat -> bool.
Variable leaf_ok : R -> option nat -> node -> bool.
Variable screen_out : R -> nat -> node -> nat -> bool.

Fixpoint trees (parts : list goal) (steps : list step) : bool :=
  match parts with
  | [] => match steps with [] => true | _ => false end
  | g :: others =>
      match walk size (listed_of g) (pair_ok (lower_of g)) (leaf_ok (lower_of g)) (screen_out (lower_of g)) steps
                 [Node [] (without_singles candidates (listed_of g))] with
      | Some more => trees others more
      | None => false
      end
  end.

Variable P : Problem.
Hypothesis valid : forall c S, NoDup S -> length S = size -> incl S candidates ->
  F_at_least P (value c - sum (discount c) S) S.
Hypothesis pair_valid : forall lower S, NoDup S -> length S = size -> incl S candidates -> pair_ok lower S = true ->
  F_at_least P lower S.
Hypothesis leaf_sound : forall lower c nd, leaf_ok lower c nd = true -> reaches size lower value discount c nd = true.
Hypothesis screen_sound : forall lower c nd j, screen_out lower c nd j = true ->
  screened size lower value discount c nd j = true.

Theorem trees_prove : forall parts steps, trees parts steps = true -> forall g, In g parts -> proved P size candidates g.
Proof.
  induction parts as [|g0 parts IH]; intros steps HT g Hg; [destruct Hg|]. cbn [trees] in HT.
  match type of HT with match ?t with _ => _ end = _ => destruct t as [more|] eqn:EW; [|discriminate] end.
  destruct Hg as [<- | Hg]; [|now apply (IH more)].
  assert (incl (without_singles candidates (listed_of g0)) candidates) as HI.
  { intros x Hx. apply filter_In in Hx. tauto. }
  intros T NT LT CT FT.
  apply (tree_proves P size (without_singles candidates (listed_of g0)) (lower_of g0) (listed_of g0) value discount)
    with (pair_ok := pair_ok (lower_of g0)) (leaf_ok := leaf_ok (lower_of g0)) (screen_out := screen_out (lower_of g0))
         (steps := steps) (more := more); auto.
  - intros c S NS LS CS. apply valid; auto. intros x Hx; auto.
  - intros S NS LS CS HS. apply pair_valid; auto. intros x Hx; auto.
Qed.
End Trees.
