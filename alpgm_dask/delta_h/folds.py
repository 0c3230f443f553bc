"""Pixels left out by tiles: neighbours share their errors, so single pixels left out would prove nothing."""

from __future__ import annotations

import numpy as np

#: m, longest side of a tile: about as far as errors of elevation models are alike from pixel to pixel; and tiles that a
#: glacier is long at least: without a third of its elevations none can show what its function is worth.
TILE, TILES_ALONG = 500.0, 5

#: Folds of tiles that are left out in turn, and folds within the rest on which settings are chosen.
FOLDS, INNER_FOLDS = 5, 4

#: Pixels that count as a tile where positions are not known and pixels stand in the order of their raster.
PIXELS_OF_A_TILE = 64


def tiles(x: np.ndarray | None, y: np.ndarray | None, n: int) -> np.ndarray:
    """(pixel,) number of the tile that each of n pixels lies in, from 0 without a gap.

    Parameters
    ----------
    x, y
        (pixel,) m; None: pixels stand in the order of their raster, and neighbours in it make a tile.
    """
    if x is None or y is None:
        return np.arange(n) // PIXELS_OF_A_TILE
    side = max(min(TILE, max(np.ptp(x), np.ptp(y)) / TILES_ALONG), 1.0)
    column, row = (np.floor((at - at.min()) / side).astype("int64") for at in (x, y))
    return np.unique(column * (row.max() + 1) + row, return_inverse=True)[1]


def spatial_folds(tile: np.ndarray, n_folds: int = FOLDS) -> np.ndarray:
    """(pixel,) number of the fold that its tile is left out with: tiles are shuffled, and dealt like cards.

    >>> spatial_folds(np.array([0, 0, 1, 1, 2]), 2).tolist()
    [0, 0, 0, 0, 1]
    """
    n = int(tile.max()) + 1
    return (np.random.default_rng(0).permutation(n) % n_folds)[tile]
