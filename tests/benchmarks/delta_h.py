"""Delta-h functions: what they predict of pixels that were left out, and how long a region takes.

    python tests/benchmarks/delta_h.py --clips ALPGM/glacier_data     # ALPGM's 88 glaciers: a table of three methods
    python tests/benchmarks/delta_h.py --catalog data/alps/catalog.yaml   # the stage; 3,927 made-up pairs

Without arguments the demo region stands in for both.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[1]))

from alpgm_dask import delta_h, packing, store, surveys
from alpgm_dask.catalog import open_catalog
from alpgm_dask.cluster import connect
from alpgm_dask.demo.elevations import thinning_pattern
from alpgm_dask.ingest import build_demo
from alpgm_dask.schema import InputError, annotate

REPEATS = 5


def skill(clips: Path) -> None:
    """Errors at left-out pixels of the default, ALPGM's method and the size classes, over ALPGM's glaciers."""
    from real_clips import CLOUDED
    from real_clips import clips as read

    rows = []
    for clip in read(clips):
        if clip.name in CLOUDED:
            continue
        where = {"x": clip.x, "y": clip.y, "area": clip.area}
        try:
            own, theirs = (
                delta_h.fit(clip.surface_elevation, clip.change, method=m, **where) for m in ("monotone", "published")
            )
        except InputError as error:
            print(f"{clip.name}: {error}")
            continue
        rows.append([float(own["pixels_used"]), *(float(v) for v in (own["held_out_error"], theirs["held_out_error"]))])
        rows[-1].append(float(own["class_error"]))
    weight, *errors = np.array(rows).T
    print(f"{weight.size} glaciers, {int(weight.sum())} pixels; root mean square error at left-out pixels, m")
    print("| | default | published | size class | below published | below size class |\n|---|---|---|---|---|---|")
    kinds = {
        "all pixels": lambda e: np.sqrt(np.average(e**2, weights=weight)),
        "mean of the glaciers": np.mean,
        "median of the glaciers": np.median,
    }
    for name, of in kinds.items():
        ours, published, classes = (of(e) for e in errors)
        gains = f"{100 * (1 - ours / published):.1f} % | {100 * (1 - ours / classes):.1f} %"
        print(f"| {name} | {ours:.2f} | {published:.2f} | {classes:.2f} | {gains} |")


def made_up(glaciers: xr.Dataset, url: str) -> xr.Dataset:
    """Surveys of all glaciers of a packed store: their surfaces, and a made-up change with noise; written by block."""
    template = glaciers.drop_dims("pixel").compute().assign(x=glaciers["x"], y=glaciers["y"])
    template["surface_elevation"] = glaciers["surface_elevation"]
    template["elevation_change"] = glaciers["surface_elevation"]
    template = annotate(template)
    store.prime(template, url, overwrite=True)
    for block in packing.blocks(glaciers):
        part = glaciers[["row_start", "row_size", "surface_elevation", "x", "y"]].isel(block.region).compute()
        z = part["surface_elevation"].values.astype("float64")
        change = np.full(z.size, np.nan, dtype="float32")
        rng = np.random.default_rng(block.index)
        for start, size in zip(part["row_start"].values - block.pixels.start, part["row_size"].values, strict=True):
            row = slice(start, start + size)
            place = (z[row].max() - z[row]) / max(np.ptp(z[row]), 1.0)
            change[row] = -40.0 * thinning_pattern(place, rng.uniform(1, 4)) + 6.0 * rng.standard_normal(size)
        out = part.drop_vars(["row_start", "row_size"]).assign(elevation_change=("pixel", change))
        store.write_block(out, url, {"pixel": block.pixels})
    store.finish(url)
    return store.open_direct(url)


def _peak(client) -> float:
    """GB, the largest a worker has ever been."""
    peaks = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return max(peaks.values()) / 1e6


def stage(name: str, surveyed: xr.Dataset, glaciers: xr.Dataset, url: str, repeats: int) -> None:
    """Fit, choose and write on two workers; median and range of `repeats`, and the largest worker."""
    with connect(workers=2, memory="2GB") as client:
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            found = surveys.save_functions(surveyed, glaciers, url)
            times.append(time.perf_counter() - began)
        median, low, high = statistics.median(times), min(times), max(times)
        n, blocks = surveyed.sizes["glacier"], len(packing.blocks(surveyed))
        print(f"{name}: {n} surveyed glaciers in {blocks} blocks: {median:.1f} s ({low:.1f}-{high:.1f}), "
              f"largest worker {_peak(client):.2f} GB; {surveys.outcome(found)}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder glacier_data of ALPGM's repository")
    parser.add_argument("--catalog", type=Path, help="converted catalog with elevation_models")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    if arguments.clips:
        skill(arguments.clips)
    with tempfile.TemporaryDirectory() as folder:
        catalog = arguments.catalog or (None if arguments.clips else build_demo(Path(folder) / "demo"))
        if catalog is None:
            return
        opened, url = open_catalog(catalog), str(Path(folder) / "delta_h.zarr")
        glaciers = opened.read("glaciers")
        known = glaciers.drop_dims("pixel").compute()
        stage(
            "surveys of the catalog", store.open_direct(opened.url("elevation_models")), known, url, arguments.repeats
        )
        everything = made_up(glaciers, str(Path(folder) / "made_up.zarr"))
        stage("made-up surveys of all glaciers", everything, known, url, 1)


if __name__ == "__main__":
    main()
