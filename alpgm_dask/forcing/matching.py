"""Which climate point, or which row of ready-made predictors, a glacier takes."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask import schema

#: m, mean radius of the Earth (IUGG), for distances.
EARTH_RADIUS = 6_371_008.8
#: m; points whose distances differ by less stand at the same place (elevation bands of one massif).
SAME_PLACE = 1.0
#: Glacier x candidate pairs looked at in one go; bounds memory.
PAIRS = 2_000_000


def great_circle(lon1: np.ndarray, lat1: np.ndarray, lon2: np.ndarray, lat2: np.ndarray) -> np.ndarray:
    """Distance over a sphere in m (haversine), of positions in degrees; arguments broadcast.

    >>> float(great_circle(0.0, 0.0, 0.0, 1.0).round())
    111195.0
    """
    a, b = np.radians(lat1), np.radians(lat2)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(np.subtract(lon2, lon1)) / 2) ** 2
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(half, 1.0)))


def on_sphere(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """(n, 3) unit vectors of positions (n,) in degrees; chords grow with the distance, whatever the longitude."""
    a, b = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], axis=-1)


def nearest_points(
    glaciers: xr.Dataset, climate: xr.Dataset, max_distance: float = 50e3, *, where: str = "climate"
) -> xr.Dataset:
    """The climate point of each glacier.

    Candidates are the points of the glacier's own massif, by number where both have it, else by name; where the climate
    has none (or either says no massif), the nearest place. Among candidates: nearest elevation, then nearest aspect,
    then nearest distance, then first. So a SAFRAN-like climate gives massif, elevation band and aspect sector, and a
    grid gives the nearest cell. Points without aspect (flat) are for glaciers whose aspect is not known, and for those
    whose candidates have none. Positions are loaded; climate values are not.

    Parameters
    ----------
    glaciers
        (glacier): lon, lat (degree); optional massif_safran (number, 0: unknown), massif, mean_elevation (m), aspect
        (degree), rgi_id.
    climate
        (point): lon, lat; optional massif_safran, massif, elevation, aspect (missing: flat).
    max_distance
        m, great-circle distance beyond which a glacier is refused, also within its massif.

    Returns
    -------
    Dataset (glacier): point (int64), forcing_distance (m).

    Raises
    ------
    InputError
        Naming the first few glaciers that are too far, their distance and the limit; or a missing position.
    """
    chosen, distance = _match(glaciers, climate, "point", by_elevation=True, where=where)
    refuse_far(glaciers, distance, max_distance, where)
    return _matched(glaciers, "point", chosen, distance)


def match_predictors(
    glaciers: xr.Dataset, predictors: xr.Dataset, max_distance: float = 20e3, *, where: str = "predictors"
) -> xr.Dataset:
    """The row of ready-made predictors of each glacier: its own by rgi_id, else a neighbour's.

    The neighbour is the nearest row of the same massif; the nearest of any massif, where its own has none within the
    limit.

    Parameters
    ----------
    glaciers
        (glacier): rgi_id, lon, lat (degree); optional massif.
    predictors
        (glacier): rgi_id, lon, lat; optional massif.
    max_distance
        m, great-circle distance beyond which a neighbour's row is refused.

    Returns
    -------
    Dataset (glacier): row (int64, position along the glacier dimension of `predictors`), own_row (bool),
    forcing_distance (m, 0 for its own row).

    Raises
    ------
    InputError
        Naming the first few glaciers without a row, their distance and the limit; duplicate rgi_id in `predictors`.
    """
    own_ids, row_ids = _strings(glaciers, "rgi_id"), _strings(predictors, "rgi_id")
    if own_ids is None or row_ids is None:
        raise schema.InputError(f"{where}: variable 'rgi_id' is missing in the glaciers or the predictors")
    ids, first, count = np.unique(row_ids, return_index=True, return_counts=True)
    if (count > 1).any():
        raise schema.InputError(
            f"{where}: variable 'rgi_id' has '{ids[count > 1][0]}' twice; allowed: one row per glacier"
        )
    place = np.minimum(np.searchsorted(ids, own_ids), len(ids) - 1)
    own = ids[place] == own_ids
    row, distance = first[place].astype("int64"), np.zeros(own.size)
    if not own.all():
        others = glaciers.isel(glacier=np.flatnonzero(~own))
        chosen, gap = _match(others, predictors, "glacier", by_elevation=False, where=where)
        far = gap > max_distance
        if far.any():
            anywhere = others.isel(glacier=np.flatnonzero(far)).drop_vars(["massif", "massif_safran"], errors="ignore")
            chosen[far], gap[far] = _match(anywhere, predictors, "glacier", by_elevation=False, where=where)
        row[~own], distance[~own] = chosen, gap
        refuse_far(glaciers, distance, max_distance, where)
    return _matched(glaciers, "row", row, distance).assign(own_row=("glacier", own))


def _matched(glaciers: xr.Dataset, name: str, chosen: np.ndarray, distance: np.ndarray) -> xr.Dataset:
    out = xr.Dataset({name: ("glacier", chosen), "forcing_distance": ("glacier", distance)})
    return schema.annotate(out.assign_coords({n: c for n, c in glaciers.coords.items() if c.dims == ("glacier",)}))


def _match(
    glaciers: xr.Dataset, places: xr.Dataset, dim: str, *, by_elevation: bool, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Chosen place of each glacier and its distance in m, some glaciers at a time."""
    n, step = glaciers.sizes["glacier"], max(1, PAIRS // max(1, places.sizes[dim]))
    if places.sizes[dim] == 0:
        raise schema.InputError(f"{where}: dimension '{dim}' is empty; allowed: at least one")
    here, there = attributes(glaciers, "glaciers"), attributes(places, where)
    chosen, distance = np.zeros(n, dtype="int64"), np.zeros(n)
    for start in range(0, n, step):
        part = slice(start, start + step)
        some = {key: value if value is None else value[part] for key, value in here.items()}
        chosen[part], distance[part] = _match_some(some, there, by_elevation)
    return chosen, distance


def _match_some(here: dict, there: dict, by_elevation: bool) -> tuple[np.ndarray, np.ndarray]:
    distance = great_circle(here["lon"][:, None], here["lat"][:, None], there["lon"], there["lat"])
    candidate = _same_massif(here, there, distance.shape)
    nearest = distance.min(axis=1, keepdims=True)
    everywhere = distance <= (nearest + SAME_PLACE)
    candidate = np.where(candidate.any(axis=1, keepdims=True), candidate, everywhere)
    if by_elevation:
        candidate = _closest(here["elevation"], there["elevation"], candidate, None)
        candidate = _closest(here["aspect"], there["aspect"], candidate, 360.0)
        candidate = _flat_where_unknown(here["aspect"], there["aspect"], candidate)
    ranked = np.where(candidate, distance, np.inf)
    chosen = ranked.argmin(axis=1)
    return chosen, ranked[np.arange(len(chosen)), chosen]


def _same_massif(here: dict, there: dict, shape: tuple[int, int]) -> np.ndarray:
    """Pairs of one massif: of one number, or of one name where a number is missing or in no point."""
    same = np.zeros(shape, dtype=bool)
    for key, unknown in (("massif_safran", 0), ("massif", "")):
        if here[key] is not None and there[key] is not None:
            pairs = (here[key][:, None] == there[key]) & (here[key][:, None] != unknown)
            same = np.where(same.any(axis=1, keepdims=True), same, pairs)
    return same


def _flat_where_unknown(here: np.ndarray | None, there: np.ndarray | None, candidate: np.ndarray) -> np.ndarray:
    """Of glaciers without aspect, only candidates without aspect stay, if there are some."""
    if there is None:
        return candidate
    unknown = np.ones(candidate.shape[0], dtype=bool) if here is None else ~np.isfinite(here)
    flat = candidate & ~np.isfinite(there)
    return np.where(unknown[:, None] & flat.any(axis=1, keepdims=True), flat, candidate)


def _closest(
    here: np.ndarray | None, there: np.ndarray | None, candidate: np.ndarray, period: float | None
) -> np.ndarray:
    """Candidates that remain when only the closest in one attribute stay; unknown attributes decide nothing."""
    if here is None or there is None:
        return candidate
    gap = np.abs(here[:, None] - there)
    if period:
        gap = np.minimum(gap % period, period - gap % period)
    gap = np.where(candidate & np.isfinite(gap), gap, np.inf)
    best = gap.min(axis=1, keepdims=True)
    return np.where(np.isfinite(best), candidate & (gap == best), candidate)


def attributes(ds: xr.Dataset, where: str) -> dict[str, np.ndarray | None]:
    """Position and what else places are told apart by, as arrays; None where a dataset does not say (InputError)."""
    out: dict[str, np.ndarray | None] = {}
    for name in ("lon", "lat"):
        if name not in ds:
            raise schema.InputError(f"{where}: variable '{name}' is missing; needed to find the nearest place")
        out[name] = ds[name].values.astype("float64")
        bad = np.flatnonzero(~np.isfinite(out[name]))
        if bad.size:
            raise schema.InputError(f"{where}: variable '{name}' is missing at position {bad[0]}; allowed: degrees")
    height = "mean_elevation" if "mean_elevation" in ds else "elevation"
    for key, name in (("elevation", height), ("aspect", "aspect")):
        out[key] = ds[name].values.astype("float64") if name in ds else None
    out["massif"] = _strings(ds, "massif")
    out["massif_safran"] = ds["massif_safran"].values if "massif_safran" in ds else None
    return out


def _strings(ds: xr.Dataset, name: str) -> np.ndarray | None:
    return schema.texts(ds[name]) if name in ds else None


def refuse_far(glaciers: xr.Dataset, distance: np.ndarray, limit: float, where: str) -> None:
    """Refuse glaciers (``glacier``) farther than the limit in m from their climate, naming them (InputError)."""
    far = np.flatnonzero(~(distance <= limit))
    if not far.size:
        return
    ids = _strings(glaciers, "rgi_id")
    names = [f"{ids[i] if ids is not None else i} ({distance[i] / 1000:.1f} km)" for i in far[:5]]
    more = f" and {far.size - 5} more" if far.size > 5 else ""
    raise schema.InputError(
        f"{where}: no climate within max_distance = {limit / 1000:g} km of glacier {', '.join(names)}{more}; "
        "allowed: nearer climate, or a larger max_distance"
    )
