"""What each entry of a catalog must have to serve a run: variables and their dimensions."""

from __future__ import annotations

import xarray as xr

from alpgm_dask import packing
from alpgm_dask.features import needs_monthly, recipe_features
from alpgm_dask.schema import InputError

#: Name of each needed variable and the dimensions that it must have.
Needs = dict[str, tuple[str, ...]]

_GLACIER = ("glacier",)
GLACIERS_NEED: Needs = {
    **dict.fromkeys(
        ("rgi_id", "lon", "lat", "aspect", "area", "epsg", "pixel_area", "row_start", "row_size"), _GLACIER
    ),
    **dict.fromkeys(packing.PIXEL_VARIABLES, ("pixel",)),
}
PREDICTORS_NEED: Needs = {
    **dict.fromkeys(("rgi_id", "lon", "lat", "massif"), _GLACIER),
    **dict.fromkeys(("cpdd", "winter_snowfall", "summer_snowfall"), ("glacier", "hydro_year")),
    "hydro_year": ("hydro_year",),
}
OBSERVATIONS_NEED: Needs = {
    **dict.fromkeys(("rgi_id", "lon", "lat", "aspect", "max_elevation", "tongue_slope"), _GLACIER),
    **dict.fromkeys(("smb", "mean_elevation", "area"), ("glacier", "hydro_year")),
    "hydro_year": ("hydro_year",),
}
SURVEYS_NEED: Needs = {
    **dict.fromkeys(("rgi_id", "area", "row_start", "row_size"), _GLACIER),
    **dict.fromkeys(packing.ELEVATION_VARIABLES, ("pixel",)),
}
GEODETIC_NEED: Needs = dict.fromkeys(("rgi_id", "geodetic_factor"), _GLACIER)
#: Variables of a projection that have its members.
_WITH_MEMBERS = ("cpdd", "winter_snowfall", "summer_snowfall", "tas_monthly", "snowfall_monthly")
_MONTHLY = ("tas_monthly", "snowfall_monthly")


def delta_h_need(ds: xr.Dataset) -> Needs:
    """Functions on a common grid, or on nodes of their own."""
    if "node" in ds.dims:
        return {"rgi_id": _GLACIER, **dict.fromkeys(("normalized_elevation", "delta_h"), ("glacier", "node"))}
    grid = "normalized_elevation"
    return {"rgi_id": _GLACIER, grid: (grid,), "delta_h": ("glacier", grid)}


def predictors_need(ds: xr.Dataset, recipe: str, where: str, *, members: bool) -> Needs:
    """What ready-made predictors must have, by the features of the mass-balance model.

    Raises
    ------
    InputError
        for monthly predictors that are missing, naming the first feature that is made of them.
    """
    yearly = "reference_elevation" in ds.variables and "hydro_year" in ds["reference_elevation"].dims
    needs = PREDICTORS_NEED | {"reference_elevation": ("glacier", "hydro_year") if yearly else _GLACIER}
    if needs_monthly(recipe):
        _check_monthly(ds, recipe, where)
        needs |= dict.fromkeys(_MONTHLY, ("glacier", "hydro_year", "month"))
    if members and "member" in ds.dims:
        needs = {k: ("member", *dims) if k in _WITH_MEMBERS else dims for k, dims in needs.items()}
    return needs


def _check_monthly(ds: xr.Dataset, recipe: str, where: str) -> None:
    for variable in _MONTHLY:
        feature = next(f for f in recipe_features(recipe) if (f.predictor or "").startswith(variable))
        if variable not in ds.variables:
            given = ", ".join(sorted(map(str, ds.variables)))
            raise InputError(
                f"{where}: variable '{variable}' is missing; feature '{feature.name}' of recipe {recipe!r} is made of "
                f"it; the variables given are: {given}; allowed: monthly predictors, or a model of a seasonal recipe"
            )
