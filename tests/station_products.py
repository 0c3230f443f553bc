"""Small SAFRAN forcing files and small ADAMONT members, written as the archives write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

#: Three massifs at two elevations; one point faces north, one south, the others are flat.
POINTS = {
    "ZS": ([1800.0, 2100.0, 2400.0, 2700.0, 2400.0, 2700.0], "m"),
    "massif_number": ([3, 3, 15, 15, 16, 16], None),
    "aspect": ([-1.0, 0.0, -1.0, 180.0, -1.0, -1.0], "degrees from north"),
    "slope": ([0.0, 20.0, 0.0, 40.0, 0.0, 0.0], "degrees from horizontal"),
    "LON": ([6.8, 6.8, 6.0, 6.0, 6.5, 6.5], "degrees_east"),
    "LAT": ([45.9, 45.9, 44.9, 44.9, 44.8, 44.8], "degrees_north"),
}


def hourly(start: str, stop: str, hours: int = 1, n: int = 6) -> xr.Dataset:
    """Weather that depends on the date and the point alone, from one stamp to another (included)."""
    time = pd.date_range(start, stop, freq=f"{hours}h")
    hour = ((time - pd.Timestamp("2000-01-01")) // pd.Timedelta("1h")).to_numpy()[:, None]
    wet = (hour * 7919 % 11 < 3) * (1 + hour * 104729 % 5) * np.linspace(1, 2, n) / 3600
    tas = 272.0 + 10 * np.sin(hour / 1400) + hour % 24 / 6 - np.arange(n)
    return xr.Dataset(
        {
            "Tair": (("time", "Number_of_points"), tas, {"units": "K"}),
            "Snowf": (("time", "Number_of_points"), np.where(tas < 273.15, wet, 0.0), {"units": "kg/m2/s"}),
            "Rainf": (("time", "Number_of_points"), np.where(tas < 273.15, 0.0, wet), {"units": "kg/m2/s"}),
        }
        | {
            name: ("Number_of_points", values[:n], {"units": unit} if unit else {})
            for name, (values, unit) in POINTS.items()
        },
        coords={"time": time},
    )


def save(ds: xr.Dataset, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    dates = {"units": "hours since 1900-01-01", "dtype": "float64"}
    ds.to_netcdf(path, encoding={"time": dates} if "time" in ds.variables else {})
    return path


def season(folder, year: int, name: str | None = None, **options):
    """A file from August of a year to August of the next."""
    ds = hourly(f"{year}-08-01 06:00", f"{year + 1}-08-01 06:00", **options)
    return save(ds, folder / (name or f"{year}/FORCING_{year}080106_{year + 1}080106.nc"))


# -- ADAMONT ------------------------------------------------------------------------------------------------

CNRM = ("CNRM-CERFACS-CNRM-CM5", "CNRM-ALADIN53", "RCP85")
MOHC = ("MOHC-HadGEM2-ES", "CLMcom-CCLM4-8-17", "RCP45")
NAME = "ADAMONT_{0}_{1}_{2}_daily_{3}.nc"


def member_files(start="2005-08-01", stop="2007-12-31", *, seed=0, calendar="standard", units="kg m-2", factor=1.0):
    """Daily means and daily sums of a member: three points, days stamped at 06 h."""
    time = xr.date_range(
        f"{start} 06:00", f"{stop} 06:00", freq="D", calendar=calendar, use_cftime=calendar != "standard"
    )
    rng = np.random.default_rng(seed)
    dims, shape = ("TIME", "NB_POINT"), (len(time), 3)
    points = {
        "ZS": ("NB_POINT", [1800.0, 2400.0, 2400.0], {"units": "m"}),
        "MASSIF_NUMBER": ("NB_POINT", [3, 3, 15]),
        "LON": ("NB_POINT", [6.8, 6.8, 6.0]),
        "LAT": ("NB_POINT", [45.9, 45.9, 44.9]),
    }
    tas = (dims, rng.normal(272.0, 5.0, shape), {"units": "K"})
    snow, rain = (rng.gamma(0.5, 6.0, shape) for _ in range(2))
    sums = {"SNOW": (dims, snow / factor, {"units": units}), "RAIN": (dims, rain / factor, {"units": units})}
    mean = xr.Dataset({"Tair": tas} | points, coords={"TIME": time})
    # as the tools that make them do, both files have every variable
    return mean.assign({name: (dims, 0 * snow, {"units": units}) for name in sums}), xr.Dataset(
        sums | points | {"Tair": (dims, 24 * mean["Tair"].values, {"units": "K"})}, coords={"TIME": time}
    )


def save_member(folder, member=CNRM, name=NAME, kinds=("MEAN", "SUM"), **options):
    folder.mkdir(parents=True, exist_ok=True)
    files = member_files(**options)
    for ds, kind in zip(files, kinds, strict=True):
        ds.to_netcdf(folder / name.format(*member, kind))
    return files
