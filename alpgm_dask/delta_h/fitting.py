"""One glacier's function and how good it is: fitted, left out tile by tile, and compared with its size class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from alpgm_dask.delta_h import monotone, published
from alpgm_dask.delta_h.curve import Curve, UnfitError
from alpgm_dask.delta_h.folds import spatial_folds, tiles
from alpgm_dask.delta_h.screening import PLAUSIBLE, check_plausible, nmad, screen
from alpgm_dask.kernels.delta_h import huss2010
from alpgm_dask.schema import InputError, annotate

#: (surface elevation, change, tile, plausible) of pixels -> Curve; see :func:`fit`.
Method = Callable[[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]], Curve]


def _as_published(z: np.ndarray, change: np.ndarray, tile: np.ndarray, plausible: tuple[float, float]) -> Curve:
    seen = np.isfinite(z) & np.isfinite(change)
    found = published.fit(z[seen], change[seen])
    used = np.zeros(z.size, dtype=bool)
    used[seen] = found.used
    return Curve(found.nodes, found.values, found.elevations, used)


METHODS: dict[str, Method] = {"monotone": monotone.fit, "published": _as_published}


@dataclass(frozen=True)
class Pixels:
    """What two surveys say of one glacier.

    Attributes
    ----------
    surface_elevation, change
        (pixel,) m; NaN where it was not seen.
    tile
        (pixel,) number of the tile that a pixel lies in.
    """

    surface_elevation: np.ndarray
    change: np.ndarray
    tile: np.ndarray

    def of(self, chosen: np.ndarray) -> Pixels:
        return Pixels(self.surface_elevation[chosen], self.change[chosen], self.tile[chosen])

    def curve(self, method: str, plausible: tuple[float, float]) -> Curve:
        """The function of a method (UnfitError where there is none)."""
        return METHODS[method](self.surface_elevation, self.change, self.tile, plausible)

    def screened(self, plausible: tuple[float, float]) -> np.ndarray:
        return screen(self.surface_elevation, self.change, plausible)


@dataclass(frozen=True)
class Fit:
    """A function, its standard error (node,), and its figures by name (see :data:`QUALITY`)."""

    curve: Curve
    spread: np.ndarray
    quality: dict[str, float]


#: m: what is shorter than this is no glacier, but one in degrees.
SHORTEST = 5.0

#: Figures of a fit that are stored.
QUALITY = (
    *("pixels", "pixels_used", "share_covered", "residual_spread", "held_out_error", "class_error"),
    *("greatest_change", "lowest_elevation", "highest_elevation"),
)


def fit(
    surface_elevation: np.ndarray | xr.DataArray,
    dh: np.ndarray | xr.DataArray,
    *,
    method: str = "monotone",
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    area: float | None = None,
    plausible: tuple[float, float] = PLAUSIBLE,
) -> xr.Dataset:
    """The delta-h function of one glacier from two surveys of its surface.

    Parameters
    ----------
    surface_elevation, dh
        (pixel,) m: mean elevation of both surveys, and later minus earlier elevation (negative where the surface sank);
        NaN where it was not seen.
    method
        "monotone": :func:`alpgm_dask.delta_h.monotone.fit`; "published": that behind ALPGM's functions,
        :func:`alpgm_dask.delta_h.published.fit`.
    x, y
        (pixel,) m, places of the pixels: tiles of 500 m are left out in turn to see how well they are predicted. None:
        runs of neighbours in the order given are.
    area
        m2, for the comparison with the curve of the glacier's size class; None: that is not made.
    plausible
        lowest and highest change in m that is believed; beyond are clouds and artefacts.

    Returns
    -------
    Dataset over ``normalized_elevation``: delta_h (0 to 1, 1 where the surface sinks most), delta_h_spread (its
    standard error, from the tiles that were left out), and without a dimension: pixels, pixels_used, share_covered,
    residual_spread, held_out_error, class_error, greatest_change, lowest_elevation, highest_elevation. "monotone": 201
    even nodes from top to terminus; "published": one for each elevation that was kept, from the terminus up, as ALPGM
    wrote them.

    Raises
    ------
    InputError
        if shapes differ, units are not m, the method is unknown, or the pixels make no function (all cloud, too few,
        one elevation, no thinning).

    >>> z = np.linspace(2500.0, 3500.0, 400)
    >>> one = fit(z, -30.0 * (3500.0 - z) / 1000.0)
    >>> one.delta_h.sel(normalized_elevation=[0.0, 0.5, 1.0], method="nearest").values.round(2).tolist()
    [0.0, 0.5, 1.0]
    >>> round(float(one.greatest_change), 1)
    -30.0
    """
    z, change = _numbers("surface_elevation", surface_elevation), _numbers("dh", dh)
    places = None if x is None else _numbers("x", x), None if y is None else _numbers("y", y)
    _check_shapes(z, change, *places)
    if method not in METHODS:
        raise InputError(f"method: {method!r} is unknown; allowed: {', '.join(METHODS)}")
    plausible = check_plausible(plausible)
    try:
        found = fit_pixels(Pixels(z, change, tiles(*places, z.size)), method, plausible, area)
    except UnfitError as error:
        raise InputError(f"dh: no function can be fitted ({error.reason}): {error}") from error
    return annotate(
        xr.Dataset(
            {
                "delta_h": ("normalized_elevation", found.curve.values),
                "delta_h_spread": ("normalized_elevation", found.spread),
                **{name: ((), value) for name, value in found.quality.items()},
            },
            coords={"normalized_elevation": found.curve.nodes},
            attrs={"method": method},
        )
    )


def _numbers(name: str, values: object) -> np.ndarray:
    """Values in m as floats, NaN where they are masked (InputError if they say that they have other units)."""
    units = getattr(values, "attrs", {}).get("units", "m")
    if units not in ("m", "metre", "metres", "meter", "meters"):
        raise InputError(f"{name}: units {units!r}; allowed: m")
    return np.ma.filled(np.ma.asarray(values).astype("float64"), np.nan)


def _check_shapes(z: np.ndarray, change: np.ndarray, x: np.ndarray | None, y: np.ndarray | None) -> None:
    if z.ndim != 1:
        raise InputError(f"surface_elevation: shape {z.shape}; allowed: one dimension, the glacier's pixels")
    if (x is None) != (y is None):
        raise InputError("x, y: one of both is given; allowed: both, or none")
    for name, values in (("dh", change), ("x", x), ("y", y)):
        if values is not None and values.shape != z.shape:
            raise InputError(f"{name}: shape {values.shape}; allowed: that of surface_elevation, {z.shape}")
        if name != "dh" and values is not None and not np.isfinite(values).all():
            raise InputError(
                f"{name}: not finite at {np.count_nonzero(~np.isfinite(values))} pixels; allowed: numbers, m"
            )
    if x is not None and z.size > 1 and max(np.ptp(x), np.ptp(y)) < SHORTEST:
        extent = max(np.ptp(x), np.ptp(y))
        raise InputError(
            f"x, y: the glacier is {extent:g} m long; allowed: more than {SHORTEST:g} m (are they degrees?)"
        )


def fit_pixels(pixels: Pixels, method: str, plausible: tuple[float, float], area: float | None) -> Fit:
    """Function, standard error and figures of one glacier (UnfitError where there is no function)."""
    curve = pixels.curve(method, plausible)
    believed = pixels.screened(plausible)
    without, errors = _left_out(pixels, method, plausible, believed, area)
    at = curve.at(pixels.surface_elevation)
    greatest = amplitude(at[curve.used], pixels.change[curve.used])
    quality = {
        "pixels": pixels.change.size,
        "pixels_used": int(curve.used.sum()),
        "share_covered": float(curve.used.mean()),
        "residual_spread": nmad((pixels.change - greatest * at)[curve.used]),
        **{name: _root_mean_square(values) for name, values in errors.items()},
        "greatest_change": greatest,
        "lowest_elevation": curve.elevations[0],
        "highest_elevation": curve.elevations[1],
    }
    return Fit(curve, _jackknife(curve, without), quality)


def _left_out(
    pixels: Pixels, method: str, plausible: tuple[float, float], believed: np.ndarray, area: float | None
) -> tuple[list[Curve], dict[str, np.ndarray]]:
    """Functions without each fold of tiles, and the errors (pixel,) that they and the size class make there."""
    fold = spatial_folds(pixels.tile)
    curves = []
    errors = {"held_out_error": np.full(fold.size, np.nan), "class_error": np.full(fold.size, np.nan)}
    for k in np.unique(fold):
        rest, tested = pixels.of(fold != k), (fold == k) & believed
        try:
            curve = rest.curve(method, plausible)
        except UnfitError:
            continue
        curves.append(curve)
        shapes = {"held_out_error": curve.at}
        if area is not None and np.isfinite(area):
            size_class = Curve(monotone.NODES, huss2010(monotone.NODES, [area])[0], curve.elevations, curve.used)
            shapes["class_error"] = size_class.at
        known = rest.screened(plausible)
        for name, shape in shapes.items():
            greatest = amplitude(shape(rest.surface_elevation[known]), rest.change[known])
            errors[name][tested] = pixels.change[tested] - greatest * shape(pixels.surface_elevation[tested])
    return curves, errors


def _root_mean_square(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if known.size else np.nan


def _jackknife(curve: Curve, without: list[Curve]) -> np.ndarray:
    """(node,) standard error from functions that lack a fold each; tiles, so that shared errors count (NaN: one fold).

    ``(k - 1) / k sum((d_i - mean(d))^2)`` is the variance (Efron and Stein 1981, doi:10.1214/aos/1176345462).
    """
    if len(without) < 2:
        return np.full(curve.nodes.size, np.nan)
    values = np.stack([np.interp(curve.nodes, *other.rising()) for other in without])
    return np.sqrt((len(without) - 1) * values.var(axis=0))


def amplitude(delta_h: np.ndarray, change: np.ndarray) -> float:
    """The change in m where the function is 1: least squares with Tukey's weights, one pass after the other.

    >>> amplitude(np.array([0.0, 0.5, 1.0, 1.0, 0.5]), np.array([0.0, -5.0, -10.0, -10.0, 300.0])).__round__(6)
    -10.0
    """
    found = 0.0
    # begin at the median ratio, which outliers do not move
    steep = delta_h > 0.25 * delta_h.max(initial=0.0)
    if steep.any():
        found = float(np.median(change[steep] / delta_h[steep]))
    for _ in range(10):
        residual = change - found * delta_h
        far = np.abs(residual) / (monotone.TUKEY * max(nmad(residual), 0.1))
        weights = (1.0 - far.clip(max=1.0) ** 2) ** 2
        found = float(np.dot(weights * delta_h, change) / max(np.dot(weights * delta_h, delta_h), 1e-12))
    return found
