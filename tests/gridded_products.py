"""Small archives of gridded climate, each written the way its product writes them.

Every one holds the hydrological year 2001 and some days besides. Temperature at a cell is BASE + its row + 10 x its
column (K), so that a cell that is taken from the wrong place shows; precipitation is 2 kg m-2 a day unless said.
"""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import xarray as xr

BASE = 270.0
GRAVITY = 9.80665
DAY = 86400.0


def cell_values(rows: int, columns: int) -> np.ndarray:
    return BASE + np.arange(rows)[:, None] + 10.0 * np.arange(columns)[None, :]


def over_time(values, n):
    return np.broadcast_to(values, (n, *np.shape(values))).astype("float32")


def era5(folder, lon=(359.75, 0.0, 0.25), lat=(46.5, 46.25, 46.0), start="2000-09-30", end="2001-10-01 23:00"):
    """ERA5 as the Climate Data Store gives it: hourly, valid_time, 0..360, north first, files by year."""
    time = pd.date_range(start, end, freq="h")
    shape = (len(lat), len(lon))
    coords = {
        "valid_time": ("valid_time", time, {"standard_name": "time", "long_name": "time"}),
        "latitude": ("latitude", np.array(lat), {"units": "degrees_north", "standard_name": "latitude"}),
        "longitude": ("longitude", np.array(lon), {"units": "degrees_east", "standard_name": "longitude"}),
        "number": 0,
        "expver": ("valid_time", np.array(["0001"] * len(time), dtype=object)),
    }
    dims = ("valid_time", "latitude", "longitude")
    # the hour that ends at 01:00 has 1 mm, all others none: whoever takes the wrong day sees it on the last of a month
    hour = np.where(time.hour == 1, 1e-3, 0.0) + np.where(time == pd.Timestamp("2001-03-01 00:00"), 5e-3, 0.0)
    warm = cell_values(*shape) + (time.hour.values[:, None, None] - 11.5)
    fields = {
        "t2m": (dims, warm.astype("float32"), {"units": "K", "standard_name": "unknown", "GRIB_stepType": "instant"}),
        "tp": (dims, over_time(np.ones(shape), len(time)) * hour[:, None, None].astype("float32")),
        "sf": (dims, over_time(np.full(shape, 0.25), len(time)) * hour[:, None, None].astype("float32")),
    }
    accumulated = {"units": "m", "standard_name": "unknown", "GRIB_stepType": "accum"}
    ds = xr.Dataset({name: (*f[:2], f[2] if len(f) > 2 else accumulated) for name, f in fields.items()}, coords)
    for year, part in ds.groupby("valid_time.year"):
        part[["t2m"]].to_netcdf(folder / f"data_stream-oper_stepType-instant_{year}.nc")
        part[["tp", "sf"]].to_netcdf(folder / f"data_stream-oper_stepType-accum_{year}.nc")
    z = ds[["t2m"]].isel(valid_time=[0]).rename(t2m="z")
    z["z"] = (dims, np.full((1, *shape), 1000.0 * GRAVITY, dtype="float32"), {"units": "m**2 s**-2"})
    z["z"].attrs |= {"standard_name": "geopotential"}
    z.to_netcdf(folder / "geopotential.nc")
    return folder


def era5_land(path):
    """ERA5-Land, hourly: precipitation grows from 00 UTC, 0.1 mm an hour; 2.4 mm at 00 UTC of the next day."""
    time = pd.date_range("2000-10-01", "2001-10-01 00:00", freq="h")
    since = np.where(time.hour == 0, 24, time.hour) * 1e-4
    dims, shape = ("time", "latitude", "longitude"), (2, 2)
    ds = xr.Dataset(
        {
            "t2m": (
                dims,
                over_time(cell_values(*shape), len(time)),
                {"units": "K", "long_name": "2 metre temperature"},
            ),
            "tp": (dims, over_time(np.ones(shape), len(time)) * since[:, None, None].astype("float32")),
            "z": (("latitude", "longitude"), np.full(shape, 500.0 * GRAVITY), {"units": "m**2 s**-2"}),
        },
        {"time": time, "latitude": [46.1, 46.0], "longitude": [7.0, 7.1]},
    )
    ds["tp"].attrs = {"units": "m", "long_name": "Total precipitation"}
    ds["latitude"].attrs["units"], ds["longitude"].attrs["units"] = "degrees_north", "degrees_east"
    ds.to_netcdf(path)
    return path


def e_obs(folder):
    """E-OBS: tg in Celsius, rr in mm by the standard name of rainfall, sea missing, elevation in its own file."""
    time = pd.date_range("2000-01-01", "2001-12-31")
    coords = {"time": time, "latitude": [46.05, 46.15], "longitude": [6.95, 7.05, 7.15]}
    dims, shape = ("time", "latitude", "longitude"), (2, 3)
    tg = over_time(cell_values(*shape) - 273.15, len(time)).copy()
    tg[:, 1, 2] = np.nan
    rr = np.where(np.isnan(tg), np.nan, 2.0).astype("float32")
    for name, values, attrs in (
        ("tg", tg, {"units": "Celsius", "standard_name": "air_temperature", "long_name": "mean temperature"}),
        ("tx", tg + 5, {"units": "Celsius", "standard_name": "air_temperature", "long_name": "maximum temperature"}),
        ("rr", rr, {"units": "mm", "standard_name": "thickness_of_rainfall_amount", "long_name": "rainfall"}),
    ):
        one = xr.Dataset({name: (dims, values, attrs)}, coords)
        one.to_netcdf(folder / f"{name}_ens_mean_0.1deg_reg_v30.0e.nc")
    height = np.array([[100.0, 200.0, np.nan], [300.0, 400.0, 500.0]], dtype="float32")
    elevation = xr.Dataset({"elevation": (dims[1:], height, {"units": "Meters", "long_name": "Elevation"})}, coords)
    (folder / "elevation").mkdir()
    elevation.drop_vars("time").to_netcdf(folder / "elevation" / "elev_ens_0.1deg_reg_v30.0e.nc")
    return folder


def flux_model(folder, calendar="noleap", noon=True, lon=(10.0, 11.25), lat=(45.0, 46.0, 47.0), **attrs):
    """A model in the conventions of CMIP6 (and of W5E5 and ISIMIP): fluxes, one file per variable and period."""
    attrs = {"source_id": "CESM2", "experiment_id": "historical", "variant_label": "r1i1p1f1"} | attrs
    cls = {"noleap": cftime.DatetimeNoLeap, "360_day": cftime.Datetime360Day}.get(calendar)
    if cls is None:
        time = xr.date_range("2000-01-01", "2001-12-31", freq="D", calendar="standard")
    else:
        last = 30 if calendar == "360_day" else 31
        time = xr.date_range(cls(2000, 1, 1), cls(2001, 12, last), freq="D", calendar=calendar, use_cftime=True)
    day = pd.Timedelta(days=1)
    bounds = np.stack([np.asarray(time), np.asarray(time + day)], axis=1)
    stamps = time + day / 2 if noon else time
    dims, shape = ("time", "lat", "lon"), (len(lat), len(lon))
    coords = {
        "time": ("time", stamps, {"standard_name": "time", "bounds": "time_bnds", "axis": "T"}),
        "lat": ("lat", np.array(lat), {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"}),
        "lon": ("lon", np.array(lon), {"units": "degrees_east", "standard_name": "longitude", "axis": "X"}),
    }
    height = ((), 2.0, {"standard_name": "height", "units": "m", "positive": "up"})
    for name, standard, units, values in (
        ("tas", "air_temperature", "K", cell_values(*shape)),
        ("pr", "precipitation_flux", "kg m-2 s-1", np.full(shape, 2.0 / DAY)),
        ("prsn", "snowfall_flux", "kg m-2 s-1", np.full(shape, 0.5 / DAY)),
    ):
        field = (dims, over_time(values, len(time)), {"units": units, "standard_name": standard})
        ds = xr.Dataset({name: field, "time_bnds": (("time", "bnds"), bounds)}, coords | {"height": height}, attrs)
        ds[name].attrs["cell_methods"] = "area: time: mean"
        for part in (slice(0, 200), slice(200, None)):
            ds.isel(time=part).to_netcdf(folder / f"{name}_day_{attrs['source_id']}_{part.start}.nc")
    orog = (dims[1:], np.full(shape, 700.0), {"units": "m", "standard_name": "surface_altitude"})
    fixed = xr.Dataset({"orog": orog}, {name: coords[name] for name in ("lat", "lon")}, attrs)
    fixed.to_netcdf(folder / f"orog_fx_{attrs['source_id']}.nc")
    return folder


ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
    "north_pole_grid_longitude": 0.0,
}


def euro_cordex(path, with_positions=True, monthly=False):
    """EURO-CORDEX: rotated pole, rlat and rlon, lat and lon of each cell in the file or not."""
    rlon, rlat = np.array([-8.0, -7.89, -7.78]), np.array([-4.0, -3.89])
    time = pd.date_range("2000-09-01", "2001-10-31", freq="MS" if monthly else "D")
    time = time + pd.Timedelta(days=14) if monthly else time + pd.Timedelta(hours=12)
    dims, shape = ("time", "rlat", "rlon"), (2, 3)
    coords = {
        "time": time,
        "rlon": ("rlon", rlon, {"units": "degrees", "standard_name": "grid_longitude", "axis": "X"}),
        "rlat": ("rlat", rlat, {"units": "degrees", "standard_name": "grid_latitude", "axis": "Y"}),
    }
    lon, lat = rotated_positions(rlon, rlat)
    if with_positions:
        coords["lon"] = (dims[1:], lon, {"units": "degrees_east", "standard_name": "longitude"})
        coords["lat"] = (dims[1:], lat, {"units": "degrees_north", "standard_name": "latitude"})
    mapping = {"grid_mapping": "rotated_pole"}
    tas = {"units": "K", "standard_name": "air_temperature"} | mapping
    ds = xr.Dataset(
        {
            "tas": (dims, over_time(cell_values(*shape), len(time)), tas),
            "pr": (dims, over_time(np.full(shape, 2.0 / DAY), len(time))),
            "orog": (dims[1:], np.full(shape, 900.0), {"units": "m", "standard_name": "surface_altitude"} | mapping),
            "rotated_pole": ((), 0, ROTATED),
        },
        coords,
        {"driving_model_id": "MOHC-HadGEM2-ES", "model_id": "KNMI-RACMO22E", "experiment_id": "rcp85"},
    )
    ds["pr"].attrs = {"units": "kg m-2 s-1", "standard_name": "precipitation_flux"} | mapping
    ds.to_netcdf(path)
    return path


def rotated_positions(rlon, rlat, pole_lon=-162.0, pole_lat=39.25):
    """Longitude and latitude (row, column) by the two rotations of a sphere, written out."""
    lam, phi = np.radians(np.meshgrid(rlon, rlat))
    north = np.radians(pole_lat)
    x, y, z = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)
    lat = np.arcsin(np.sin(north) * z + np.cos(north) * x)
    lon = np.radians(pole_lon) + np.arctan2(-y, -(np.sin(north) * x - np.cos(north) * z))
    return (np.degrees(lon) + 180.0) % 360.0 - 180.0, np.degrees(lat)


def laea(path):
    """A product on the European equal-area projection, x and y in km, no longitude and latitude, steps in mm day-1."""
    time = pd.date_range("2000-10-01", "2001-09-30")
    coords = {
        "time": time,
        "x": ("x", np.array([4321.0, 4331.0]), {"units": "km", "standard_name": "projection_x_coordinate"}),
        "y": ("y", np.array([3220.0, 3210.0]), {"units": "km", "standard_name": "projection_y_coordinate"}),
    }
    mapping = {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "longitude_of_projection_origin": 10.0,
        "latitude_of_projection_origin": 52.0,
        "false_easting": 4321000.0,
        "false_northing": 3210000.0,
        "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257222101,
    }
    dims, shape = ("time", "y", "x"), (2, 2)
    on = {"grid_mapping": "crs"}
    tas = {"units": "degC", "standard_name": "air_temperature"} | on
    pr = {"units": "mm/day", "standard_name": "lwe_precipitation_rate"} | on
    ds = xr.Dataset(
        {
            "temperature": (dims, over_time(cell_values(*shape) - 273.15, len(time)), tas),
            "precipitation": (dims, over_time(np.full(shape, 2.0), len(time)), pr),
            "dem": (dims[1:], np.full(shape, 50.0), {"units": "m", "standard_name": "surface_altitude"} | on),
            "crs": ((), 0, mapping),
        },
        coords,
    )
    ds.to_netcdf(path)
    return path


def model_run(folder, name, end, start="1999-10-01", **attrs):
    """A regional model by months, 2 x 3 cells: 273 K, 3 kg m-2 s-1."""
    ds = xr.open_dataset(euro_cordex(folder / "raw.nc", monthly=True))
    time = pd.date_range(start, end, freq="MS") + pd.Timedelta(days=14)
    longer = ds.drop_vars(["tas", "pr", "time"]).assign_attrs(attrs)
    for variable in ("tas", "pr"):
        longer[variable] = (("time", "rlat", "rlon"), np.full((len(time), 2, 3), 3.0), ds[variable].attrs)
    longer["tas"] = longer["tas"] + 270.0
    longer["tas"].attrs = ds["tas"].attrs
    longer.assign_coords(time=time).to_netcdf(folder / f"{name}.nc")
    return folder / f"{name}.nc"
