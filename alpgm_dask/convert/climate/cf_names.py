"""Which variable of a gridded archive is which: by CF standard name, then by the names that products are known for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from alpgm_dask.schema import InputError

#: What a variable may be, and the CF standard names that say so.
STANDARD_NAMES: dict[str, tuple[str, ...]] = {
    "tas": ("air_temperature",),
    "pr": (
        *("precipitation_amount", "precipitation_flux", "precipitation_rate"),
        *("lwe_thickness_of_precipitation_amount", "lwe_precipitation_rate"),
    ),
    "snowfall": (
        *("snowfall_amount", "snowfall_flux"),
        *("lwe_thickness_of_snowfall_amount", "lwe_snowfall_rate"),
    ),
    "rainfall": (
        *("rainfall_amount", "rainfall_flux", "rainfall_rate"),
        *("thickness_of_rainfall_amount", "lwe_thickness_of_rainfall_amount"),
    ),
    "elevation": (
        *("surface_altitude", "height", "altitude", "orography", "height_above_mean_sea_level"),
        *("geopotential", "surface_geopotential"),
    ),
}

#: Names that products use, where a standard name is missing: CMIP, CORDEX, ISIMIP; ERA5; E-OBS; HISTALP; CRU.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "tas": ("tas", "t2m", "2m_temperature", "tg", "temp", "tmp"),
    "pr": ("pr", "tp", "total_precipitation", "rr", "prcp", "pre"),
    "snowfall": ("prsn", "sf", "snowfall"),
    "rainfall": ("prra", "rainfall"),
    "elevation": (
        *("orog", "z", "geopotential_at_surface", "elevation", "elev", "hgt"),
        *("ASurf", "asurf", "surface_altitude", "orography"),
    ),
}

#: Extremes of the day have the standard name of the mean, and do not always say in `cell_methods` what they are.
_EXTREMES = frozenset({"tasmax", "tasmin", "tx", "tn", "mx2t", "mn2t", "tmx", "tmn", "t2m_max", "t2m_min"})
_EXTREME = re.compile(r"\b(minimum|maximum|range|standard_deviation|variance)\b")

#: Precipitation of every phase that is called rainfall by its standard name (E-OBS).
_TOTAL_DESPITE_ITS_NAME = {("rr", "thickness_of_rainfall_amount")}

#: Attributes that name the models of a run, most telling first: CORDEX (CMIP5, CMIP6), then global ones.
_GCM = ("driving_model_id", "driving_source_id")
_MODEL = ("source_id", "model_id")


def role_by_standard_name(variable: xr.DataArray) -> str | None:
    """What a variable is by its CF standard name: "tas", "pr", "snowfall", "rainfall", "elevation", or None.

    >>> role_by_standard_name(xr.DataArray(0.0, name="t2m", attrs={"standard_name": "air_temperature"}))
    'tas'
    >>> role_by_standard_name(xr.DataArray(0.0, name="tasmax", attrs={"standard_name": "air_temperature"}))
    """
    stated = variable.attrs.get("standard_name") or variable.attrs.get("GRIB_cfName")
    if (variable.name, stated) in _TOTAL_DESPITE_ITS_NAME:
        return "pr"
    if variable.name in _EXTREMES or _EXTREME.search(str(variable.attrs.get("cell_methods", ""))):
        return None
    return next((role for role, known in STANDARD_NAMES.items() if stated in known), None)


def choose_variables(
    datasets: Iterable[tuple[str, xr.Dataset]], names: Mapping[str, str] | None = None, where: str = "climate"
) -> dict[str, str]:
    """Name in the files of each of tas, pr, snowfall, rainfall, elevation that some file has.

    Parameters
    ----------
    datasets
        (file, dataset), opened; only metadata are looked at.
    names
        what the user says: ``{"tas": "my_temperature"}``; wins.
    where
        the archive, for messages.

    Raises
    ------
    InputError
        for names that are no role or in no file, and where two variables of one standard name are candidates.
    """
    datasets, names = list(datasets), dict(names or {})
    unknown = sorted(set(names) - set(STANDARD_NAMES))
    if unknown:
        raise InputError(
            f"names (--variable): {unknown[0]!r} is none of what is read; allowed: {', '.join(STANDARD_NAMES)}"
        )
    stated: dict[str, set[str]] = {role: set() for role in STANDARD_NAMES}
    present: set[str] = set()
    for _, ds in datasets:
        for name, variable in ds.data_vars.items():
            if not _may_be_a_field(variable):
                continue
            present.add(str(name))
            role = role_by_standard_name(variable)
            if role:
                stated[role].add(str(name))
    chosen = {}
    for role, known in KNOWN_NAMES.items():
        if role in names:
            if names[role] not in present:
                given = ", ".join(sorted(present))
                raise InputError(
                    f"{where}: variable {names[role]!r} (names or --variable, {role}) is missing; given are: {given}"
                )
            chosen[role] = names[role]
            continue
        found = _one_of(role, stated[role], present, where)
        taken = set(names.values()) | set(chosen.values()) | set().union(*(stated[r] for r in stated if r != role))
        found = found or next((name for name in known if name in present and name not in taken), None)
        if found:
            chosen[role] = found
    return chosen


def _may_be_a_field(variable: xr.DataArray) -> bool:
    """Bounds, grid mappings and scalars are no fields."""
    return variable.ndim >= 1 and variable.dtype.kind in "fiu" and "grid_mapping_name" not in variable.attrs


def _one_of(role: str, stated: set[str], present: set[str], where: str) -> str | None:
    """The variable of a standard name; of several the one with a name known for it."""
    candidates = sorted(stated & present)
    if len(candidates) > 1:
        familiar = [name for name in KNOWN_NAMES[role] if name in candidates]
        if len(familiar) != 1:
            standard = " or ".join(STANDARD_NAMES[role][:2])
            raise InputError(
                f"{where}: variables {', '.join(candidates)} are all {standard} by their standard names; "
                f"allowed: one, or names={{'{role}': '{candidates[0]}'}} (--variable {role}={candidates[0]}) to say "
                "which"
            )
        return familiar[0]
    return candidates[0] if candidates else None


def model_labels(datasets: Iterable[tuple[str, xr.Dataset]]) -> dict[str, str]:
    """gcm, rcm and scenario of a run as its files' attributes have them; "" where they do not say.

    A historical run and the scenario that continues it are one run, of that scenario.

    Raises
    ------
    InputError
        for files of more than one model or scenario.
    """
    found: dict[str, dict[str, str]] = {"gcm": {}, "rcm": {}, "scenario": {}}
    for where, ds in datasets:
        for label, value in _labels_of(ds.attrs).items():
            found[label].setdefault(value, where)
    found["scenario"] = {v: w for v, w in found["scenario"].items() if v != "historical"} or found["scenario"]
    for label, values in found.items():
        if len(values) > 1:
            (one, here), (other, there) = list(values.items())[:2]
            raise InputError(
                f"{there}: {label} is {other!r}, that of {here} is {one!r}; allowed: files of one run, or "
                "a mapping from the name of each member to its files (--members)"
            )
    return {label: next(iter(values), "") for label, values in found.items()}


def _labels_of(attrs: Mapping[str, Any]) -> dict[str, str]:
    def first(keys: tuple[str, ...]) -> str:
        return next((str(attrs[key]).strip() for key in keys if str(attrs.get(key, "")).strip()), "")

    driving, model = first(_GCM), first(_MODEL)
    labels = {"gcm": driving or model, "rcm": model if driving else "", "scenario": first(("experiment_id",))}
    return {key: value for key, value in labels.items() if value}
