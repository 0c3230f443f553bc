"""Which rows are held out together: whole glaciers, whole years, both at once, or any other groups.

A fold is a pair of masks over the rows, (train, test). Rows in neither are left aside: when some glaciers and some
years are held out together, the other years of these glaciers are neither trained on nor tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpgm_dask.schema import InputError


class Fold(NamedTuple):
    """Masks (row,) of the rows trained on and of the rows held out and tested."""

    train: np.ndarray
    test: np.ndarray


#: Leave one glacier out, leave one year out, leave some years and glaciers out.
SCHEMES = ("logo", "loyo", "lsygo")


def check_groups(groups, n_rows: int, what: str = "group") -> np.ndarray:
    """Groups as an array (row,), refused if they are missing, of another length, or all the same."""
    if groups is None:
        raise InputError(f"groups: none given; allowed: the {what} of each row, so that whole {what}s are held out")
    values = np.asarray(groups)
    if values.shape != (n_rows,):
        raise InputError(f"groups: shape {values.shape}; allowed: ({n_rows},), one per row of features")
    different = np.unique(values)
    if different.size < 2:
        raise InputError(f"groups: a single {what} ({different[0]}) in {n_rows} rows; allowed: at least two")
    return values


def group_folds(groups: np.ndarray, n_splits: int | None = None, what: str = "group") -> list[Fold]:
    """Every group held out once; with `n_splits`, several together in at most so many folds of about equal size.

    Groups are dealt, largest first, to the fold with the fewest rows so far.

    >>> [fold.test.astype(int).tolist() for fold in group_folds(np.array(["a", "a", "b", "c"]), 2)]
    [[1, 1, 0, 0], [0, 0, 1, 1]]
    """
    groups = check_groups(groups, len(groups), what)
    names, code, count = np.unique(groups, return_inverse=True, return_counts=True)
    code = code.ravel()
    if n_splits is None:
        return [Fold(code != k, code == k) for k in range(len(names))]
    fold_of, load = np.empty(len(names), dtype=int), np.zeros(min(n_splits, len(names)))
    for group in np.argsort(-count, kind="stable"):
        fold_of[group] = int(np.argmin(load))
        load[fold_of[group]] += count[group]
    return [Fold(fold_of[code] != fold, fold_of[code] == fold) for fold in range(len(load))]


def cross_folds(
    glacier: np.ndarray,
    year: np.ndarray,
    n_folds: int = 64,
    n_glaciers: int = 4,
    n_years: int = 3,
    seed: int = 0,
    years: tuple[int, int] | None = None,
) -> list[Fold]:
    """Random folds that test some glaciers in some years and train on neither: ALPGM's LSYGO.

    Parameters
    ----------
    glacier, year
        (row,) labels.
    n_folds, n_glaciers, n_years
        how many folds, and of how many glaciers and years each; folds without a row to test are drawn again.
    seed
        of the drawing.
    years
        first and last year that may be tested; None: all.
    """
    names, code = np.unique(check_groups(glacier, len(glacier), "glacier"), return_inverse=True)
    code, year = code.ravel(), check_groups(year, len(glacier), "year")
    allowed = np.unique(year)
    allowed = allowed if years is None else allowed[(allowed >= years[0]) & (allowed <= years[1])]
    if names.size <= n_glaciers or np.unique(year).size <= n_years or allowed.size < n_years:
        raise InputError(
            f"lsygo: {names.size} glaciers and {allowed.size} years; allowed: more than the {n_glaciers} glaciers "
            f"and {n_years} years of a fold"
        )
    random, out = np.random.default_rng(seed), []
    for _ in range(100 * n_folds):
        glaciers_out = np.isin(code, random.choice(names.size, n_glaciers, replace=False))
        years_out = np.isin(year, random.choice(allowed, n_years, replace=False))
        fold = Fold(~glaciers_out & ~years_out, glaciers_out & years_out)
        if fold.test.any() and fold.train.any():
            out.append(fold)
        if len(out) == n_folds:
            return out
    raise InputError(f"lsygo: only {len(out)} of {n_folds} folds have a row to test; allowed: a denser table")


def scheme_folds(
    scheme: str,
    labels: dict[str, np.ndarray],
    *,
    n_splits: int | None = None,
    seed: int = 0,
    years: tuple[int, int] | None = None,
) -> list[Fold]:
    """The folds of a scheme over rows with labels.

    Parameters
    ----------
    scheme
        "logo", "loyo", "lsygo", "years-N" (blocks of N consecutive years), or the name of any label, such as "massif".
    labels
        (row,) arrays; "glacier" and "year" always.
    n_splits
        at most so many folds, several groups in each; None: every group alone. lsygo: how many folds; None: 64.
    seed
        of lsygo's drawing.
    years
        first and last year that is tested; rows of other years are trained on, unless their group is held out.

    Raises
    ------
    InputError
        for an unknown scheme, a single group, no row to test.
    """
    glacier, year = labels["glacier"], labels["year"]
    if scheme == "lsygo":
        return cross_folds(glacier, year, n_splits or 64, seed=seed, years=years)
    if scheme == "logo":
        folds = group_folds(glacier, n_splits, "glacier")
    elif scheme == "loyo":
        folds = group_folds(year, n_splits, "year")
    elif scheme.startswith("years-") and scheme[6:].isdecimal() and int(scheme[6:]) > 0:
        folds = group_folds((np.asarray(year) - np.min(year)) // int(scheme[6:]), n_splits, "block of years")
    elif scheme in labels:
        folds = group_folds(labels[scheme], n_splits, scheme)
    else:
        allowed = ", ".join([*SCHEMES, "years-N", *labels])
        raise InputError(f"scheme {scheme!r} is not known; allowed: {allowed}")
    if years is not None:
        tested = (year >= years[0]) & (year <= years[1])
        folds = [Fold(fold.train, fold.test & tested) for fold in folds]
    folds = [fold for fold in folds if fold.test.any()]
    if not folds:
        raise InputError(f"scheme {scheme!r}: no row to test in the years {years}; allowed: years of the table")
    return folds


def inner_folds(groups, folds: Sequence[Fold] | None, n_rows: int, n_splits: int, what: str = "glacier") -> list[Fold]:
    """What a model chooses its settings on: the folds given, else folds of whole groups.

    Raises
    ------
    InputError
        without either, for a single group, for folds of another length or that train on what they test.
    """
    if folds is None:
        return group_folds(check_groups(groups, n_rows, what), n_splits, what)
    out = [Fold(np.asarray(train, dtype=bool), np.asarray(test, dtype=bool)) for train, test in folds]
    for k, fold in enumerate(out):
        if fold.train.shape != (n_rows,) or fold.test.shape != (n_rows,):
            raise InputError(
                f"folds: fold {k} has masks of {fold.train.shape} and {fold.test.shape}; allowed: ({n_rows},)"
            )
        if (fold.train & fold.test).any() or not fold.train.any() or not fold.test.any():
            raise InputError(
                f"folds: fold {k} trains on what it tests, or is empty; allowed: two separate sets of rows"
            )
    if not out:
        raise InputError("folds: none; allowed: at least one")
    return out
