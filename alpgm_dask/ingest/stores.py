"""Glaciers, inventories and ready-made predictors, from what converters built, and the demo region."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from alpgm_dask import forcing, packing, store
from alpgm_dask.catalog import Catalog, Entry, open_catalog, write_catalog
from alpgm_dask.convert.conversion import Conversion, PackedSource
from alpgm_dask.ingest.listing import list_entries
from alpgm_dask.schema import InputError

Say = Callable[[str], None]

#: What the entries of a converted catalog hold.
DESCRIPTIONS = {
    "glaciers": "ice thickness and surface elevation of every glacier, packed in blocks, and its attributes",
    "outlines": "glacier outlines",
    "inventory_rows": "rows of the inventories and the glacier that each belongs to",
    "inventories": "area and elevation of glaciers in the years of the inventories",
    "smb_observations": "observed annual glacier-wide surface mass balance, and topography",
    "delta_h": "delta-h functions of single glaciers",
    "geodetic": "factors that bring simulated losses of single glaciers to geodetic balances (ASTER, 2000-2016)",
    "geodetic_projections": "the same factors, the smallest ones raised, as ALPGM takes them for projections",
    "elevation_models": "elevation change of every glacier's pixels between two surveys, packed in blocks",
    "predictors": "degree-days and snowfall at glaciers, valid at a reference elevation",
}


def mapper(client: Any) -> Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]:
    """``map`` on the workers of a cluster, with a progress bar; results in order."""
    from distributed import as_completed
    from tqdm import tqdm

    def spread(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        futures = [client.submit(function, item, pure=False) for item in items]
        for _ in tqdm(as_completed(futures), total=len(futures), unit="batch", desc="scan", mininterval=0.5):
            pass
        return client.gather(futures)

    return spread


def save_conversion(
    conversion: Conversion,
    out: Path,
    client: Any,
    *,
    names: dict[str, str] | None = None,
    catalog: Path | None = None,
) -> Path:
    """Write what a converter built, and list it in a catalog.

    Parameters
    ----------
    conversion
        from one of the converters.
    out
        folder of the stores; those of the same names are replaced.
    client
        Dask client whose workers read and write the blocks.
    names
        entry that a packed store or a dataset is listed under, if not its own name.
    catalog
        YAML file in that folder; None: ``out/catalog.yaml``.

    Returns
    -------
    The catalog's path.
    """
    names = names or {}
    entries: dict[str, Entry] = {}
    attrs = store.provenance(conversion.report.title)
    glaciers = {} if conversion.glaciers is None else {"glaciers": conversion.glaciers}
    for key, source in (glaciers | conversion.packed).items():
        name = names.get(key, key)
        save_packed(source, str(out / f"{name}.zarr"), client, attrs)
        entries[name] = Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr", DESCRIPTIONS[key])
    for key, dataset in conversion.datasets.items():
        name = names.get(key, key)
        store.write(dataset, str(out / f"{name}.zarr"), overwrite=True, attrs=attrs)
        entries[name] = Entry("zarr", f"{{CATALOG_DIR}}/{name}.zarr", DESCRIPTIONS.get(key, ""))
    tables = dict(conversion.tables)
    if conversion.outlines is not None:
        tables["outlines"] = conversion.outlines
    for name, table in tables.items():
        table.to_parquet(out / f"{name}.parquet", index=False)
        entries[name] = Entry("geoparquet", f"{{CATALOG_DIR}}/{name}.parquet", DESCRIPTIONS.get(name, ""))
    title = next(iter(names.values()), "conversion")
    (out / f"{title}_report.json").write_text(conversion.report.to_json())
    path = catalog or out / "catalog.yaml"
    list_entries(path, entries)
    return path


def save_packed(source: PackedSource, url: str, client: Any, attrs: dict[str, object]) -> None:
    """Write packed rasters, one block per task: a worker reads its glaciers' files and writes its own chunks."""
    from dask import delayed
    from distributed import as_completed
    from tqdm import tqdm

    template = source.template()
    store.prime(template, url, overwrite=True)
    futures = []
    for block in packing.blocks(template):
        pixels = delayed(source.read_block.part(block.index))(block.index)
        write = delayed(store.write_block)(pixels, url, {"pixel": block.pixels})
        futures.append(client.compute(write, retries=1))
    for future in tqdm(as_completed(futures), total=len(futures), unit="block", desc="rasters", mininterval=0.5):
        future.result()
    store.finish(url, attrs)


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Refuse to write into a folder that has a catalog already (InputError), unless told to."""
    if (out / "catalog.yaml").exists() and not overwrite:
        raise InputError(f"{out / 'catalog.yaml'}: exists already; allowed: another folder, or --overwrite")
    out.mkdir(parents=True, exist_ok=True)


def convert_alpgm(src: Path, out: Path, client: Any, *, overwrite: bool = False, say: Say = print) -> Path:
    """An ALPGM checkout -> stores and a catalog; the catalog's path."""
    from alpgm_dask.convert import alpgm

    refuse_existing(out, overwrite)
    conversion = alpgm.convert(src, mapper=mapper(client))
    path = save_conversion(conversion, out, client)
    say(str(conversion.report))
    return path


def convert_rasters(out: Path, client: Any, *, overwrite: bool = False, say: Say = print, **options: Any) -> Path:
    """Outlines, thickness and surface rasters -> stores and a catalog; `options` as for ``convert.rasters``."""
    from alpgm_dask.convert import rasters

    refuse_existing(out, overwrite)
    conversion = rasters.convert(**options, mapper=mapper(client))
    path = save_conversion(conversion, out, client)
    say(str(conversion.report))
    return path


def convert_predictors(
    file: Path,
    catalog: Path,
    name: str,
    client: Any,
    *,
    inventory_year: int = 2003,
    elevation_years: tuple[int, ...] = (),
    monthly: Path | None = None,
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """A NetCDF of predictors at glaciers -> one more store of a converted catalog; the catalog's path."""
    from alpgm_dask.convert import predictors

    listed = open_catalog(catalog)
    if name in listed.names and not overwrite:
        raise InputError(f"{catalog}: entry {name!r} exists already; allowed: another --name, or --overwrite")
    conversion = predictors.convert(
        file,
        listed.read("glaciers"),
        _optional(listed, "inventory_rows"),
        inventory_year=inventory_year,
        elevation_years=elevation_years,
        monthly=monthly,
        smb_observations=_optional(listed, "smb_observations"),
    )
    path = Path(catalog)
    save_conversion(conversion, path.parent, client, names={"predictors": name}, catalog=path)
    say(str(conversion.report))
    return path


def _optional(catalog: Catalog, name: str) -> Any:
    return catalog.read(name) if name in catalog.names else None


def demo_entries(where: str = "{CATALOG_DIR}") -> dict[str, Entry]:
    """Catalog entries of the demo region whose stores lie in a folder."""
    from alpgm_dask import demo

    suffix = {"zarr": "zarr", "geoparquet": "parquet"}
    return {
        name: Entry(kind, f"{where}/{name}.{suffix[kind]}", text) for name, (kind, text) in demo.DEMO_ENTRIES.items()
    }


def _value_ranges(part: xr.Dataset, name: str) -> dict[str, object]:
    """What a climate store says of its values, so that no run has to read them all; nothing of another store."""
    if "tas" not in part:
        return {}
    extremes = forcing.value_extremes(part).compute()
    missing = sum(int(extremes[n].sum()) for n in extremes.data_vars if str(n).endswith("_missing"))
    return {"value_ranges": json.dumps(forcing.refuse_implausible(extremes, name)), "missing_values": missing}


def build_demo(out: Path, *, overwrite: bool = False, say: Say = print) -> Path:
    """The demo region as stores and a catalog; nothing happens if it is there and whole. The catalog's path."""
    from alpgm_dask import demo

    path = out / "catalog.yaml"
    if path.exists() and not overwrite:
        say(f"demo region: {path} exists, kept")
        return path
    out.mkdir(parents=True, exist_ok=True)
    say("demo region: relief, glaciers, daily climate, observations ...")
    region, attrs = demo.region(), store.provenance("demo region", seed=demo.SEED)
    for name, (kind, _) in demo.DEMO_ENTRIES.items():
        part = getattr(region, name)
        if kind == "zarr":
            store.write(part, str(out / f"{name}.zarr"), overwrite=True, attrs=attrs | _value_ranges(part, name))
        else:
            part.to_parquet(out / f"{name}.parquet", index=False)
    write_catalog(path, demo_entries())
    return path
