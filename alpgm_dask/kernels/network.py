"""Feed-forward networks of one ensemble, all at once: one batched matrix product per layer.

A network is a chain of affine layers z = x W + b, each followed by a leaky rectifier max(z, slope z) (Maas et al. 2013,
"Rectifier nonlinearities improve neural network acoustic models"), by swish z / (1 + exp(-z)) (Ramachandran et al.
2017, arXiv:1710.05941) or, with a slope of 1, by nothing. Every array has the networks of the ensemble along its first
axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit

#: Rows of one product. A BLAS chooses its order of summation by the shape it is given; with products of one shape only,
#: a row's last digits depend neither on the other rows nor on how many there are. Few enough rows that no product of
#: the published networks is worth splitting over threads, and that little is wasted on the last, padded tile.
TILE = 32


class Layer(NamedTuple):
    """One layer of all networks: weights (network, n_in, n_out), bias (network, n_out), and what follows them.

    `slope` is that of negative values; NaN: swish.
    """

    weights: np.ndarray
    bias: np.ndarray
    slope: float


class Dense(NamedTuple):
    """x W + b: weights (network, n_in, n_out), bias (network, n_out)."""

    weights: np.ndarray
    bias: np.ndarray


class Scale(NamedTuple):
    """x f + o, unit by unit: factor (network or 1, n), offset (network or 1, n)."""

    factor: np.ndarray
    offset: np.ndarray


class Leaky(NamedTuple):
    """max(x, slope x)."""

    slope: float


class Swish(NamedTuple):
    """x / (1 + exp(-x))."""

    slope: float = np.nan


def batch_norm(gamma, beta, mean, variance, epsilon: float) -> Scale:
    """A trained batch normalization (Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 2) as a :class:`Scale`.

    >>> batch_norm(np.array([[2.0]]), np.array([[1.0]]), np.array([[3.0]]), np.array([[4.0]]), 0.0)
    Scale(factor=array([[1.]]), offset=array([[-2.]]))
    """
    factor = gamma / np.sqrt(variance + epsilon)
    return Scale(factor, beta - mean * factor)


def fold(steps: Iterable[Dense | Scale | Leaky | Swish]) -> list[Layer]:
    """The fewest layers that do what the steps do one after the other, in float64.

    Affine steps that no activation separates become one product: a batch normalization, the standardisation of the
    features, and ALPGM's first Dense layer, which has no activation. The order of the steps is kept, so a
    normalization before an activation goes into the layer before it, one after it into the next.

    Parameters
    ----------
    steps
        In the order that a row passes them; the first is a Dense or a Scale.

    Raises
    ------
    ValueError
        if an activation comes first, or shapes do not fit.

    >>> steps = [Scale(np.array([[2.0]]), np.array([[1.0]])), Dense(np.array([[[3.0]]]), np.array([[4.0]]))]
    >>> layer, = fold(steps)
    >>> layer.weights.item(), layer.bias.item(), layer.slope
    (6.0, 7.0, 1.0)
    """
    layers: list[Layer] = []
    weights = bias = None
    for step in steps:
        if isinstance(step, Leaky | Swish):
            if weights is None:
                raise ValueError("an activation without a layer before it")
            layers.append(Layer(weights, bias, float(step.slope)))
            weights = bias = None
        elif weights is None:
            weights, bias = _affine(step)
        else:
            weights, bias = _then(weights, bias, step)
    return layers if weights is None else [*layers, Layer(weights, bias, 1.0)]


def _affine(step: Dense | Scale) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.asarray(a, dtype="float64") for a in step)
    return (first, second) if isinstance(step, Dense) else (first[:, :, None] * np.eye(first.shape[1]), second)


def _then(weights: np.ndarray, bias: np.ndarray, step: Dense | Scale) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.asarray(a, dtype="float64") for a in step)
    if isinstance(step, Dense):
        return weights @ first, (bias[:, None, :] @ first)[:, 0] + second
    return weights * first[:, None, :], bias * first + second


def forward(layers: list[Layer], features: np.ndarray) -> np.ndarray:
    """What every network says of every row.

    Parameters
    ----------
    layers
        From :func:`fold`; the last has one output.
    features
        (row, feature) float64. A row with a value that is not finite is NaN in all networks, and enters no product.

    Returns
    -------
    (network, row) float64.
    """
    whole = np.isfinite(features).all(axis=1)
    networks = max(layer.weights.shape[0] for layer in layers)
    out = np.empty((networks, features.shape[0]))
    # the same memory for every tile: fresh arrays of this size cost more than the products
    tile = np.zeros((TILE, features.shape[1]))
    values = [np.empty((networks, TILE, layer.bias.shape[1])) for layer in layers]
    for start in range(0, features.shape[0], TILE):
        rows = slice(start, min(start + TILE, features.shape[0]))
        n = rows.stop - start
        tile[:n] = np.where(whole[rows, None], features[rows], 0.0)
        tile[n:] = 0.0
        _tile(layers, tile, values)
        out[:, rows] = values[-1][:, :n, 0]
    out[:, ~whole] = np.nan
    return out


def _tile(layers: list[Layer], tile: np.ndarray, values: list[np.ndarray]) -> None:
    """Fill `values` with what comes out of each layer, (network, row, unit), for one tile of rows (row, feature)."""
    given = tile[None]
    for layer, out in zip(layers, values, strict=True):
        if layer.weights.shape[2] > 1:
            np.matmul(given, layer.weights, out=out)
        else:
            _one_output(given, layer.weights, out)
        _activate(out, layer.bias, 1.0 if np.isnan(layer.slope) else layer.slope)
        if np.isnan(layer.slope):
            with np.errstate(over="ignore"):  # far below 0 the exponential is infinite, and the result 0
                np.divide(out, 1.0 + np.exp(-out), out=out)
        given = out


@njit(cache=True, nogil=True)
def _one_output(given, weights, out):
    """A product with one column: BLAS takes another routine for it, whose order of summation depends on the row."""
    for k in range(out.shape[0]):
        network = min(k, given.shape[0] - 1)
        for row in range(out.shape[1]):
            total = 0.0
            for unit in range(weights.shape[1]):
                total += given[network, row, unit] * weights[min(k, weights.shape[0] - 1), unit, 0]
            out[k, row, 0] = total


@njit(cache=True, nogil=True)
def _activate(values, bias, slope):
    """Add the bias and take max(z, slope z), in place."""
    for k in range(values.shape[0]):
        network = min(k, bias.shape[0] - 1)
        for row in range(values.shape[1]):
            for unit in range(values.shape[2]):
                z = values[k, row, unit] + bias[network, unit]
                values[k, row, unit] = max(z, slope * z)
