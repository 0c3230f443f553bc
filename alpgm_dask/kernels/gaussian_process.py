"""Covariance of a Gaussian process as a sum of terms, with its derivatives; arrays in, arrays out.

A term is ``a^2 * R_1 * ... * R_k * G``: an amplitude, any number of squared-exponential similarities
``R = exp(-D / (2 l^2))`` of squared distances D with a length l, and at most one product of features G (a linear
model whose weights vary with what the similarities compare). See Rasmussen and Williams (2006, Gaussian Processes for
Machine Learning, ISBN 026218253X), Eqs. 4.9, 4.13, 5.8 and 5.9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Term(NamedTuple):
    """Names of the similarities and of the product of features that one term multiplies."""

    similarities: tuple[str, ...] = ()
    product: str | None = None


def squared_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(row, other) mean over features of the squared difference of `a` (row, feature) and `b` (other, feature).

    Summed feature by feature: differences of near-equal rows stay exact, and no sum depends on the number of rows.
    """
    out = np.zeros((len(a), len(b)))
    for j in range(a.shape[1]):
        out += np.square(a[:, j, None] - b[None, :, j])
    return out / a.shape[1]


def mean_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(row, other) mean over features of the product of `a` (row, feature) and `b` (other, feature)."""
    out = np.zeros((len(a), len(b)))
    for j in range(a.shape[1]):
        out += a[:, j, None] * b[None, :, j]
    return out / a.shape[1]


def covariance(
    terms: Sequence[Term],
    amplitude: np.ndarray,
    lengths: Mapping[str, Mapping[str, float]],
    distances: Mapping[str, np.ndarray],
    products: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sum of the terms, and each term by itself.

    Parameters
    ----------
    terms, amplitude
        the terms and their amplitudes (term,).
    lengths
        for every similarity, the distances that it compares and the length of each.
    distances, products
        arrays of one shape, whatever it is: a matrix, or the lower triangle of one as a vector.
    """
    similar = {}
    for name, scales in lengths.items():
        exponent = sum(distances[part] * (-0.5 / length**2) for part, length in scales.items())
        similar[name] = np.exp(exponent)
    parts = []
    for term, a in zip(terms, amplitude, strict=True):
        factors = [similar[name] for name in term.similarities]
        factors += [products[term.product]] if term.product is not None else []
        part = a * a * factors[0]
        for factor in factors[1:]:
            part *= factor
        parts.append(part)
    return sum(parts[1:], start=parts[0].copy()), parts


def length_derivative(
    similarity: str,
    part: str,
    length: float,
    terms: Sequence[Term],
    parts: Sequence[np.ndarray],
    distances: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Derivative of the covariance by the logarithm of one length of a similarity."""
    used = [value for term, value in zip(terms, parts, strict=True) if similarity in term.similarities]
    return sum(used[1:], start=used[0].copy()) * distances[part] / length**2
