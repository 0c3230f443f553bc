"""How fast climate becomes predictors at glaciers: our two ways against plain xarray, from one store on disk.

    python tests/benchmarks/climate.py                # 3,927 glaciers, 57 years, 1,056 points, the Alps under SAFRAN
    python tests/benchmarks/climate.py --glaciers 400 --points 100 --sample 4

Synthetic daily climate (float32) is written to a temporary folder as `alpgm` writes its stores. Then, one after the
other and several times, each in a process of its own so that its peak memory is its own:

lazy      :func:`alpgm_dask.forcing.annual_predictors` on the store, computed by one thread
kernel    what the year loop does: blocks of glaciers read their points once, then the kernel is asked every year
xarray    the same predictors with ``resample`` and a loop over glaciers, on climate that is read into memory before;
          the loop is over a sample of glaciers, spread over all, and its seconds are scaled by their number

Compiling is not counted, starting Python neither; reading the store is, once, for all three. CPU seconds are of all
threads of the process. Medians are printed with the range. The three must agree on the sample's predictors, or nothing
is printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

YEARS = (1959, 2015)
LAPSE = 6.0e-3
#: Chunks of a climate store: four hydrological years, 64 points.
CHUNKS = (1461, 64)
#: Glaciers of a block in the year loop.
BLOCK = 128
ALPGM_CPU_SECONDS = 0.011


def write_climate(path: Path, n_points: int) -> None:
    """Days of all years at points in eleven elevations, some points at a time."""
    time_ = np.arange(f"{YEARS[0] - 1}-10-01", f"{YEARS[1]}-10-01", dtype="datetime64[D]").astype("datetime64[ns]")
    rng, shape = np.random.default_rng(0), (time_.size, n_points)
    season = -3.0 - 9.0 * np.cos(2 * np.pi * (np.arange(time_.size) / 365.25 + 0.25))
    height = 600.0 + 300.0 * (np.arange(n_points) % 11)
    data = {"tas": np.empty(shape, "float32"), "snowfall": np.empty(shape, "float32"), "rainfall": None}
    for first in range(0, n_points, 64):
        part = slice(first, min(first + 64, n_points))
        tas = season[:, None] - LAPSE * (height[part] - 2400) + 4 * rng.standard_normal((time_.size, part.stop - first))
        data["tas"][:, part] = 273.15 + tas
        wet = np.maximum(12 * rng.standard_normal(tas.shape) - 2, 0)
        data["snowfall"][:, part] = wet * np.clip(1 - tas / 2, 0, 1)
    data["rainfall"] = np.float32(0.5) * data["snowfall"]
    units = {"tas": "K", "snowfall": "kg m-2", "rainfall": "kg m-2"}
    ds = xr.Dataset({name: (("time", "point"), values, {"units": units[name]}) for name, values in data.items()})
    ds = ds.assign_coords(time=time_, elevation=("point", height, {"units": "m"}))
    encoding = {name: {"chunks": (CHUNKS[0], min(CHUNKS[1], n_points))} for name in data}
    ds.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)


def open_climate(path: str) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarr", chunks=None, cache=False, consolidated=False)


def glaciers(climate: xr.Dataset, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(glacier,) points, neighbours beside each other as in a store, and elevations in m."""
    rng = np.random.default_rng(1)
    point = np.sort(rng.integers(0, climate.sizes["point"], n))
    return point, climate["elevation"].values[point] + rng.uniform(-150, 150, n)


def lazy(climate: xr.Dataset, point: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(glacier, year, predictor) by the lazy path."""
    import dask

    from alpgm_dask import forcing

    made = forcing.annual_predictors(climate, point, height)
    with dask.config.set(scheduler="synchronous"):
        return forcing.predictor_array(made.compute()).transpose("glacier", "hydro_year", "predictor").values


def kernel(climate: xr.Dataset, point: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(glacier, year, predictor) as the year loop asks for them."""
    from alpgm_dask import forcing

    out = np.empty((point.size, YEARS[1] - YEARS[0] + 1, 27))
    for first in range(0, point.size, BLOCK):
        part = slice(first, first + BLOCK)
        zeros = xr.DataArray(np.zeros((point[part].size, 12)), dims=("glacier", "month"))
        names = ("cpdd", "winter_snowfall", "summer_snowfall")
        reference = xr.Dataset(dict.fromkeys(names, zeros[:, 0]) | {"tas_monthly": zeros, "snowfall_monthly": zeros})
        block = forcing.block_forcing_climate(climate, point[part], reference)
        for k in range(out.shape[1]):
            out[part, k] = block.predictors(k, height[part])
    return out


def plain(climate: xr.Dataset, point: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(glacier, year, predictor) with xarray alone: one glacier after the other, resampled to months and years."""
    out = []
    for p, z in zip(point, height, strict=True):
        days = climate.isel(point=p)
        tas = days["tas"].astype("float64") - 273.15 + (float(days["elevation"]) - z) * LAPSE
        total = days["snowfall"].astype("float64") + days["rainfall"]
        snow = xr.where(tas < 0, total, xr.where(tas > 0, 0.0, days["snowfall"]))
        monthly_tas = tas.resample(time="MS").mean().values.reshape(-1, 12)
        monthly_snow = snow.resample(time="MS").sum().values.reshape(-1, 12)
        cpdd = tas.clip(min=0).resample(time="YS-OCT").sum().values[:, None]
        winter, summer = monthly_snow[:, :6].sum(axis=1), monthly_snow[:, 6:].sum(axis=1)
        out.append(np.concatenate([cpdd, winter[:, None], summer[:, None], monthly_tas, monthly_snow], axis=1))
    return np.array(out)


WAYS = {"lazy": lazy, "kernel": kernel, "xarray": plain}


def now() -> np.ndarray:
    """Wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(way: str, path: str, n: int, sample: int) -> None:
    """One run in this process; prints seconds, CPU seconds, peak memory, and where the sample's predictors are."""
    climate = open_climate(path)
    point, height = glaciers(climate, n)
    chosen = np.linspace(0, n - 1, min(sample, n)).astype(int)
    some = chosen if way == "xarray" else np.arange(n)
    scale = n / some.size
    four = climate.isel(time=slice(0, 1461))
    kernel_once(climate, point, height) if way == "kernel" else WAYS[way](four.load(), point[:2], height[:2])
    begun = now()
    climate = climate.load() if way == "xarray" else climate
    read = now()
    found = WAYS[way](climate, point[some], height[some])
    wall, cpu = (now() - read) * scale + (read - begun)
    said = {"wall": wall, "cpu": cpu}
    if way == "kernel":
        said["asking"] = years_alone(climate, point, height) * n
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    np.save(f"{path}.{way}.npy", found if way == "xarray" else found[chosen])
    print(json.dumps(said | {"peak": peak}))


def kernel_once(climate: xr.Dataset, point: np.ndarray, height: np.ndarray) -> None:
    """Compile the kernel."""
    from alpgm_dask import forcing

    short = climate.isel(time=slice(0, 365), point=[0]).load()
    made = forcing.annual_predictors(short, [0], height[:1])
    reference = made.isel(hydro_year=0).drop_vars(["winter_rainfall", "summer_rainfall", "reference_elevation"])
    forcing.block_forcing_climate(short, [0], reference).predictors(0, height[:1])


def years_alone(climate: xr.Dataset, point: np.ndarray, height: np.ndarray) -> float:
    """CPU seconds per glacier that the kernel takes for all years, once a block has its climate."""
    from alpgm_dask import forcing

    made = forcing.annual_predictors(climate.isel(time=slice(0, 365)), point[:BLOCK], height[:BLOCK])
    reference = made.isel(hydro_year=0).drop_vars(["winter_rainfall", "summer_rainfall", "reference_elevation"])
    block = forcing.block_forcing_climate(climate, point[:BLOCK], reference)
    begun = time.process_time()
    for k in range(YEARS[1] - YEARS[0] + 1):
        block.predictors(k, height[:BLOCK])
    return (time.process_time() - begun) / point[:BLOCK].size


def run(way: str, path: str, n: int, sample: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", way, path, "--glaciers", str(n), "--sample", str(sample)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def spread(values: list[float]) -> str:
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def report(runs: dict[str, list[dict[str, float]]], n: int) -> None:
    glacier_years = n * (YEARS[1] - YEARS[0] + 1)
    for way, found in runs.items():
        for key, units in (("wall", "s"), ("cpu", "CPU s"), ("peak", "GB peak memory")):
            print(f"{way:<8} {units:<18} {spread([one[key] for one in found])}")
        if way == "kernel":
            print(f"{'kernel':<8} {'CPU s, years alone':<18} {spread([one['asking'] for one in found])}")
        rate = [one["cpu"] / glacier_years for one in found]
        print(f"{way:<8} CPU s / glacier-year {spread(rate)}; ALPGM: {ALPGM_CPU_SECONDS}")
    for way in ("lazy", "kernel"):
        pairs = zip(runs["xarray"], runs[way], strict=True)
        print(f"{way} is faster than plain xarray by {spread([slow['wall'] / fast['wall'] for slow, fast in pairs])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glaciers", type=int, default=3927)
    parser.add_argument("--points", type=int, default=1056)
    parser.add_argument("--sample", type=int, default=20, help="glaciers that plain xarray does; seconds are scaled")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "STORE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(*asked.measure, asked.glaciers, asked.sample)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "climate.zarr")
        write_climate(Path(path), asked.points)
        sample = min(asked.sample, asked.glaciers)
        years = f"{YEARS[0]} to {YEARS[1]}"
        print(f"{asked.glaciers} glaciers, {years}, {asked.points} points; plain xarray does {sample} glaciers")
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(asked.repeat):
            for way in WAYS:
                runs[way].append(run(way, path, asked.glaciers, sample))
        want = np.load(f"{path}.xarray.npy")
        for way in ("lazy", "kernel"):
            np.testing.assert_allclose(np.load(f"{path}.{way}.npy"), want, rtol=1e-9, atol=1e-9)
        report(runs, asked.glaciers)


if __name__ == "__main__":
    main()
