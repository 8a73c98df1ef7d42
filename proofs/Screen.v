(** Theorem 2 of optprobe/engines/bounds/minorant.py, as checker/dual_sweep.py uses it in sweeps and in pair leaves: any
    prefix, any T. *)
From Coq Require Import Reals List Lra Psatz Lia.
From Opt Require Import Sums Duality Minorant.
Import ListNotations.
Open Scope R_scope.

Section Screen.
Variable P : Problem.
Variables D zeta A lo hi : nat -> R.
Hypothesis D_pos : forall i, In i (rows P) -> 0 < D i.
Hypothesis box_in_domain : forall i a, In i (rows P) -> in_box P lo hi i a -> dom (the_loss P) (y P i) a.
Hypothesis majorant : forall i a, In i (rows P) -> in_box P lo hi i a ->
  conj (the_loss P) (y P i) a <= A i + zeta i * a + a * a / (2 * D i).
Variable c : R.
Notation inner := (inner P D).
Notation z := (z P).
Notation zc := (zc zeta c).
Notation r := (r P D zeta c).

(** The box of x: in it lo_i <= -y_i D_i (x_i - zc_i) <= hi_i. *)
Variables xl xh : nat -> R.
Hypothesis box : forall i x, In i (rows P) -> xl i <= x <= xh i -> in_box P lo hi i (D i * (x - zc i)).

(** The prefix, a point x_P of the box, and directions h_m. *)
Variable prefix T : list nat.
Variable xP : nat -> R.
Variable h : nat -> nat -> R.       (* h m i *)
Variables s M N : nat -> R.
Hypothesis xP_in : forall i, In i (rows P) -> xl i <= xP i <= xh i.

(** checker/dual_sweep.py: "a unit of s_m takes at most M_m (forwards) or N_m (backwards) of what x_P leaves of the box" *)
Hypothesis shares : forall i m, In i (rows P) -> In m T ->
  h m i <= M m * (xh i - xP i) /\ - h m i <= M m * (xP i - xl i) /\
  - h m i <= N m * (xh i - xP i) /\ h m i <= N m * (xP i - xl i).
Hypothesis within : sum (fun m => Rmax (s m * M m) (- s m * N m)) T <= 1.

Hypothesis centred_zc : inner ones zc = 0.
Hypothesis centred_xP : inner ones xP = 0.
Hypothesis centred_h : forall m, In m T -> inner ones (h m) = 0.
Hypothesis prefix_h : forall q m, In q prefix -> In m T -> inner (z q) (h m) = 0.

Definition x i := xP i + sum (fun m => s m * h m i) T.

Lemma inner_x u : inner u x = inner u xP + sum (fun m => s m * inner u (h m)) T.
Proof.
  unfold Minorant.inner, x.
  rewrite (sum_ext _ (fun i => w P i * D i * u i * xP i + sum (fun m => s m * (w P i * D i * u i * h m i)) T)).
  - rewrite sum_plus, sum_swap. f_equal. apply sum_ext. intros m _. now rewrite sum_scal.
  - intros i _. rewrite Rmult_plus_distr_l, <- sum_scal. f_equal. apply sum_ext; intros; ring.
Qed.

Lemma inner_sym u v : inner u v = inner v u.
Proof. unfold Minorant.inner. apply sum_ext. intros; ring. Qed.

(** optprobe/engines/bounds/minorant.py: "``rho_m = r_m - <z_m, x_P>``, ``E = <h, h>``, ``C = <z, h>``"
    lin is <x_P, h>. *)
Definition rho l := r l - inner (z l) xP.
Definition lin m := inner xP (h m).
Definition E m l := inner (h m) (h l).
Definition C l m := inner (z l) (h m).

Lemma squares : inner x x
  = inner xP xP + 2 * sum (fun m => lin m * s m) T + sum (fun m => sum (fun l => s m * s l * E m l) T) T.
Proof.
  rewrite inner_x, (inner_sym x xP), inner_x.
  rewrite (sum_ext (fun m => s m * inner x (h m)) (fun m => lin m * s m + sum (fun l => s m * s l * E m l) T)).
  - rewrite sum_plus. rewrite (sum_ext (fun m => s m * inner xP (h m)) (fun m => lin m * s m)) by (intros; unfold lin; ring).
    ring.
  - intros m _. rewrite (inner_sym x (h m)), inner_x, Rmult_plus_distr_l. unfold lin. rewrite (inner_sym (h m) xP).
    rewrite <- sum_scal. f_equal; [ring|]. apply sum_ext. intros l _. unfold E. ring.
Qed.

(** optprobe/engines/bounds/minorant.py: "F(P + T) >= base_P - <x_P, h_T> s - s' E_TT s / 2 - |rho_T - C_TT s|^2 / (2 ridge)." *)
Theorem screen : F_at_least P
  (base P D zeta A c - inner xP xP / 2 - sum (fun q => rho q * rho q) prefix / (2 * ridge P)
   - sum (fun m => lin m * s m) T - sum (fun m => sum (fun l => s m * s l * E m l) T) T / 2
   - sum (fun l => (rho l - sum (fun m => C l m * s m) T) * (rho l - sum (fun m => C l m * s m) T)) T / (2 * ridge P))
  (prefix ++ T).
Proof.
  assert (forall i, In i (rows P) -> in_box P lo hi i (dual D zeta c x i)) as HB.
  { intros i Hi. unfold dual. apply box; auto.
    destruct (screen_in_box (xP i - xl i) (xh i - xP i) (fun m => h m i) s M N T) as [B1 B2]; auto.
    - pose proof (xP_in i Hi). lra.
    - pose proof (xP_in i Hi). lra.
    - unfold x. lra. }
  assert (inner ones x = 0) as H1.
  { rewrite inner_x, centred_xP. rewrite (sum_ext _ (fun _ => 0)); [rewrite sum_const; ring|].
    intros m Hm. rewrite centred_h by auto. ring. }
  intros b b0.
  pose proof (minorant P D zeta A lo hi D_pos box_in_domain majorant c (prefix ++ T) x centred_zc H1 HB b b0) as Q.
  rewrite squares, sum_app in Q.
  rewrite (sum_ext (fun l => (r l - inner (z l) x) * (r l - inner (z l) x)) (fun q => rho q * rho q) prefix) in Q.
  2: { intros q Hq. unfold rho. rewrite inner_x. rewrite (sum_ext (fun m => s m * inner (z q) (h m)) (fun _ => 0)).
       - rewrite sum_const. ring.
       - intros m Hm. rewrite prefix_h by auto. ring. }
  rewrite (sum_ext (fun l => (r l - inner (z l) x) * (r l - inner (z l) x))
            (fun l => (rho l - sum (fun m => C l m * s m) T) * (rho l - sum (fun m => C l m * s m) T)) T) in Q.
  2: { intros l _. unfold rho, C. rewrite inner_x.
       rewrite (sum_ext (fun m => s m * inner (z l) (h m)) (fun m => inner (z l) (h m) * s m)) by (intros; ring). ring. }
  set (X := sum (fun q => rho q * rho q) prefix) in *.
  set (Y := sum (fun l => (rho l - sum (fun m => C l m * s m) T) * (rho l - sum (fun m => C l m * s m) T)) T) in *.
  assert ((X + Y) / (2 * ridge P) = X / (2 * ridge P) + Y / (2 * ridge P)) as Ed by (unfold Rdiv; ring).
  rewrite Ed in Q. lra.
Qed.
End Screen.
