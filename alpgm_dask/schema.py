"""The words of the project: every dimension and variable with its units, CF name and meaning.

One registry. Attributes are written from it (:func:`annotate`), inputs are checked against it (:func:`check`),
and the tables of the documentation are made from it (:func:`describe`). Missing from here means not a word of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

#: Order of dimensions in every array of the project.
DIMENSIONS = (
    "member",
    "thickness_factor",
    "delta_h_shift",
    "smb_member",
    "glacier",
    "hydro_year",
    "thickness_year",
    "time",
    "month",
    "point",
    "corner",
    "normalized_elevation",
    "pixel",
    "y",
    "x",
)


class InputError(ValueError):
    """Input that is refused: the message says where, what was wrong, what was given and what is allowed."""


@dataclass(frozen=True)
class Variable:
    """What a name means: units (UDUNITS), long name, CF standard name (table v93) where there is one."""

    units: str
    long_name: str
    standard_name: str | None = None
    flag_meanings: tuple[str, ...] = ()

    def attrs(self) -> dict[str, object]:
        """The CF attributes of this variable."""
        out: dict[str, object] = {"long_name": self.long_name}
        if self.units:
            out["units"] = self.units
        if self.standard_name:
            out["standard_name"] = self.standard_name
        if self.flag_meanings:
            out["flag_values"] = np.arange(len(self.flag_meanings), dtype="int8")
            out["flag_meanings"] = " ".join(self.flag_meanings)
        return out


#: Status of a glacier in a run, as a CF flag.
STATUS = ("not_run", "ok", "vanished", "failed")

#: Why a glacier failed, as a CF flag.
FAILURE = ("none", "no_ice", "ice_not_finite", "forcing_not_finite", "smb_not_finite", "block_error")

#: Where the delta-h function of a glacier comes from, as a CF flag, in the order of preference.
DELTA_H_SOURCE = ("own", "massif", "huss2010", "flat")

#: Why a glacier uses a function of its own, or none, as a CF flag.
DELTA_H_REASON = (
    *("fitted", "not_surveyed", "cloud", "few_pixels", "little_range", "no_thinning", "little_coverage"),
    "worse_than_size_class",
)

VARIABLES: dict[str, Variable] = {
    # -- glaciers ------------------------------------------------------------------------------------------
    "rgi_id": Variable("", "glacier identifier (RGI)"),
    "glims_id": Variable("", "GLIMS identifier (not unique)"),
    "name": Variable("", "glacier name"),
    "massif": Variable("", "massif, empty where unknown"),
    "subregion": Variable("", "RGI second-order region"),
    "lon": Variable("degrees_east", "longitude of the glacier's centroid", "longitude"),
    "lat": Variable("degrees_north", "latitude of the glacier's centroid", "latitude"),
    "aspect": Variable("degree", "aspect, clockwise from north"),
    "slope": Variable("degree", "slope that the climate of a point stands for"),
    "massif_safran": Variable("1", "number of the SAFRAN massif, 0 where unknown"),
    "inventory_year": Variable("1", "year of the outline"),
    "epsg": Variable("1", "EPSG code of the coordinate system of x and y"),
    "pixel_area": Variable("m2", "area of one pixel", "cell_area"),
    "row_size": Variable("1", "number of pixels of the glacier"),
    "row_start": Variable("1", "position of the glacier's first pixel along the pixel dimension"),
    "x_origin": Variable("m", "x of the outer corner of the raster's first pixel"),
    "y_origin": Variable("m", "y of the outer corner of the raster's first pixel"),
    "pixel_width": Variable("m", "step of x from one column to the next"),
    "pixel_height": Variable("m", "step of y from one row to the next (negative: north up)"),
    "grid_rows": Variable("1", "rows of the glacier's raster"),
    "grid_columns": Variable("1", "columns of the glacier's raster"),
    # -- pixels --------------------------------------------------------------------------------------------
    "ice_thickness": Variable("m", "ice thickness", "land_ice_thickness"),
    "surface_elevation": Variable("m", "elevation of the surface", "surface_altitude"),
    "elevation_change": Variable("m", "elevation change between two surveys, negative where the surface sank"),
    "bed_elevation": Variable("m", "elevation of the bed", "bedrock_altitude"),
    "surface_slope": Variable("degree", "slope of the surface at the start"),
    "flowline_distance": Variable("m", "distance along the main flowline from its top; missing off the line"),
    "inside_outline": Variable("1", "1 where the pixel's centre lies inside the inventory outline"),
    "x": Variable("m", "x of the pixel's centre", "projection_x_coordinate"),
    "y": Variable("m", "y of the pixel's centre", "projection_y_coordinate"),
    # -- topography ----------------------------------------------------------------------------------------
    "area": Variable("m2", "glacier area"),
    "volume": Variable("m3", "ice volume"),
    "initial_area": Variable("m2", "glacier area before the first year"),
    "initial_volume": Variable("m3", "ice volume before the first year"),
    "mean_elevation": Variable("m", "mean elevation of the glacier's surface"),
    "max_elevation": Variable("m", "highest elevation of the glacier's surface"),
    "tongue_slope": Variable("degree", "slope of the lowermost 20 % of the elevation range"),
    "max_thickness": Variable("m", "greatest ice thickness"),
    # -- climate -------------------------------------------------------------------------------------------
    "tas": Variable("K", "near-surface air temperature", "air_temperature"),
    "pr": Variable("kg m-2", "precipitation amount", "precipitation_amount"),
    "snowfall": Variable("kg m-2", "snowfall amount", "snowfall_amount"),
    "rainfall": Variable("kg m-2", "rainfall amount", "rainfall_amount"),
    "elevation": Variable("m", "elevation that the climate of the point stands for", "surface_altitude"),
    "grid_row": Variable("1", "row of the grid cell that the point was"),
    "grid_column": Variable("1", "column of the grid cell that the point was"),
    "cpdd": Variable("K day", "cumulative positive degree-days", "integral_wrt_time_of_air_temperature_excess"),
    "winter_snowfall": Variable("kg m-2", "snowfall, October to March", "snowfall_amount"),
    "summer_snowfall": Variable("kg m-2", "snowfall, April to September", "snowfall_amount"),
    "winter_rainfall": Variable("kg m-2", "rainfall, October to March", "rainfall_amount"),
    "summer_rainfall": Variable("kg m-2", "rainfall, April to September", "rainfall_amount"),
    "tas_monthly": Variable("degC", "monthly mean air temperature", "air_temperature"),
    "snowfall_monthly": Variable("kg m-2", "monthly snowfall", "snowfall_amount"),
    "reference_elevation": Variable("m", "elevation that the predictors are valid at"),
    "forcing_distance": Variable("m", "distance from the glacier to where its climate comes from"),
    "point": Variable("1", "position of the glacier's climate along the points"),
    "weight": Variable("1", "share of each corner in the climate of the glacier"),
    "interpolated": Variable("1", "1 where climate is interpolated between cells, 0 where the nearest one is taken"),
    "regional_anomaly": Variable("", "anomaly of each predictor, mean over the observed glaciers"),
    # -- mass balance --------------------------------------------------------------------------------------
    "smb": Variable(
        "m year-1",
        "annual glacier-wide surface mass balance, water equivalent",
        "land_ice_lwe_surface_specific_mass_balance_rate",
    ),
    "smb_spread": Variable("m year-1", "standard deviation of smb over the models of the ensemble"),
    "smb_members": Variable("m year-1", "smb as each model of the ensemble has it"),
    "extrapolation": Variable("1", "number of the model's features outside of the range seen in training"),
    "geodetic_factor": Variable("1", "what negative smb is multiplied with, so that it agrees with a geodetic balance"),
    "geodetic_offset": Variable("m year-1", "geodetic balance minus simulated mass balance"),
    "geodetic_balance": Variable("m year-1", "mean mass balance between two surveys of the surface"),
    "simulated_smb": Variable("m year-1", "mean of the simulation that a geodetic balance was compared with"),
    "delta_h": Variable("1", "elevation change over normalized elevation, 1 where the surface sinks most"),
    "normalized_elevation": Variable("1", "0 at the top of the glacier, 1 at its terminus"),
    "delta_h_source": Variable("", "where the glacier's delta-h function comes from"),
    "delta_h_spread": Variable("1", "standard error of delta_h"),
    "delta_h_reason": Variable("1", "why delta_h is fitted to the glacier, or why not", flag_meanings=DELTA_H_REASON),
    "pixels": Variable("1", "pixels of the glacier in the surveys"),
    "pixels_used": Variable("1", "pixels that are believed, and delta_h was fitted to"),
    "share_covered": Variable("1", "share of the glacier's pixels that are believed"),
    "residual_spread": Variable("m", "normalized median absolute deviation of the changes from the fitted ones"),
    "held_out_error": Variable("m", "root mean square error of delta_h at pixels that were left out in tiles"),
    "class_error": Variable("m", "the same of the size-class curve"),
    "greatest_change": Variable("m", "elevation change between the surveys where delta_h is 1"),
    "lowest_elevation": Variable("m", "elevation where normalized elevation is 1"),
    "highest_elevation": Variable("m", "elevation where normalized elevation is 0"),
    "mass_residual": Variable("kg", "mass asked for that the ice could not give"),
    # -- results -------------------------------------------------------------------------------------------
    "status": Variable("1", "how the glacier's run ended", flag_meanings=STATUS),
    "failure": Variable("1", "why the glacier's run failed", flag_meanings=FAILURE),
    "vanished_year": Variable("1", "hydrological year in which the last ice went; 0: it has not"),
    # -- coordinates ---------------------------------------------------------------------------------------
    "hydro_year": Variable("1", "hydrological year (year Y: 1 October Y-1 to 30 September Y)"),
    "thickness_year": Variable("1", "hydrological year at whose end the thickness is stored"),
    "month": Variable("1", "month of the hydrological year, October = 1"),
    "member": Variable("", "climate member", "realization"),
    "thickness_factor": Variable("1", "what ice thickness is multiplied with before the first year"),
    "delta_h_shift": Variable("1", "spreads of the delta-h function that are added to it"),
    "smb_member": Variable("1", "model of the mass-balance ensemble"),
}


#: Lowest and highest values that are believed of climate, anywhere on Earth; amounts are those of a day.
PLAUSIBLE: dict[str, tuple[float, float]] = {
    "tas": (170.0, 335.0),
    "pr": (-0.01, 2_000.0),
    "snowfall": (-0.01, 2_000.0),
    "rainfall": (-0.01, 2_000.0),
    "elevation": (-500.0, 9_000.0),
}


def annotate(ds: xr.Dataset) -> xr.Dataset:
    """A copy of `ds` in which every variable that is a word of the project carries its CF attributes."""
    out = ds.copy()
    for name in out.variables:
        if name in VARIABLES:
            out[name].attrs = {**out[name].attrs, **VARIABLES[str(name)].attrs()}
    return out


def texts(strings: xr.DataArray | np.ndarray) -> np.ndarray:
    """Strings as a plain NumPy array of str; what a store gives (variable-length strings) NumPy will not cast."""
    return np.asarray(strings).astype(object).astype("U")


def check(ds: xr.Dataset, required: dict[str, tuple[str, ...]], where: str) -> None:
    """Refuse a dataset that lacks a variable, a dimension, or states other units than the registry.

    Parameters
    ----------
    ds
        What was opened; only metadata are looked at, nothing is computed.
    required
        Name of each needed variable and the dimensions it must have (order does not matter).
    where
        The file or store, for the message.

    Raises
    ------
    InputError
        Naming `where`, the variable, what was given and what is allowed.
    """
    for name, dims in required.items():
        if name not in ds.variables:
            present = ", ".join(sorted(map(str, ds.variables)))
            raise InputError(f"{where}: variable '{name}' is missing; the variables given are: {present}")
        given = ds[name].dims
        if set(given) != set(dims):
            raise InputError(f"{where}: variable '{name}' has dimensions {tuple(given)}, allowed: {tuple(dims)}")
        allowed, units = VARIABLES[name].units, ds[name].attrs.get("units")
        if allowed not in ("", "1") and units != allowed:
            raise InputError(f"{where}: variable '{name}' has units {units!r}, allowed: {allowed!r}")


def describe() -> str:
    """The registry as a Markdown table, for the documentation.

    >>> print(describe().splitlines()[0])
    | name | units | meaning | CF standard name |
    """
    rows = ["| name | units | meaning | CF standard name |", "|---|---|---|---|"]
    for name, v in VARIABLES.items():
        rows.append(f"| `{name}` | {v.units} | {v.long_name} | {v.standard_name or ''} |")
    return "\n".join(rows)
