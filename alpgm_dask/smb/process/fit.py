"""Amplitudes and lengths of the Gaussian process, from its training rows alone: largest marginal likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpgm_dask.kernels.gaussian_process import Term, covariance, length_derivative

#: Logarithms of the parameters have a normal prior around their first guess, of this standard deviation.
PRIOR_SPREAD = 3.0

FIRST_AMPLITUDE, FIRST_NOISE = 0.3, 0.5

#: How far a parameter may go from its first guess, as the logarithm of the ratio: 5 is a factor of 150.
FARTHEST = 5.0

#: Spread of the constant in m w.e. per year: not chosen, so wide that the rows decide where the middle is.
CONSTANT_SPREAD = 1.0


@dataclass(frozen=True)
class Parameters:
    """Amplitude (term,) and noise in m w.e. per year, and lengths {similarity: {distance: length}}."""

    amplitude: np.ndarray
    lengths: dict[str, dict[str, float]]
    noise: float

    @classmethod
    def first(cls, terms: tuple[Term, ...], lengths: dict[str, dict[str, float]]) -> Parameters:
        """Where the search starts."""
        amplitude = [CONSTANT_SPREAD if term.product == "constant" else FIRST_AMPLITUDE for term in terms]
        return cls(np.array(amplitude), lengths, FIRST_NOISE)

    def to_array(self) -> np.ndarray:
        """Amplitudes, lengths in their order, noise."""
        lengths = [length for scales in self.lengths.values() for length in scales.values()]
        return np.concatenate([self.amplitude, lengths, [self.noise]])

    def from_array(self, values: np.ndarray) -> Parameters:
        """Parameters of the same layout."""
        n = self.amplitude.size
        rest = iter(values[n:-1])
        lengths = {name: {part: float(next(rest)) for part in scales} for name, scales in self.lengths.items()}
        return Parameters(np.array(values[:n]), lengths, float(values[-1]))


def maximise(
    first: Parameters,
    terms: tuple[Term, ...],
    distances: dict[str, np.ndarray],
    products: dict[str, np.ndarray],
    y: np.ndarray,
    noise_variance: np.ndarray,
    max_iterations: int,
) -> tuple[Parameters, int]:
    """Parameters of the largest marginal likelihood times prior, and the number of iterations.

    Parameters
    ----------
    first
        where to start; the prior's middle.
    terms, distances, products
        of the covariance (:func:`alpgm_dask.kernels.gaussian_process.covariance`), lower triangles as vectors.
    y
        (row,) target of mean 0.
    noise_variance
        (row,) the noise of each row relative to the others, around 1.
    max_iterations
        of L-BFGS.

    Notes
    -----
    Rasmussen and Williams (2006, ISBN 026218253X), Eqs. 5.8 and 5.9, with a log-normal prior on every parameter.
    """
    from scipy.optimize import minimize

    start = np.log(first.to_array())
    fixed = np.flatnonzero([term.product == "constant" for term in terms])
    rows, columns = np.tril_indices(y.size)
    diagonal = np.flatnonzero(rows == columns)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        now = first.from_array(np.exp(vector))
        total, parts = covariance(terms, now.amplitude, now.lengths, distances, products)
        variance = now.noise**2 * noise_variance
        total[diagonal] += variance
        try:
            value, weight = _likelihood(total, y, rows, columns)
        except np.linalg.LinAlgError:  # a step too far: the line search comes back
            return 1e10, np.zeros_like(vector)
        derivative = [2.0 * part.dot(weight) for part in parts]
        for name, scales in now.lengths.items():
            for part, length in scales.items():
                by_length = length_derivative(name, part, length, terms, parts, distances)
                derivative.append(by_length.dot(weight))
        derivative.append(2.0 * variance.dot(weight[diagonal]))
        away = (vector - start) / PRIOR_SPREAD
        total_derivative = np.array(derivative) + away / PRIOR_SPREAD
        total_derivative[fixed] = 0.0
        return value + 0.5 * float(away.dot(away)), total_derivative

    bounds = np.stack([start - FARTHEST, start + FARTHEST], axis=1)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": max_iterations})
    return first.from_array(np.exp(found.x)), int(found.nit)


def _likelihood(triangle: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[float, np.ndarray]:
    """Negative log marginal likelihood, less its constant, and its derivative by each element of the triangle."""
    from scipy.linalg import cho_solve, cholesky
    from scipy.linalg.lapack import dpotri

    matrix = np.zeros((y.size, y.size))
    matrix[rows, columns] = triangle
    lower = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    solved = cho_solve((lower, True), y, check_finite=False)
    value = 0.5 * y.dot(solved) + np.log(np.diagonal(lower)).sum()
    inverse = dpotri(lower, lower=1)[0][rows, columns]
    # an element off the diagonal stands for two of the symmetric matrix
    weight = (inverse - solved[rows] * solved[columns]) * np.where(rows == columns, 0.5, 1.0)
    return float(value), weight
