"""Two elevation models of the synthetic glaciers, with what real ones suffer from: noise, clouds, voids, outliers."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.constants import KM2
from alpgm_dask.demo.relief import CORNER, FINE_SHAPE, PIXEL, fractal
from alpgm_dask.schema import VARIABLES

#: days of the two surveys.
DATES = ("2000-08-20", "2015-09-10")

#: m: noise that neighbours share, and that of single pixels on flat and (per unit of slope) on steep ground.
SHARED_NOISE, PIXEL_NOISE, SLOPE_NOISE = 0.8, 0.6, 2.0

#: share of glaciers under a cloud, of pixels that are outliers.
CLOUDED, OUTLIERS = 0.08, 0.005


def thinning_pattern(normalized_elevation: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """The delta-h function that the demo region's glaciers follow: ((z + 0.05) / 1.05) ** exponent.

    Parameters
    ----------
    normalized_elevation
        0 at the top, 1 at the terminus.
    exponent
        1; near 2 for small, up to 5 for large glaciers, as the size classes of Huss et al. (2010,
        doi:10.5194/hess-14-815-2010) have it.

    >>> thinning_pattern(np.array([0.475, 1.0]), 2.0).tolist()
    [0.25, 1.0]
    """
    return ((normalized_elevation + 0.05) / 1.05) ** exponent


def _per_pixel(glaciers: xr.Dataset) -> np.ndarray:
    """(pixel,) position of the glacier that a pixel belongs to, -1 on padding."""
    out = np.full(glaciers.sizes["pixel"], -1)
    for i, (start, size) in enumerate(zip(glaciers["row_start"].values, glaciers["row_size"].values, strict=True)):
        out[start : start + size] = i
    return out


def _normalized(surface: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """0 at the top of the pixel's glacier, 1 at its terminus."""
    high, low = np.full(n, -np.inf), np.full(n, np.inf)
    np.maximum.at(high, owner, surface)
    np.minimum.at(low, owner, surface)
    return (high[owner] - surface) / np.maximum(high - low, 1.0)[owner]


def _clouds(x: np.ndarray, y: np.ndarray, owner: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(pixel,) m that clouds lift the second model by: a disc over a part of some glaciers."""
    out = np.zeros(x.size)
    for i in rng.choice(n, max(1, round(CLOUDED * n)), replace=False):
        here = np.flatnonzero(owner == i)
        middle = rng.choice(here)
        reach = rng.uniform(0.10, 0.22) * np.hypot(np.ptp(x[here]), np.ptp(y[here])) + PIXEL
        under = here[np.hypot(x[here] - x[middle], y[here] - y[middle]) < reach]
        out[under] = rng.uniform(30.0, 90.0) + 8.0 * rng.standard_normal(under.size)
    return out


def _noise(x: np.ndarray, y: np.ndarray, slope: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(pixel,) m, error of one elevation model."""
    shared = fractal(FINE_SHAPE, rng, slope=2.5)
    row, column = ((CORNER[1] - y) // PIXEL).astype(int), ((x - CORNER[0]) // PIXEL).astype(int)
    single = (PIXEL_NOISE + SLOPE_NOISE * np.tan(np.radians(slope))) * rng.standard_normal(x.size)
    far = (rng.random(x.size) < OUTLIERS) * rng.normal(0.0, 40.0, x.size)
    return SHARED_NOISE * shared[row, column] + single + far


def build(glaciers: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """The change between two surveys, packed as `glaciers` is, and the truth behind it.

    Returns
    -------
    Dataset: surface_elevation (mean of both surveys), elevation_change (second minus first; ``pixel``, m, NaN on voids
    and padding), x, y (``pixel``), the packing's and the grid's variables (``glacier``), and of the truth
    thinning_exponent (1, see :func:`thinning_pattern`) and terminus_change (m between the surveys, negative) over
    ``glacier``; attributes first_survey and second_survey.
    """
    owner = _per_pixel(glaciers)
    ice = np.flatnonzero(owner >= 0)
    at = owner[ice]
    x, y, surface, slope = (
        glaciers[name].values[ice].astype("float64") for name in ("x", "y", "surface_elevation", "surface_slope")
    )
    n, area = glaciers.sizes["glacier"], glaciers["area"].values / KM2
    exponent = (2.0 + 0.9 * np.log10(area.clip(min=0.1)) + rng.normal(0.0, 0.35, n)).clip(1.0, 5.0)
    terminus = -(28.0 + 22.0 * np.log10(area.clip(min=0.1) * 10.0)) * rng.uniform(0.8, 1.2, n)
    change = terminus[at] * thinning_pattern(_normalized(surface, at, n), exponent[at])
    first = surface - change + _noise(x, y, slope, rng)
    second = surface + _noise(x, y, slope, rng) + _clouds(x, y, at, n, rng)
    first[rng.random(ice.size) < 0.01] = np.nan
    out = glaciers.drop_dims("pixel").drop_vars(["mean_elevation", "max_elevation"])
    out["x"], out["y"] = glaciers["x"], glaciers["y"]
    # where the first survey has a hole the second is all there is of the surface
    mean = np.where(np.isnan(first), second, (first + second) / 2.0)
    for name, values in (("surface_elevation", mean), ("elevation_change", second - first)):
        packed = np.full(owner.size, np.nan, dtype="float32")
        packed[ice] = values
        out[name] = ("pixel", packed, VARIABLES[name].attrs())
    truth = {"thinning_exponent": (exponent, "1"), "terminus_change": (terminus, "m")}
    for name, (values, units) in truth.items():
        out[name] = ("glacier", values, {"units": units, "long_name": f"truth: {name.replace('_', ' ')}"})
    out.attrs["title"] = "Demo Alps: two synthetic elevation models"
    out.attrs |= {"first_survey": DATES[0], "second_survey": DATES[1]}
    return out.chunk(pixel=glaciers.attrs["block_pixels"], glacier=glaciers.attrs["block_glaciers"])
