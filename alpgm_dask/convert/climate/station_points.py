"""What the points of SAFRAN and ADAMONT stand for: massif, elevation, aspect, slope, position."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate.archive import joint_fingerprint
from alpgm_dask.convert.climate.station_files import StationFile, describe, open_metadata, point_dim_of, variable_named
from alpgm_dask.schema import InputError

_ALPS = (
    *("Chablais", "Aravis", "Mont-Blanc", "Bauges", "Beaufortain", "Haute-Tarentaise", "Chartreuse", "Belledonne"),
    *("Maurienne", "Vanoise", "Haute-Maurienne", "Grandes-Rousses", "Thabor", "Vercors", "Oisans", "Pelvoux"),
    *("Queyras", "Devoluy", "Champsaur", "Embrunais-Parpaillon", "Ubaye", "Haut-Var-Haut-Verdon", "Mercantour"),
)
_PYRENEES = (
    *("Pays-Basque", "Aspe-Ossau", "Haute-Bigorre", "Aure-Louron", "Luchonnais", "Couserans", "Haute-Ariege"),
    *("Andorre", "Orlu-Saint-Barthelemy", "Capcir-Puymorens", "Cerdagne-Canigou"),
)

#: Number and name of the SAFRAN massifs of the French Alps, Corsica and the northern Pyrenees (Vernay et al. 2022,
#: doi:10.5194/essd-14-1707-2022). Others need `massif_names`, or are called by their number.
SAFRAN_MASSIFS: dict[int, str] = {
    **dict(enumerate(_ALPS, start=1)),
    40: "Cinto-Rotondo",
    41: "Renoso-Incudine",
    **dict(enumerate(_PYRENEES, start=64)),
}

#: Names that archives use; upper and lower case are the same.
_NUMBER, _LON, _LAT, _HEIGHT = ("massif_number", "massif"), ("LON", "longitude"), ("LAT", "latitude"), ("ZS",)

#: How far values of one point may lie apart between two files: m for elevation, degree for the rest.
_TOLERANCE = {"massif_safran": 0.0, "elevation": 0.5, "aspect": 0.5, "slope": 0.5, "lon": 1e-3, "lat": 1e-3}

_LISTED = re.compile(r"([^,;|\d]+?)\s*,\s*(\d+)\s*,\s*(-?\d+(?:\.\d*)?)\s*,\s*(-?\d+(?:\.\d*)?)")


Positions = Mapping[int, tuple[float, float]]


def open_source(
    path: Path,
    words: Mapping[str, tuple[str, ...]],
    massif_names: Mapping[int, str] | None = None,
    massif_positions: Positions | None = None,
) -> StationFile:
    """What a file says of itself and of its points; parameters and refusals of :func:`read_points` and `describe`."""
    with open_metadata(path) as ds:
        variable, time = variable_named(ds, next(iter(words.values()))), variable_named(ds, ("time",))
        points = xr.Dataset()
        if variable and time and ds[time].ndim == 1:
            dim = point_dim_of(ds, path, variable, str(ds[time].dims[0]))
            points = read_points(ds, path, dim, massif_names=massif_names, massif_positions=massif_positions)
        return describe(ds, path, words, points)


def listed_massifs(text: str) -> dict[int, tuple[str, float, float]]:
    """Number -> name, latitude, longitude of the massifs in the global attribute ``massifsList``.

    >>> listed_massifs(" Mont-Blanc , 3 ,45.89794,6.82392  ")
    {3: ('Mont-Blanc', 45.89794, 6.82392)}
    """
    return {int(n): (name.strip(), float(lat), float(lon)) for name, n, lat, lon in _LISTED.findall(text)}


def read_points(
    ds: xr.Dataset,
    path: Path,
    dim: str,
    *,
    massif_names: Mapping[int, str] | None = None,
    massif_positions: Positions | None = None,
) -> xr.Dataset:
    """The points of a file.

    Parameters
    ----------
    ds
        the file: ZS; massif_number, or the attribute massifsList; aspect (degree, negative: flat), slope, LAT, LON.
    path
        for messages.
    dim
        dimension of its points.
    massif_names
        number -> name, before :data:`SAFRAN_MASSIFS` and before what massifsList says.
    massif_positions
        number -> longitude and latitude (degree) of a massif, for points without a position of their own.

    Returns
    -------
    Dataset (``point``): elevation (m), lon, lat (degree), massif (text, empty where unknown), massif_safran (0 where
    unknown), aspect (degree clockwise from north; missing where flat), slope (degree; missing where not given).

    Raises
    ------
    InputError
        for a point without elevation or position, and points of several massifs where nothing says which is whose.
    """
    listed = listed_massifs(str(ds.attrs.get("massifsList", "")))
    height = _values(ds, path, dim, _HEIGHT)
    if height is None:
        raise InputError(f"{path}: variable 'ZS' is missing; allowed: the elevation (m) of every point")
    lon, lat = (_values(ds, path, dim, names) for names in (_LON, _LAT))
    lon, lat = _known_positions(lon, lat, height.size)
    number = _numbers(ds, path, dim, listed, lon, lat)
    centres = {n: (lon_, lat_) for n, (_, lat_, lon_) in listed.items()} | dict(massif_positions or {})
    lon, lat = _positions(lon, lat, number, centres, path)
    names = {n: name for n, (name, _, _) in listed.items()} | SAFRAN_MASSIFS | dict(massif_names or {}) | {0: ""}
    aspect, slope = (_values(ds, path, dim, (name,)) for name in ("aspect", "slope"))
    missing = np.full(height.size, np.nan)
    return xr.Dataset(
        {
            "elevation": ("point", height, {"units": "m"}),
            "lon": ("point", lon),
            "lat": ("point", lat),
            "massif": ("point", np.array([names.get(n, f"massif {n}") for n in number.tolist()], dtype=object)),
            "massif_safran": ("point", number),
            "aspect": ("point", missing if aspect is None else np.where(aspect < 0, np.nan, aspect % 360.0)),
            "slope": ("point", missing if slope is None else slope),
        }
    )


def _values(ds: xr.Dataset, path: Path, dim: str, names: tuple[str, ...]) -> np.ndarray | None:
    """(point,) float64, or None where the file has no such variable; one number counts for every point."""
    name = variable_named(ds, names)
    if name is None or ds[name].dtype.kind not in "fiu":
        return None
    if ds[name].dims not in ((), (dim,)):
        raise InputError(f"{path}: variable '{name}' has dimensions {ds[name].dims}; allowed: ({dim!r},)")
    return np.broadcast_to(ds[name].values.astype("float64"), (ds.sizes[dim],)).copy()


def _known_positions(lon: np.ndarray | None, lat: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the file; 0, 0, which S2M files have for none, is missing."""
    if lon is None or lat is None:
        return np.full(n, np.nan), np.full(n, np.nan)
    none = ~(np.isfinite(lon) & np.isfinite(lat)) | ((lon == 0) & (lat == 0))
    return np.where(none, np.nan, lon), np.where(none, np.nan, lat)


def _numbers(ds: xr.Dataset, path: Path, dim: str, listed: dict, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """(point,) SAFRAN massif of every point: as given, or the only one listed, or the listed one at its position."""
    given = _values(ds, path, dim, _NUMBER)
    if given is not None:
        return np.where(given > 0, given, 0).astype("int64")
    if len(listed) == 1:
        return np.full(lon.size, next(iter(listed)), dtype="int64")
    number = np.zeros(lon.size, dtype="int64")
    for n, (_, its_lat, its_lon) in listed.items():
        number[(np.abs(lat - its_lat) < 1e-3) & (np.abs(lon - its_lon) < 1e-3)] = n
    if listed and not number.all():
        raise InputError(
            f"{path}: variable 'massif_number' is missing and massifsList has {len(listed)} massifs, none of them at "
            f"point {int(np.flatnonzero(number == 0)[0])}; allowed: massif_number, or LAT and LON of the massifs"
        )
    return number


def _positions(
    lon: np.ndarray, lat: np.ndarray, number: np.ndarray, centres: Positions, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = lon.copy(), lat.copy()
    for point in np.flatnonzero(~np.isfinite(lon)):
        if int(number[point]) not in centres:
            raise InputError(
                f"{path}: variables 'LON', 'LAT' are missing or 0 at point {point} (massif {number[point]}); allowed: "
                "a position of the point, of its massif in the attribute massifsList, or in "
                "massif_positions (--massif-positions)"
            )
        lon[point], lat[point] = centres[int(number[point])]
    return lon, lat


def points_fingerprint(points: xr.Dataset) -> str:
    """Hash of what the points stand for: what files do not say, options do (names and positions of massifs)."""
    told = {name: array.values.tolist() for name, array in sorted(points.data_vars.items())}
    return joint_fingerprint(map(repr, told.items()))


def read_positions(path: str | Path) -> dict[int, tuple[float, float]]:
    """SAFRAN number -> longitude, latitude (degree) from a CSV file with the columns number, lon, lat.

    Raises
    ------
    InputError
        naming the file and the line: a column that is missing, a number that is none or there twice, a longitude not in
        -180..360, a latitude not in -90..90.
    """
    try:
        table = list(csv.DictReader(Path(path).read_text(encoding="utf-8-sig").splitlines(), skipinitialspace=True))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); allowed: a CSV file with columns number, lon, lat"
        ) from error
    out: dict[int, tuple[float, float]] = {}
    for line, row in enumerate(table, start=2):
        try:
            number, lon, lat = int(row["number"]), float(row["lon"]), float(row["lat"])
        except (KeyError, TypeError, ValueError) as error:
            given = ", ".join(f"{key}: {value}" for key, value in row.items())
            raise InputError(
                f"{path}: line {line} is {{{given}}}; allowed: number, lon, lat in columns so named"
            ) from error
        if number in out or not (-180 <= lon <= 360 and -90 <= lat <= 90):
            raise InputError(
                f"{path}: line {line}: massif {number} at lon {lon}, lat {lat}; allowed: every massif once, longitudes "
                "of -180 to 360, latitudes of -90 to 90 degrees"
            )
        out[number] = (lon, lat)
    if not out:
        raise InputError(f"{path}: has no line of a massif; allowed: one or more, below the columns number, lon, lat")
    return out


def refuse_other_points(points: xr.Dataset, path: str, first: xr.Dataset, first_path: str) -> None:
    """Refuse a file whose points are not those of the first file, in the same order (InputError)."""
    if points.sizes["point"] != first.sizes["point"]:
        raise InputError(
            f"{path}: has {points.sizes['point']} points, {first_path} has {first.sizes['point']}; allowed: the same"
        )
    for name, tolerance in _TOLERANCE.items():
        here, there = (ds[name].values.astype("float64") for ds in (points, first))
        differ = np.flatnonzero(~np.isclose(here, there, rtol=0.0, atol=tolerance, equal_nan=True))
        if differ.size:
            at = int(differ[0])
            raise InputError(
                f"{path}: variable '{name}' is {here[at]:g} at point {at}, in {first_path} it is {there[at]:g} "
                f"({differ.size} such points); allowed: the same points in the same order"
            )
