"""How fast glaciers evolve: the kernel against plain NumPy, then a whole run with its stores.

    python tests/benchmarks/geometry.py                                  # on the demo region, built on the fly
    python tests/benchmarks/geometry.py --catalog data/alps/catalog.yaml  # on a converted region

Both sides of a ratio run in this process, on the same glaciers, one after the other, five times; medians are printed
with the range. CPU seconds are those of this process; the whole run is timed by the wall clock, from opening the
catalog to the finished store, cluster start included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import reference

from alpgm_dask import connect, open_catalog, packing, store
from alpgm_dask.delta_h import functions_for
from alpgm_dask.evolution import Prescribed, Settings, assemble, evolve_block, tasks
from alpgm_dask.evolution.balance import PrescribedBalance
from alpgm_dask.evolution.block import State
from alpgm_dask.evolution.graph import block_arrays
from alpgm_dask.outputs import write_blocks

YEARS, SMB = np.arange(2004, 2089), np.full(85, -1.0)


def spread(values: list[float]) -> str:
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def load(catalog: str | None, scratch: Path):
    """Glaciers and their own delta-h functions, if the catalog has some."""
    from alpgm_dask.ingest import build_demo

    opened = open_catalog(catalog or build_demo(scratch / "demo"))
    own = opened.read("delta_h").load() if "delta_h" in opened.names else None
    return opened.url("glaciers"), own


def kernel_seconds(blocks, mass_conserving: bool) -> tuple[float, int]:
    """CPU seconds of the kernels over all years, state set up included, and glacier-years with ice at their start."""
    how = Settings(mass_conserving=mass_conserving)
    began, lived = time.process_time(), 0
    for block in blocks:
        state = State.start(block)
        for smb in SMB:
            alive = state.count > 0
            lived += int(alive.sum())
            state.advance(alive, np.full(alive.size, smb), how)
    return time.process_time() - began, lived


def block_seconds(blocks) -> float:
    """CPU seconds of the whole year loop: kernels, topography for the mass balance, what is kept of every year."""
    began = time.process_time()
    for block in blocks:
        evolve_block(State.start(block), PrescribedBalance(SMB), YEARS, Settings())
    return time.process_time() - began


def numpy_seconds(blocks, every: int) -> tuple[float, int]:
    """The same with plain NumPy, one glacier after the other, for every so manieth glacier."""
    began, lived = time.process_time(), 0
    for block in blocks:
        for g in range(0, block.row_start.size, every):
            row = slice(block.row_start[g], block.row_start[g] + block.row_size[g])
            h, e = block.ice_thickness[row].astype("float64"), block.surface_elevation[row].astype("float64")
            n = block.n_nodes[g]
            nodes, values = block.normalized_elevation[g, :n], block.delta_h[g, :n]
            if nodes[0] < nodes[-1]:
                nodes, values = nodes[::-1], values[::-1]
            for smb in SMB:
                if not (h > 0).any():
                    break
                h, e = reference.alpgm_year(h, e, smb, nodes, values, block.pixel_area[g])
                lived += 1
    return time.process_time() - began, lived


def whole_run(glaciers, own, scratch: Path, number: int) -> tuple[float, float]:
    """Wall seconds of reading, evolving and writing all glaciers on two workers, and their peak memory in GB."""
    import resource

    began = time.perf_counter()
    product, how = str(scratch / f"results{number}.zarr"), Settings(thickness_years=(2050,))
    with connect(workers=2) as client:
        made = tasks(glaciers, YEARS, Prescribed(SMB), delta_h=own, settings=how)
        import xarray as xr

        members = xr.Dataset(coords={"member": ["1"]})
        template = assemble(glaciers, YEARS, members, how)
        store.prime(template, product, ledger={"member": 1, "block": len(packing.blocks(glaciers))})
        failed = write_blocks(client, made, glaciers, product, how)
        store.finish(product)
        seconds = time.perf_counter() - began
        peak = max(client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).values()) / 1e6
    assert not failed
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", help="catalog with an entry glaciers; none: the demo region")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--every", type=int, default=20, help="plain NumPy does every so manieth glacier")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url, own = load(arguments.catalog, Path(folder))
        glaciers = store.open_direct(url)
        blocks = []
        for block in packing.blocks(glaciers):
            part = glaciers.isel(block.region).load()
            blocks.append(block_arrays(part, functions_for(part, own), Settings()))
        n = glaciers.sizes["glacier"]
        print(f"{n} glaciers, {int(glaciers['row_size'].sum()):,} pixels, {YEARS.size} years at -1 m w.e.")
        kernel_seconds(blocks, True), block_seconds(blocks)  # compiled, caches warm
        table: dict[str, list[float]] = {}
        for _ in range(arguments.repeat):
            rates = {}
            for name, conserving in (("kernels, conserving", True), ("kernels, as ALPGM", False)):
                seconds, lived = kernel_seconds(blocks, conserving)
                rates[f"{name}: glacier-years with ice / CPU s"] = lived / seconds
                rates[f"{name}: glacier-years of the run / CPU s"] = n * YEARS.size / seconds
            rates["year loop: glacier-years of the run / CPU s"] = n * YEARS.size / block_seconds(blocks)
            seconds, lived = numpy_seconds(blocks, arguments.every)
            rates["plain NumPy, as ALPGM: glacier-years with ice / CPU s"] = lived / seconds
            faster = rates["kernels, as ALPGM: glacier-years with ice / CPU s"] / (lived / seconds)
            rates["ratio of the two, as ALPGM"] = faster
            for name, value in rates.items():
                table.setdefault(name, []).append(value)
        for name, values in table.items():
            print(f"{name:<58} {spread(values)}")
        runs = [whole_run(glaciers, own, Path(folder), i) for i in range(arguments.repeat)]
        print(f"{'whole run on 2 workers, wall s':<58} {spread([s for s, _ in runs])}")
        print(f"{'peak memory of a worker, GB':<58} {spread([m for _, m in runs])}")


if __name__ == "__main__":
    main()
