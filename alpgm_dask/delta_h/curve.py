"""One fitted function, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class UnfitError(ValueError):
    """Pixels that make no function: `reason` is one of :data:`alpgm_dask.schema.DELTA_H_REASON`."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(frozen=True)
class Curve:
    """A delta-h function of one glacier.

    Attributes
    ----------
    nodes, values
        (node,) normalized elevation (0 top, 1 terminus), and the function there, 0 to 1.
    elevations
        lowest and highest elevation in m that normalized elevation is counted from.
    used
        (pixel,) which pixels it was fitted to.
    """

    nodes: np.ndarray
    values: np.ndarray
    elevations: tuple[float, float]
    used: np.ndarray

    def rising(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and values, from the top down."""
        order = np.argsort(self.nodes, kind="stable")
        return self.nodes[order], self.values[order]

    def at(self, surface_elevation: np.ndarray) -> np.ndarray:
        """Value at elevations in m (pixel,), linear between nodes, that of the end beyond."""
        low, high = self.elevations
        return np.interp((high - surface_elevation) / (high - low), *self.rising())
