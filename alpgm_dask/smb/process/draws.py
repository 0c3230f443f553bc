"""Draws of the Gaussian process: functions that can be asked anywhere, from random frequencies."""

from __future__ import annotations

import numpy as np

from alpgm_dask.kernels.gaussian_process import Term
from alpgm_dask.smb.process.columns import YEAR_LENGTH
from alpgm_dask.smb.process.fit import Parameters


class PriorDraws:
    """Draws of the prior as sums of cosines (Rahimi and Recht 2007, Random Features for Large-Scale Kernel Machines).

    Terms that compare the same things share their frequencies, not their weights.

    Parameters
    ----------
    terms, parameters
        of the covariance.
    sizes
        number of features of each group.
    n_members, n_frequencies, seed
        see :class:`.model.GaussianProcess`.
    """

    def __init__(
        self,
        terms: tuple[Term, ...],
        parameters: Parameters,
        sizes: dict[str, int],
        n_members: int,
        n_frequencies: int,
        seed: int,
    ) -> None:
        random = np.random.default_rng(seed)
        self.n_members = n_members
        self.waves: dict[tuple[str, ...], tuple[dict[str, np.ndarray], np.ndarray]] = {}
        self.weights: list[tuple[tuple[str, ...], str | None, np.ndarray]] = []
        for term, a in zip(terms, parameters.amplitude, strict=True):
            product = None if term.product == "year" else term.product
            compared = (*term.similarities, *(["year"] if term.product == "year" else []))
            width = sizes[product] if product else 1
            if compared and compared not in self.waves:
                self.waves[compared] = _wave(random, compared, parameters, sizes, n_frequencies)
            shape = (width, n_frequencies, n_members) if compared else (width, n_members)
            self.weights.append((compared, product, random.standard_normal(shape) * (a / np.sqrt(width))))

    def __call__(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """(row, smb_member) m w.e. per year at standardised groups of features (row, ...)."""
        cosines = {}
        for compared, (frequencies, phase) in self.waves.items():
            angle = phase + sum(rows[group] @ values for group, values in frequencies.items())
            cosines[compared] = np.cos(angle) * np.sqrt(2.0 / phase.size)
        out = np.zeros((len(rows["climate"]), self.n_members))
        for compared, product, weight in self.weights:
            if not compared:
                out += rows[product] @ weight
                continue
            for j in range(weight.shape[0]):
                factor = rows[product][:, [j]] if product else 1.0
                out += (cosines[compared] * factor) @ weight[j]
        return out


def _wave(
    random: np.random.Generator, compared: tuple[str, ...], parameters: Parameters, sizes: dict[str, int], n: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Frequencies {group: (feature, frequency)} and phases (frequency,) of what a term compares."""
    lengths: dict[str, float] = {}
    for name in compared:
        lengths |= {"climate": YEAR_LENGTH} if name == "year" else parameters.lengths[name]
    frequencies = {
        group: random.standard_normal((sizes[group], n)) / (length * np.sqrt(sizes[group]))
        for group, length in lengths.items()
    }
    return frequencies, random.uniform(0.0, 2.0 * np.pi, n)
