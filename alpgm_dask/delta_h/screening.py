"""Which pixels of two elevation models show the ice, and which show clouds, shadows and mismatched rock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import median_filter

from alpgm_dask.schema import InputError

#: m. Changes over decades that are believed of a glacier's surface: beyond are clouds above, artefacts below.
PLAUSIBLE = (-160.0, 20.0)

#: Changes farther from the running median along elevation than this many NMAD are outliers.
OUTLIER_NMAD = 3.0

#: Pixels of the running median: a tenth of the glacier's, within these bounds.
MEDIAN_WINDOW = (11, 101)


def check_plausible(plausible: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest change, if they can serve (InputError: anything but a negative and a positive number)."""
    given = tuple(np.ravel(plausible).tolist())
    numbers = len(given) == 2 and all(isinstance(value, int | float) for value in given)
    if not (numbers and given[0] < 0 < given[1]):
        raise InputError(f"plausible: {given}; allowed: a negative and a positive number, m")
    return given


def nmad(values: np.ndarray) -> float:
    """Normalized median absolute deviation: the standard deviation of what is normal among outliers.

    >>> round(nmad(np.array([1.0, 2.0, 3.0, 100.0])), 4)
    1.4826
    """
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else np.nan


def screen(surface_elevation: np.ndarray, change: np.ndarray, plausible: tuple[float, float] = PLAUSIBLE) -> np.ndarray:
    """(pixel,) whether a change is believed: plausible, and near to those at about its elevation.

    The filter of 3 NMAD around the median by elevation is common for differences of elevation models over glaciers
    (McNabb et al. 2019, doi:10.5194/tc-13-895-2019); here the median runs along the pixels in order of elevation.

    Parameters
    ----------
    surface_elevation, change
        (pixel,) m; a change that is not finite is not believed.
    plausible
        lowest and highest change in m.
    """
    kept = np.isfinite(change) & np.isfinite(surface_elevation)
    kept[kept] = (change[kept] >= plausible[0]) & (change[kept] <= plausible[1])
    if not kept.any():
        return kept
    order = np.flatnonzero(kept)[np.argsort(surface_elevation[kept], kind="stable")]
    window = int(np.clip(order.size // 10, *MEDIAN_WINDOW)) | 1
    residual = change[order] - median_filter(change[order].astype("float64"), size=window, mode="nearest")
    # differences of whole metres have a spread of 0 where most of them are equal
    kept[order] = np.abs(residual) <= OUTLIER_NMAD * max(nmad(residual), 0.5)
    return kept
