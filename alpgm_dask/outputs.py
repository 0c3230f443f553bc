"""The results of a run on disk: refused if they are not to be touched, primed, written block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import store
from alpgm_dask.config import Config
from alpgm_dask.delta_h import sources
from alpgm_dask.evolution import Settings
from alpgm_dask.inputs import Inputs
from alpgm_dask.packing import blocks
from alpgm_dask.results import name_of_variant
from alpgm_dask.schema import FAILURE, STATUS, VARIABLES, InputError, texts
from alpgm_dask.smb.geodetic import FLAG, geodetic_factors

#: Results that are stored with seven digits.
_SINGLE = ("ice_thickness", "smb", "smb_spread", "cpdd", "winter_snowfall", "summer_snowfall", "tongue_slope")


class BlocksFailedError(RuntimeError):
    """Blocks that failed after all retries; the others are written, and ``--resume`` does these again."""

    def __init__(self, failed: dict[str, str]) -> None:
        lines = [f"{where}: {why}" for where, why in list(failed.items())[:5]]
        super().__init__(f"{len(failed)} blocks failed; run again with --resume\n" + "\n".join(lines))


def check_results(product: str, key: str, *, resume: bool, overwrite: bool) -> None:
    """Refuse results that exist and are not those of this run, or are unfinished, unless told what to do.

    Raises
    ------
    InputError
        naming the store and the options.
    """
    if not store.exists(product):
        return
    attrs = store.attributes(product)
    if not attrs.get("primed"):
        if not (overwrite or attrs.get("fingerprint")):
            raise InputError(f"{product}: exists and is no results of a run; allowed: --overwrite, or another output")
        store.remove(product)  # ours, and cut short before there was anything in it
        return
    same = attrs.get("fingerprint") == key
    finished = bool(attrs.get("complete")) and not attrs.get("failed_blocks")
    if overwrite and not (same and finished):
        store.remove(product)
    elif not same:
        raise InputError(
            f"{product}: made from other inputs, settings or code; allowed: --overwrite, or another output"
        )
    elif not finished and not resume:
        raise InputError(f"{product}: the results are not finished; allowed: --resume or --overwrite")


def prime_results(template: xr.Dataset, product: str, config: Config, inputs: Inputs, key: str) -> None:
    """Write everything but what the blocks will fill."""
    for name in _SINGLE:
        if name in template:
            template[name] = template[name].astype("float32")
    attributes = [name for name, v in template.variables.items() if v.dims == ("glacier",)]
    template.update(template[attributes].compute())
    own, kind = inputs.delta_h, config.delta_h.fallback
    template["delta_h_source"] = ("glacier", sources(template["rgi_id"].values, own, kind))
    if inputs.geodetic is not None:
        mark_corrected(template, inputs.geodetic)
    template.attrs |= store.provenance(config.title, **inputs.urls)
    run = config.model_dump_json(exclude={"cluster"})  # numbers do not depend on it, and its options may be private
    template.attrs |= {"fingerprint": key, "run": run, "featureType": "timeSeries"}
    *run_dims, _ = template["status"].dims
    ledger = {dim: template.sizes[dim] for dim in run_dims} | {"block": len(blocks(inputs.glaciers))}
    store.prime(template, product, overwrite=True, ledger=ledger)


def mark_corrected(template: xr.Dataset, geodetic: xr.Dataset) -> None:
    """Say which glaciers' losses are scaled to a geodetic balance, and that it must not be done again."""
    factors = geodetic_factors(geodetic)
    ids = texts(template["rgi_id"]).tolist()
    values = np.array([factors.get(rgi_id, 1.0) for rgi_id in ids])
    template["geodetic_factor"] = ("glacier", values, VARIABLES["geodetic_factor"].attrs())
    for name in ("smb", "smb_members"):
        if name in template:
            template[name].attrs[FLAG] = f"{sum(rgi_id in factors for rgi_id in ids)} glaciers"


def outcome(results: xr.Dataset) -> str:
    """How many glaciers ended how, and how many were corrected, in words."""
    status = results["status"].values
    words = [f"{(status == code).sum()} {STATUS[code]}" for code in np.unique(status)]
    if "geodetic_factor" in results:
        words.append(f"losses of {int((results['geodetic_factor'] != 1).sum())} glaciers scaled to geodetic balances")
    return ", ".join(words)


def write_blocks(
    client: Any, made: dict[tuple[int, ...], Any], glaciers: xr.Dataset, product: str, settings: Settings
) -> dict[str, str]:
    """Make and write the blocks that the ledger lacks, whole members first; what failed for good, and why."""
    from dask import delayed
    from distributed import as_completed
    from tqdm import tqdm

    layout = {block.index: block for block in blocks(glaciers)}
    write, pending = delayed(store.write_block), store.pending(product)

    def region(entry: tuple[int, ...]) -> dict[str, slice]:
        return {dim: slice(i, i + 1) for dim, i in zip(settings.run_dims, entry[:-1], strict=True)}

    futures = {}
    for member in sorted({entry[0] for entry in pending}):
        entries = [entry for entry in pending if entry[0] == member]
        tasks = [write(made[e], product, region(e) | layout[e[-1]].region, e) for e in entries]
        # a graph for each member and not for each block: what blocks share is sent once
        futures |= dict(zip(client.compute(tasks, retries=2, priority=-member), entries, strict=True))
    failed = {}
    for future in tqdm(as_completed(futures), total=len(futures), unit="block", desc="evolution", mininterval=0.5):
        if future.status == "error":
            entry = futures[future]
            failed[_name_of(entry, settings)] = f"{type(future.exception()).__name__}: {future.exception()}"
            mark_failed(product, region(entry) | {"glacier": layout[entry[-1]].glaciers})
        future.release()
    return failed


def _name_of(entry: tuple[int, ...], settings: Settings) -> str:
    """A task in words: the positions of its member and block, the values of what is varied."""
    member, *at, block = entry
    names = [name_of_variant(dim, values[i]) for i, (dim, values) in zip(at, settings.varied.items(), strict=True)]
    return ", ".join([f"member {member}", *names, f"block {block}"])


def mark_failed(product: str, region: dict[str, slice]) -> None:
    """Say in the results that the glaciers of a block failed with it; `region` is along all dimensions of status."""
    shape = tuple(s.stop - s.start for s in region.values())
    codes = {"status": STATUS.index("failed"), "failure": FAILURE.index("block_error")}
    marks = {name: (tuple(region), np.full(shape, code, dtype="int8")) for name, code in codes.items()}
    store.write_block(xr.Dataset(marks), product, region)
