"""Glacier inventories: reading tables of mixed encodings, outlines and massifs, and matching rows to glaciers."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from alpgm_dask.convert.cleaning import reproject
from alpgm_dask.schema import InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: A row without a usable identifier or name goes to the nearest outline within this distance, in m.
NEAREST_WITHIN = 500.0

#: A row whose name is that of an outline of its massif must lie within this distance of it, in m.
NAME_WITHIN = 5000.0

#: EPSG code of the plane in which distances are measured (UTM 32N holds the French Alps).
PLANE = 32632

_ARTICLES = {"de", "du", "des", "d", "la", "le", "les", "l", "glacier", "n"}


def read_table(path: Path) -> tuple[pd.DataFrame, str]:
    """A ``;`` table as UTF-8 where it is, else as latin-1; and which of the two it was.

    Raises
    ------
    InputError
        if there is no such file.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file; it belongs to an ALPGM checkout")
    encoding = "utf-8"
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        encoding = "latin-1"
    return pd.read_csv(path, sep=";", encoding=encoding), encoding


def plain_name(name: str) -> tuple[str, str]:
    """A name without accents, articles and punctuation, and the number of the part.

    >>> plain_name("de la Pilatte"), plain_name("du Prazon_2"), plain_name("Vallée de l'Isère 1")
    (('pilatte', ''), ('prazon', '2'), ('vallee isere', '1'))
    """
    bare = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode().lower()
    words = [word for word in re.split(r"[^a-z0-9]+", bare) if word]
    numbers = [word for word in words if word.isdigit()]
    return " ".join(word for word in words if not word.isdigit() and word not in _ARTICLES), "".join(numbers)


def degrees(text: str) -> float:
    """Degrees from degrees, minutes and seconds with a decimal comma, whatever the degree sign became.

    >>> round(degrees("6? 11' 2,991\\" E"), 6)
    6.184164
    """
    parts = [float(number.replace(",", ".")) for number in re.findall(r"\d+(?:,\d+)?", str(text))]
    return sum(part / 60**power for power, part in enumerate(parts))


def repair_1967(table: pd.DataFrame) -> pd.DataFrame:
    """The 1967-71 survey in the columns of the later inventories.

    Its text is latin-1 that was once read as code page 850, its coordinates are degrees, minutes and seconds under
    exchanged headings, its areas m2 instead of km2.
    """
    names = [str(name).encode("cp850", "ignore").decode("latin-1") for name in table["Nom"]]
    # the column headed Latitude holds the easting and the other way round: the letter E or N decides
    first, second = (table[column].astype(str) for column in ("Latitude", "Longitude"))
    swapped = first.str.contains("E")
    return pd.DataFrame(
        {
            "glims_id": table["GLIMS_ID"].fillna("").astype(str),
            "name": [re.sub(r"^Glacier\s+", "", name) for name in names],
            "area": table["Surface"].astype(float),
            "massif": table["Massif"].astype(str),
            "mean_elevation": table["MOY"].astype(float),
            "max_elevation": table["MAX"].astype(float),
            "lon": np.where(swapped, first, second),
            "lat": np.where(swapped, second, first),
            "massif_safran": 0,
            "inventory_year": 1967,
        }
    ).assign(lon=lambda t: t["lon"].map(degrees), lat=lambda t: t["lat"].map(degrees))


def rows_of(table: pd.DataFrame, year: int) -> pd.DataFrame:
    """An inventory's rows under the project's names; area in m2.

    Parameters
    ----------
    table
        with ALPGM's columns (Area in km2, MEAN_Pixel, MAX_Pixel, x_coord, y_coord, GLIMS_ID, Glacier).
    year
        the inventory's year.
    """
    nothing = pd.Series(0, index=table.index)
    return pd.DataFrame(
        {
            "glims_id": table["GLIMS_ID"].astype(str),
            "name": table["Glacier"].astype(str).str.strip(),
            "area": table["Area"].astype(float) * 1e6,
            "massif": table["Massif"].astype(str),
            "mean_elevation": table["MEAN_Pixel"].astype(float),
            "max_elevation": table["MAX_Pixel"].astype(float),
            "lon": table["x_coord"].astype(float),
            "lat": table["y_coord"].astype(float),
            "massif_safran": table.get("Massif_SAFRAN", nothing).fillna(0).astype(int),
            "aspect": table.get("Aspect_num", nothing * np.nan).astype(float),
            "sector": table["Aspect"].astype(str),
            "inventory_year": year,
        }
    )


def read_outlines(whole: Path, by_massif: Path) -> tuple[gpd.GeoDataFrame, dict[str, object]]:
    """French outlines, one row for each glacier with an RGI number and each fragment without one.

    Parameters
    ----------
    whole
        whole outlines with GLIMS id, RGI number (ID, 0 for none), name, area.
    by_massif
        the same outlines cut at the borders of the SAFRAN massifs.

    Returns
    -------
    outlines
        glims_id, name, number, area (m2), massif, massif_safran, inventory_year, geometry (in :data:`PLANE`).
    met
        counts of what was met: repeated and missing numbers, repeated GLIMS ids, invalid geometries, glaciers of
        several massifs, area that lies outside every massif.

    Notes
    -----
    The pieces of a glacier are dissolved. Its massif is the one with the largest part of its area. The outline
    is the whole one: the pieces end at the border of the SAFRAN massifs, which some glaciers cross.
    """
    import geopandas as gpd

    full, pieces = (gpd.read_file(path).to_crs(PLANE) for path in (whole, by_massif))
    invalid = int((~full.is_valid).sum() + (~pieces.is_valid).sum())
    full["geometry"], pieces["geometry"] = full.make_valid(), pieces.make_valid()
    # a numbered glacier is one row even if its outline comes in several features; fragments stay apart
    for frame in (full, pieces):
        fragment = frame["GLIMS_ID"] + " " + frame["Glacier"].str.strip() + " " + frame["Area"].round(4).astype(str)
        frame["group"] = np.where(frame["ID"] > 0, "RGI " + frame["ID"].astype(str), fragment)
    pieces["part"] = pieces.area
    largest = pieces.sort_values("part", ascending=False).drop_duplicates("group")
    joined = full.join(largest.set_index("group")[["massif_SAF"]], on="group")
    order = joined.sort_values("Area", ascending=False)
    out = order.dissolve("group", aggfunc="first", sort=False).reset_index(drop=True)
    numbered, glims = pieces.loc[pieces["ID"] > 0, "ID"], full["GLIMS_ID"]
    met = {
        "features": len(pieces),
        "numbers": int(pieces["ID"].nunique()),
        "without number": int((pieces["ID"] == 0).sum()),
        "repeated number": int(numbered.duplicated().sum()),
        "several massifs": numbered[numbered.duplicated()].drop_duplicates().tolist(),
        "repeated glims": int(glims.duplicated().sum()),
        "shared glims": sorted(glims[glims.duplicated()].unique()),
        "invalid": invalid,
        "dissolved": len(full) - len(out),
        "outside massifs (km2)": float(full.area.sum() - pieces.area.sum()) / 1e6,
        "no massif": int(out["massif_SAF"].isna().sum()),
    }
    columns = {"GLIMS_ID": "glims_id", "Glacier": "name", "ID": "number", "Annee": "inventory_year"}
    out = out.rename(columns=columns)
    out["name"] = out["name"].str.strip()
    out["massif"] = out["Massif"].fillna("")
    out["massif_safran"] = out["massif_SAF"].fillna(0).astype(int)
    out["area"] = out["Area"].astype(float) * 1e6
    kept = ["glims_id", "name", "number", "area", "massif", "massif_safran", "inventory_year", "geometry"]
    return out[kept].astype({"number": int, "inventory_year": int}), met


def assign_flowlines(
    outlines: gpd.GeoDataFrame, flowlines: gpd.GeoDataFrame
) -> tuple[list[shapely.Geometry | None], Counter]:
    """One flowline for each outline: that of its GLIMS id which runs furthest inside it.

    A GLIMS id that several outlines share has several lines; where they lie decides. A line that no outline
    takes is counted, as is an outline that gets none.
    """
    lines = flowlines.to_crs(PLANE)
    by_id = {str(key): group.geometry.tolist() for key, group in lines.groupby("GLIMS_ID")}
    counts: Counter = Counter({"by GLIMS id": 0, "by location": 0, "without": 0})
    out: list[shapely.Geometry | None] = []
    for glims_id, outline in zip(outlines["glims_id"], outlines.geometry, strict=True):
        candidates = by_id.get(glims_id, [])
        inside = [line.intersection(outline).length for line in candidates]
        if not candidates or max(inside) == 0:
            counts["without"] += 1
            out.append(None)
            continue
        counts["by GLIMS id" if len(candidates) == 1 else "by location"] += 1
        out.append(candidates[int(np.argmax(inside))])
    counts["unused"] = len(lines) - len({id(line) for line in out if line is not None})
    return out, counts


class Matcher:
    """Rows of an inventory -> outlines of 2003, in a stated order of trust.

    1. rows of 2003 only: the same area, with the same name or else the same GLIMS id
    2. the same GLIMS id within :data:`NEAREST_WITHIN`: the one of the same name, else the nearest. (Further away the
       id is a wrong one: some rows carry the id of another glacier, and one of another name beside one of the
       row's own name loses to it.)
    3. the same name in the same SAFRAN massif, within :data:`NAME_WITHIN`
    4. the nearest outline in the same SAFRAN massif, within :data:`NEAREST_WITHIN`

    A row without a massif (1967, 1985) is held against all outlines.
    """

    def __init__(self, outlines: gpd.GeoDataFrame) -> None:
        self.outlines = outlines.reset_index(drop=True)
        self._names = [plain_name(name) for name in self.outlines["name"]]
        self._geometry = np.asarray(self.outlines.geometry.values)
        self._area = self.outlines["area"].to_numpy()
        self._massif = self.outlines["massif_safran"].to_numpy()
        self._ids = self.outlines["glims_id"].tolist()
        self._by_id = self.outlines.groupby("glims_id").indices

    def match(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`rows` with two more columns: ``outline`` (position, -1 for none) and ``matched_by``."""
        points = [reproject(shapely.Point(x, y), 4326, PLANE) for x, y in zip(rows["lon"], rows["lat"], strict=True)]
        found = [self._one(row, point) for row, point in zip(rows.itertuples(), points, strict=True)]
        return rows.assign(outline=[position for position, _ in found], matched_by=[how for _, how in found])

    def _one(self, row: object, point: shapely.Point) -> tuple[int, str]:
        name = plain_name(row.name)
        distance = shapely.distance(self._geometry, point)
        if row.inventory_year == 2003:
            equal = np.flatnonzero(np.isclose(self._area, row.area, rtol=1e-3) & (distance <= NAME_WITHIN))
            for how, fits in (
                ("name and area", [i for i in equal if self._names[i] == name]),
                ("GLIMS id and area", [i for i in equal if self._ids[i] == row.glims_id]),
            ):
                if len(fits) == 1:
                    return int(fits[0]), how
        same = self._by_id.get(row.glims_id, np.empty(0, int))
        near = same[distance[same] <= NEAREST_WITHIN]
        named = [i for i in near if self._names[i] == name]
        if len(named) == 1:
            return int(named[0]), "GLIMS id and name"
        elsewhere = [i for i in np.flatnonzero(distance <= NEAREST_WITHIN) if self._names[i] == name and name[0]]
        if len(elsewhere) == 1:
            return int(elsewhere[0]), "name"
        if near.size:
            nearest = int(near[np.argmin(distance[near])])
            return nearest, "GLIMS id" if same.size == 1 else "GLIMS id, nearest of several"
        return self._elsewhere(row, name, distance)

    def _elsewhere(self, row: object, name: tuple[str, str], distance: np.ndarray) -> tuple[int, str]:
        here = np.flatnonzero((self._massif == row.massif_safran) | (row.massif_safran == 0))
        named = [i for i in here if self._names[i] == name and distance[i] <= NAME_WITHIN and name[0]]
        if len(named) == 1:
            return int(named[0]), "name"
        if here.size and distance[here].min() <= NEAREST_WITHIN:
            return int(here[np.argmin(distance[here])]), "nearest"
        return -1, "none"
