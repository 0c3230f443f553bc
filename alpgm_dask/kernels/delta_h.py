"""Delta-h functions on nodes: look-up, and the size-class curves of Huss et al. (2010)."""

from __future__ import annotations

import numpy as np
from numba import njit

#: m2. Areas that part large (above the first), medium and small (below the second) valley glaciers, and the exponent
#: and coefficients (gamma, a, b, c) of the three (Huss et al. 2010, doi:10.5194/hess-14-815-2010, Fig. 3).
HUSS_CLASS_AREAS = (20.0e6, 5.0e6)
HUSS_COEFFICIENTS = ((6.0, -0.02, 0.12, 0.00), (4.0, -0.05, 0.19, 0.01), (2.0, -0.30, 0.60, 0.09))


def huss2010(normalized_elevation: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Elevation change of a glacier of a size class, ``(z + a)^gamma + b (z + a) + c``, cut to [0, 1].

    Huss et al. (2010), doi:10.5194/hess-14-815-2010, Eq. 3 with the parameters of their Fig. 3.

    Parameters
    ----------
    normalized_elevation
        (node,) 0 at the top, 1 at the terminus.
    area
        (glacier,) m2: above 20 km2 large, 5 to 20 km2 medium, below small.

    Returns
    -------
    (glacier, node) change, 1 where the surface sinks most.

    >>> huss2010(np.array([0.0, 0.5, 1.0]), np.array([1.0e6])).round(12).tolist()
    [[0.0, 0.25, 1.0]]
    """
    area = np.asarray(area, dtype="float64")
    z = np.asarray(normalized_elevation, dtype="float64")
    large, small = area > HUSS_CLASS_AREAS[0], area < HUSS_CLASS_AREAS[1]
    curves = np.stack([(z + a) ** gamma + b * (z + a) + c for gamma, a, b, c in HUSS_COEFFICIENTS]).clip(0.0, 1.0)
    return curves[np.where(large, 0, np.where(small, 2, 1))]


@njit(cache=True, nogil=True)
def nearest_node(nodes: np.ndarray, n_nodes: int, at: float) -> int:
    """Index of the node nearest to `at` on nodes that rise or fall throughout; the first of two equally near.

    Starts from where the node would be were they evenly spaced, which published functions nearly are.
    """
    last = n_nodes - 1
    if last == 0 or nodes[last] == nodes[0]:
        return 0
    guess = (at - nodes[0]) / (nodes[last] - nodes[0]) * last
    i = 0 if guess <= 0.0 else (last if guess >= last else int(guess + 0.5))
    best = abs(nodes[i] - at)
    while i > 0 and abs(nodes[i - 1] - at) <= best:
        i -= 1
        best = abs(nodes[i] - at)
    while i < last and abs(nodes[i + 1] - at) < best:
        i += 1
        best = abs(nodes[i] - at)
    return i
