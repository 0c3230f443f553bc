"""ALPGM's small tables: observed SMB with its topography, delta-h functions, areas of the four inventories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask.convert.inventory import Matcher, read_table, rows_of
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.delta_h import NODES
from alpgm_dask.schema import InputError, annotate

#: Years that the four French inventories stand for.
INVENTORY_YEARS = (1967, 1985, 2003, 2015)

#: The 16 sectors of the inventories' aspect, clockwise from north.
_SECTORS = (
    *("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE"),
    *("S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"),
)

#: First and last hydrological year of the observed SMB.
SMB_YEARS = (1959, 2015)


def _texts(values: object) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=object)


def smb_observations(data: Path, matcher: Matcher, report: ConversionReport) -> xr.Dataset:
    """Observed SMB of 32 glaciers (glacier, hydro_year) and their topography, as ALPGM's training had it.

    Mean elevation and area are linear between the inventories of 1967, 1985, 2003 and 2015, and constant before
    1967. The maps of 1967 are those of ALPGM's ``GLIMS_1967.csv``, which repeats the inventory of 1985 in all but a
    few cells. (The published training matrix reaches the maps of 1985 and 2003 one or two years early and leaves that
    of 1967 in 1959: below 5 m of elevation, except at four glaciers whose tables were edited since.)
    tongue_slope is the column ``slope20``, which is what the published models were trained on.

    Raises
    ------
    InputError
        if the tables do not have the same glaciers in the same order, or a glacier is not known.
    """
    glims = data / "GLIMS"
    now, then = (read_table(glims / f"GLIMS_Rabatel_30_{year}.csv")[0] for year in (2015, 2003))
    smb = pd.read_csv(data / "smb" / "SMB_raw_temporal.csv", sep=";", header=None)
    years = np.arange(SMB_YEARS[0], SMB_YEARS[1] + 1)
    if smb.shape != (len(now), years.size):
        raise InputError(f"SMB_raw_temporal.csv: has the shape {smb.shape}, allowed: {(len(now), years.size)}")
    if not now["GLIMS_ID"].equals(then["GLIMS_ID"]):
        raise InputError(
            "GLIMS_Rabatel_30_2003.csv: GLIMS_ID differs from GLIMS_Rabatel_30_2015.csv; same order needed"
        )
    early = {year: read_table(glims / f"GLIMS_{year}.csv")[0].drop_duplicates("GLIMS_ID") for year in (1967, 1985)}
    maps = [*(table.set_index("GLIMS_ID").reindex(now["GLIMS_ID"]) for table in early.values()), then, now]

    def between(column: str) -> np.ndarray:
        values = np.stack([table[column].to_numpy(float) for table in maps])
        return np.stack([np.interp(years, INVENTORY_YEARS, values[:, g]) for g in range(len(now))])

    rows = matcher.match(rows_of(then, 2003))
    if unknown := rows.loc[rows["outline"] < 0, "name"].tolist():
        raise InputError(
            f"GLIMS_Rabatel_30_2003.csv: no outline for {unknown}; allowed: glaciers of the 2003 inventory"
        )
    _report_topography(report, now, then, rows, matcher)
    known = matcher.outlines.iloc[rows["outline"]]
    ds = xr.Dataset(
        {
            "smb": (("glacier", "hydro_year"), smb.to_numpy(float)),
            "mean_elevation": (("glacier", "hydro_year"), between("MEAN_Pixel")),
            "area": (("glacier", "hydro_year"), between("Area") * 1e6),
            "max_elevation": ("glacier", now["MAX_Pixel"].to_numpy(float)),
            "tongue_slope": ("glacier", now["slope20"].to_numpy(float)),
            "aspect": ("glacier", now["Aspect_num"].to_numpy(float)),
            "massif": ("glacier", _texts(known["massif"])),
        },
        coords={
            "hydro_year": years,
            "rgi_id": ("glacier", _texts(known["rgi_id"])),
            "glims_id": ("glacier", _texts(now["GLIMS_ID"])),
            "name": ("glacier", _texts(now["Glacier"].str.strip())),
            "lon": ("glacier", now["x_coord"].to_numpy(float)),
            "lat": ("glacier", now["y_coord"].to_numpy(float)),
        },
    )
    report.totals["observed SMB (glacier-years)"] = int(np.isfinite(smb.to_numpy(float)).sum())
    return annotate(ds)


def _report_topography(
    report: ConversionReport, now: pd.DataFrame, then: pd.DataFrame, rows: pd.DataFrame, matcher: Matcher
) -> None:
    sectors = {name: i for i, name in enumerate(_SECTORS)}
    # the letters name 16 sectors, the numbers 8: in between, the number is that of the neighbour N, E, S or W
    rounded = {name: (round(i / 4) * 4 if i % 2 else i) * 22.5 % 360 for name, i in sectors.items()}
    wrong = then["Aspect"].map(rounded) != then["Aspect_num"]
    report.add(
        "SMB glaciers: aspect number is not that of the letters of 2003",
        int(wrong.sum()),
        "the number, as in the published training",
        then["Glacier"].str.strip().add(" " + then["Aspect"]).add(" " + then["Aspect_num"].astype(str))[wrong],
    )
    differs = now["slope20"] != now["slope20_evo"]
    report.add(
        "SMB glaciers: slope20 and slope20_evo differ",
        int(differs.sum()),
        "slope20, as in the published training",
    )
    other = matcher.outlines.iloc[rows["outline"]]["glims_id"].to_numpy() != now["GLIMS_ID"].to_numpy()
    report.add(
        "SMB glaciers whose GLIMS id is another glacier's in the outlines",
        int(other.sum()),
        "matched by name and area",
        rows.loc[other, "name"],
    )


def delta_h_functions(data: Path, ids_of: Mapping[str, list[str]], report: ConversionReport) -> xr.Dataset:
    """ALPGM's published delta-h functions (glacier, normalized_elevation), linear between the nodes as published.

    A function belongs to a GLIMS id. Where several RGI glaciers carry that id each of them gets the function, as in
    ALPGM; ``glims_id`` says so.

    Raises
    ------
    InputError
        if a function has no partner file, or its nodes do not fall from 1 to 0.
    """
    functions, unknown, shared = [], [], []
    for nodes_file in sorted((data / "delta_h_param").glob("*_DEM.csv")):
        glims_id = nodes_file.name.removesuffix("_DEM.csv")
        values_file = nodes_file.with_name(f"{glims_id}_dh.csv")
        if not values_file.exists():
            raise InputError(f"{nodes_file}: variable 'delta_h' is missing; allowed: beside it {values_file.name}")
        nodes, values = (np.loadtxt(path, ndmin=1) for path in (nodes_file, values_file))
        falling = nodes.shape == values.shape and (np.diff(nodes) < 0).all()
        if not falling or not np.isfinite([nodes, values]).all() or np.ptp([*nodes, 0, 1]) > 1:
            raise InputError(f"{values_file}: variable 'delta_h' has {values.shape} values on {nodes.shape} nodes")
        owners = ids_of.get(glims_id, [])
        unknown += [] if owners else [glims_id]
        shared += [f"{glims_id} ({len(owners)})"] if len(owners) > 1 else []
        functions += [(rgi_id, glims_id, nodes, values) for rgi_id in owners]
    functions.sort(key=lambda function: function[0])
    report.totals["delta-h functions (glaciers)"] = len(functions)
    report.add("delta-h functions of a GLIMS id that no glacier has", len(unknown), "left out", unknown)
    report.add("delta-h functions of a GLIMS id of several glaciers", len(shared), "each gets it, as in ALPGM", shared)
    table = [np.interp(NODES, nodes[::-1], values[::-1]) for _, _, nodes, values in functions]
    ds = xr.Dataset(
        {"delta_h": (("glacier", "normalized_elevation"), np.reshape(table, (len(functions), NODES.size)))},
        coords={
            "normalized_elevation": NODES,
            "rgi_id": ("glacier", _texts(f[0] for f in functions)),
            "glims_id": ("glacier", _texts(f[1] for f in functions)),
        },
    )
    return annotate(ds)


def inventories(rows: pd.DataFrame, rgi_ids: list[str]) -> xr.Dataset:
    """Area and elevations of each French glacier in each inventory (glacier, inventory_year), NaN where absent.

    Rows of one glacier are summed (area), weighted by area (mean elevation), or compared (highest elevation).

    Parameters
    ----------
    rows
        matched rows: rgi_id, inventory_year, area, mean_elevation, max_elevation.
    rgi_ids
        the glaciers.
    """
    shape = (len(rgi_ids), len(INVENTORY_YEARS))
    area, mean, highest = np.full((3, *shape), np.nan)
    place = {rgi_id: g for g, rgi_id in enumerate(rgi_ids)}
    for (rgi_id, year), group in rows[rows["rgi_id"] != ""].groupby(["rgi_id", "inventory_year"]):
        where = (place[rgi_id], INVENTORY_YEARS.index(year)) if rgi_id in place else None
        if where is not None:
            weight = group["area"].where(group["mean_elevation"].notna(), 0.0)
            area[where] = group["area"].sum()
            mean[where] = np.nan if weight.sum() == 0 else np.average(group["mean_elevation"].fillna(0), weights=weight)
            highest[where] = group["max_elevation"].max()
    ds = xr.Dataset(
        {
            "area": (("glacier", "inventory_year"), area),
            "mean_elevation": (("glacier", "inventory_year"), mean),
            "max_elevation": (("glacier", "inventory_year"), highest),
        },
        coords={"rgi_id": ("glacier", _texts(rgi_ids)), "inventory_year": list(INVENTORY_YEARS)},
    )
    return annotate(ds)
