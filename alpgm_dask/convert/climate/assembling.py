"""Fields of many files on one grid -> one lazy dataset (time, y, x) or (time, point) of daily or monthly climate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask.constants import STANDARD_GRAVITY
from alpgm_dask.convert.climate.cells import Cells, select_cells, take_cells
from alpgm_dask.convert.climate.cf_names import choose_variables, model_labels
from alpgm_dask.convert.climate.grids import Grid, grid_of, same_cells
from alpgm_dask.convert.climate.sources import Source, Sources, open_sources
from alpgm_dask.convert.climate.stamps import stamps_of, time_dimension
from alpgm_dask.convert.climate.steps import VariableSeries, series_of
from alpgm_dask.convert.climate.sums import Accumulated, Part
from alpgm_dask.convert.climate.taken import Taken
from alpgm_dask.forcing import convert_units
from alpgm_dask.forcing.calendar import calendar_of
from alpgm_dask.schema import InputError

_GEOPOTENTIAL = ("m2 s-2", "m**2 s**-2", "m^2 s^-2", "m2/s2", "m**2/s**2", "m^2/s^2", "J kg-1", "J/kg", "J kg**-1")


@dataclass(frozen=True)
class Wanted:
    """What a user asks of an archive; see :func:`alpgm_dask.convert.climate.gridded.read`."""

    orography: Sources | None = None
    bounding_box: Sequence[float] | None = None
    around: tuple[np.ndarray, np.ndarray] | None = None
    margin: float = 0.0
    names: Mapping[str, str] | None = None
    accumulated: Accumulated | None = None


@dataclass(frozen=True)
class Assembled:
    """An archive on the rectangle of its grid that is needed, lazy, with what is known of it."""

    climate: xr.Dataset
    needed: np.ndarray
    missing: np.ndarray | None
    cells_in_files: int
    where: str
    parts: dict[str, list[Taken]]
    variables: dict[str, str]
    labels: dict[str, str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Field:
    source: Source
    values: xr.DataArray
    time: str | None
    grid: Grid


def assemble(sources: Sources, wanted: Wanted) -> Assembled:
    """Open the files, find the variables, cut out the cells, make days or months of the steps; lazy.

    Raises
    ------
    InputError
        as :func:`alpgm_dask.convert.climate.gridded.read`.
    """
    if wanted.accumulated not in (None, "step", "day"):
        raise InputError(f"accumulated (--accumulated): {wanted.accumulated!r}; allowed: 'step', 'day'")
    opened = open_sources(sources)
    first = opened[0].where if len(opened) == 1 else f"{opened[0].where} and {len(opened) - 1} more"
    chosen = choose_variables([(s.where, s.ds) for s in opened], wanted.names, first)
    roles = _needed_roles(chosen, opened, first)
    labels = model_labels([(s.where, s.ds) for s in opened])
    fields = {role: [_field(s, chosen[role]) for s in opened if chosen[role] in s.ds.data_vars] for role in roles}
    grid = fields["tas"][0].grid
    cells = select_cells(grid, wanted.bounding_box, wanted.around, wanted.margin)
    parts = {role: [_taken(one, grid, cells) for one in found] for role, found in fields.items()}
    series = {role: _series(role, found, wanted) for role, found in parts.items()}
    elevation = _elevation(opened, chosen, grid, cells, wanted)
    climate, notes = _precipitation(_same_period(series, first))
    return Assembled(
        climate=_located(climate, grid, cells, elevation).unify_chunks(),
        needed=cells.needed,
        missing=_missing_at_ends(parts),
        cells_in_files=grid.lon.size,
        where=fields["tas"][0].source.where,
        parts=parts,
        variables={role: chosen[role] for role in (*roles, *(r for r in ("elevation",) if r in chosen))},
        labels=labels,
        notes=notes,
    )


def _needed_roles(chosen: Mapping[str, str], opened: list[Source], where: str) -> tuple[str, ...]:
    """tas, and what precipitation is made of."""
    sets = (("snowfall", "rainfall"), ("pr", "snowfall"), ("pr", "rainfall"), ("pr",))
    amounts = next((roles for roles in sets if all(role in chosen for role in roles)), None)
    if "tas" in chosen and amounts:
        return ("tas", *amounts)
    lacking = "tas" if "tas" not in chosen else "pr"
    allowed = "air_temperature" if lacking == "tas" else "precipitation_amount or precipitation_flux"
    given = sorted({str(name) for source in opened for name in source.ds.data_vars})
    raise InputError(
        f"{where}: variable '{lacking}' is not found; allowed: the standard name {allowed}, a name that is known, or "
        f"names={{'{lacking}': ...}} (--variable {lacking}=...); the variables given are: {', '.join(given)}"
    )


def _field(source: Source, name: str) -> _Field:
    """A variable without its time dimension's name and dimensions of one value; of two ERA5 versions, the final one."""
    values = source.ds[name]
    if "expver" in values.dims:
        values = _one_version(values)
    time = time_dimension(source.ds, values)
    values = values.squeeze([d for d in values.dims if d != time and values.sizes[d] == 1 and d not in _places(source)])
    flat = values.isel({time: 0}, drop=True) if time else values
    grid = grid_of(source.ds, flat, source.where)
    extra = [d for d in flat.dims if d not in grid.dims]
    if extra:
        given = ", ".join(f"{d} ({flat.sizes[d]})" for d in extra)
        raise InputError(
            f"{source.where}: variable '{name}' has the dimension {given} beside time and place; allowed: dates along "
            "the dimension of time, one member and one level (select them first, and give the dataset)"
        )
    return _Field(source, values, time, grid)


def _places(source: Source) -> set[str]:
    """Dimensions that have longitudes, latitudes or axes: a grid may be one cell wide."""
    known = ("lon", "longitude", "lat", "latitude", "x", "y", "rlon", "rlat")
    located = ("X", "Y", "degrees_east", "degrees_north")
    variables = source.ds.variables
    marked = (v for n, v in variables.items() if n in known or {v.attrs.get("axis"), v.attrs.get("units")} & {*located})
    return {str(dim) for variable in marked for dim in variable.dims}


def _one_version(values: xr.DataArray) -> xr.DataArray:
    """ERA5 where it is final, the preliminary one (expver 5) after it."""
    order = np.argsort(values["expver"].values) if "expver" in values.coords else np.arange(values.sizes["expver"])
    versions = [values.isel(expver=int(at), drop=True) for at in order]
    out = versions[0].chunk() if not versions[0].chunks else versions[0]
    for later in versions[1:]:
        out = out.fillna(later)
    return out


def _positions(found: _Field, grid: Grid, cells: Cells) -> tuple[np.ndarray, ...]:
    """Where the needed cells are in a file, which may hold more or in another order."""
    own = cells.positions
    if found.grid is grid:
        return own
    return tuple(places[at] for places, at in zip(same_cells(grid, found.grid), own, strict=True))


def _taken(found: _Field, grid: Grid, cells: Cells) -> Taken:
    """The variable as it is in the file, without coordinates, its dates along ``time``, and where its cells are."""
    if found.time is None:
        raise InputError(
            f"{found.source.where}: variable '{found.values.name}' has no dates along {found.values.dims}; "
            "allowed: a dimension of time with CF units such as 'days since 1950-01-01'"
        )
    stamps = stamps_of(found.source.ds, found.time, found.source.where)
    bare = found.values.drop_vars(list(found.values.coords)).rename({found.time: "time"})
    return Taken(found.source, bare, stamps, found.grid.dims, _positions(found, grid, cells))


def _series(role: str, found: list[Taken], wanted: Wanted) -> VariableSeries:
    cut = {one.source.where: one.cut for one in found}
    parts = [Part(one.field, one.stamps) for one in found]
    return series_of(role, parts, lambda values, where: cut[where](values), wanted.accumulated)


def _same_period(series: Mapping[str, VariableSeries], where: str) -> xr.Dataset:
    """All variables over the steps that all of them have."""
    first = series["tas"]
    for role, one in series.items():
        kinds = ["monthly" if s.monthly else "daily" for s in (first, one)]
        if kinds[0] != kinds[1]:
            raise InputError(f"{where}: variable 'tas' is {kinds[0]} and '{role}' {kinds[1]}; allowed: one time step")
    indexes = {role: one.values.indexes["time"] for role, one in series.items()}
    calendars = {role: calendar_of(index) for role, index in indexes.items()}
    if len(set(calendars.values())) > 1:
        raise InputError(f"{where}: the calendars of {calendars} differ; allowed: one calendar")
    start, end = max(index[0] for index in indexes.values()), min(index[-1] for index in indexes.values())
    if start > end:
        spans = "; ".join(f"{role} {index[0]} to {index[-1]}" for role, index in indexes.items())
        raise InputError(f"{where}: its variables have no date in common: {spans}")
    return xr.Dataset({role: one.values.sel(time=slice(start, end)) for role, one in series.items()})


def _precipitation(climate: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Snowfall and rainfall where one of them and the sum is given: the other is what is left, and not below 0."""
    for given, other in (("snowfall", "rainfall"), ("rainfall", "snowfall")):
        if "pr" in climate and given in climate:
            rest = (climate["pr"] - climate[given]).clip(min=0.0).assign_attrs(units="kg m-2")
            note = f"{other} is precipitation less {given}, and 0 where {given} is the greater (rounding of the files)"
            return climate.drop_vars("pr").assign({other: rest}), [note]
    note = "the phase of precipitation is not given: snowfall and rainfall are parted by temperature at the glacier"
    return climate, [note] if "pr" in climate else []


def _elevation(
    opened: list[Source], chosen: Mapping[str, str], grid: Grid, cells: Cells, wanted: Wanted
) -> xr.DataArray:
    """(row, column) or (point,) m, loaded, from the orography that is given, else from the files themselves."""
    candidates = opened if wanted.orography is None else open_sources(wanted.orography)
    if wanted.orography is not None:
        own = {k: v for k, v in (wanted.names or {}).items() if k == "elevation"}
        chosen = choose_variables([(s.where, s.ds) for s in candidates], own, candidates[0].where)
    name = chosen.get("elevation")
    heights = [_height(s, str(name), grid, cells) for s in candidates if name in s.ds.data_vars]
    if not heights:
        given = ", ".join(sorted({str(v) for s in candidates for v in s.ds.data_vars}))
        raise InputError(
            f"{candidates[0].where}: variable 'elevation' is missing, the elevation that its temperature stands for; "
            "allowed: surface_altitude or geopotential in the files, or orography=<file on the same grid> "
            "(--orography), or names={'elevation': ...} (--variable elevation=...); the variables given are: "
            f"{given}"
        )
    for height, where in zip(heights, (s.where for s in candidates if name in s.ds.data_vars), strict=True):
        apart = np.abs(height.values - heights[0].values)
        if np.nanmax(apart, initial=0.0) > 1.0:
            raise InputError(
                f"{where}: variable '{name}' differs by {np.nanmax(apart):g} m from that of other files; "
                "allowed: one elevation of each cell"
            )
    return heights[0]


def _height(source: Source, name: str, grid: Grid, cells: Cells) -> xr.DataArray:
    """Elevation of the needed cells in a file, m, loaded; of geopotential, its height."""
    found = _field(source, name)
    values = found.values.isel({found.time: 0}, drop=True) if found.time else found.values
    values = values.drop_vars(list(values.coords))
    height = take_cells(values, found.grid.dims, _positions(found, grid, cells)).compute(scheduler="synchronous")
    units = str(height.attrs.get("units", "")).strip()
    if units in _GEOPOTENTIAL:
        height = (height / STANDARD_GRAVITY).assign_attrs(units="m")
    return convert_units(height.astype("float64"), "m", source.where)


def _located(climate: xr.Dataset, grid: Grid, cells: Cells, elevation: xr.DataArray) -> xr.Dataset:
    at = np.ix_(*cells.positions)
    dims = elevation.dims
    out = climate.assign_coords(elevation=elevation, lon=(dims, grid.lon[at]), lat=(dims, grid.lat[at]))
    if cells.rows is None:
        return out
    return out.assign_coords(
        grid_row=("y", cells.rows.astype("int64")), grid_column=("x", cells.columns.astype("int64"))
    )


def _missing_at_ends(parts: Mapping[str, list[Taken]]) -> np.ndarray | None:
    """Cells without a value at the first and the last step of some variable: sea, or outside of a product's domain.

    Read from the files, without Dask; None for datasets that were handed over as graphs.
    """
    out: Any = False
    for found in parts.values():
        if any(one.field.chunks for one in found):
            return None
        out = out | (np.isnan(found[0].values_at(0)) & np.isnan(found[-1].values_at(-1)))
    return np.asarray(out)
