"""Blocks of glaciers x climate members as one lazy graph: one task reads, evolves and returns a whole block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed

from alpgm_dask import packing
from alpgm_dask.delta_h import functions_for
from alpgm_dask.evolution.block import YEARLY, BlockArrays, Settings, State, evolve_block
from alpgm_dask.evolution.sources import Source
from alpgm_dask.schema import InputError, annotate

_NEEDED = (
    "rgi_id",
    "area",
    "row_start",
    "row_size",
    "pixel_area",
    "lon",
    "lat",
    "aspect",
    "ice_thickness",
    "surface_elevation",
    "surface_slope",
    "flowline_distance",
)

#: Results per glacier, and their type.
PER_GLACIER = {
    "initial_area": "float64",
    "initial_volume": "float64",
    "status": "int8",
    "failure": "int8",
    "vanished_year": "int16",
}


_GLACIER_YEAR = ("member", "glacier", "hydro_year")


def _yearly(settings: Settings) -> dict[str, tuple[tuple[str, ...], str]]:
    """Results per glacier and year -> their dimensions and type."""
    out = dict.fromkeys(YEARLY, (_GLACIER_YEAR, "float64"))
    if settings.extrapolation:
        out["extrapolation"] = (_GLACIER_YEAR, "uint8")
    if settings.smb_members:
        out["smb_members"] = (("member", "smb_member", "glacier", "hydro_year"), "float32")
    return out


def block_arrays(block: xr.Dataset, functions: xr.Dataset, settings: Settings) -> BlockArrays:
    """One loaded block (``glacier``, ``pixel``) and its delta-h functions as the arrays that kernels take."""
    thickness = block["ice_thickness"].values
    if settings.clip_to_outline:
        thickness = np.where(block["inside_outline"].values > 0, thickness, np.float32(0))
    return BlockArrays(
        ice_thickness=thickness,
        surface_elevation=block["surface_elevation"].values,
        surface_slope=block["surface_slope"].values,
        flowline_distance=block["flowline_distance"].values,
        row_start=block["row_start"].values - int(block["row_start"].values[0]),
        row_size=block["row_size"].values.astype("int64"),
        pixel_area=block["pixel_area"].values,
        normalized_elevation=functions["normalized_elevation"].values,
        delta_h=functions["delta_h"].values,
        n_nodes=functions["n_nodes"].values,
    )


def _run(
    block: xr.Dataset,
    inputs: Any,
    build: Callable[..., Any],
    own: xr.Dataset | None,
    kind: str,
    years: np.ndarray,
    settings: Settings,
) -> xr.Dataset:
    """Evolve one block (``glacier``, ``pixel``) under one member; what is not loaded yet is read here."""
    block = block.compute(scheduler="synchronous")
    state = State.start(block_arrays(block, functions_for(block, own, kind), settings))
    balance = build(inputs, block, state.mean_elevation.copy())
    out = evolve_block(state, balance, years, settings)
    variables: dict[str, Any] = {name: (dims, out[name][None]) for name, (dims, _) in _yearly(settings).items()}
    variables |= {name: (("member", "glacier"), out[name][None]) for name in PER_GLACIER}
    if settings.thickness_years:
        variables["ice_thickness"] = (("member", "thickness_year", "pixel"), out["ice_thickness"][None])
    variables |= {name: ("pixel", block[name].values) for name in ("x", "y") if name in block}
    return xr.Dataset(variables)


def tasks(
    glaciers: xr.Dataset,
    years: np.ndarray,
    source: Source,
    *,
    delta_h: xr.Dataset | None = None,
    fallback: str = "huss2010",
    settings: Settings | None = None,
    n_members: int = 1,
) -> dict[tuple[int, int], Delayed]:
    """One task per (member, block); each gives the block's results as a Dataset. Nothing is computed.

    Parameters
    ----------
    glaciers
        packed dataset (``glacier``, ``pixel``).
    years
        (hydro_year,) consecutive hydrological years.
    source
        where the mass balance comes from: :class:`.Prescribed`, :class:`.FromPredictors`, :class:`.FromClimate`.
    delta_h
        own delta-h functions of some glaciers (``glacier``, ``node``), see
        :func:`alpgm_dask.delta_h.functions_for`; None: none.
    fallback
        what stands in for glaciers without.
    settings
        see :class:`alpgm_dask.evolution.Settings`.
    n_members
        climate members.

    Raises
    ------
    InputError
        if years are not consecutive, or a thickness year is not among them.
    """
    years, settings = np.asarray(years), settings or Settings()
    _check_years(years, settings)
    names = [*_NEEDED, *(["inside_outline"] if settings.clip_to_outline else [])]
    own = dask.delayed(delta_h.compute(), pure=True) if delta_h is not None else None
    run = dask.delayed(_run, pure=False)
    call = uuid4().hex
    out = {}
    for block in packing.blocks(glaciers):
        for member in range(n_members):
            # the places of the pixels are the same for every member: only the first one's task hands them on
            places = ["x", "y"] if settings.thickness_years and member == 0 else []
            pixels = glaciers[[*names, *places]].isel(block.region)
            inputs = source.inputs(block, member)
            out[member, block.index] = run(
                pixels, inputs, source.build, own, fallback, years, settings,
                dask_key_name=f"evolve-{member}-{block.index}-{call}",
            )  # fmt: skip
    return out


def _check_years(years: np.ndarray, settings: Settings) -> None:
    if years.size == 0 or (np.diff(years) != 1).any():
        raise InputError(f"hydro_year: {years.tolist()}; allowed: consecutive years, at least one")
    missing = sorted(set(settings.thickness_years) - set(years.tolist()))
    if missing:
        raise InputError(f"thickness_years: {missing}; allowed: years of the run, {years[0]} to {years[-1]}")


def clipped_elevation(glaciers: xr.Dataset) -> xr.DataArray:
    """(``glacier``) mean elevation in m of the ice inside the inventory outline, NaN where there is none; lazy."""
    names = ["row_start", "row_size", "ice_thickness", "surface_elevation", "inside_outline"]
    parts = []
    for block in packing.blocks(glaciers):
        mean = dask.delayed(_mean_inside)(glaciers[names].isel(block.region))
        parts.append(da.from_delayed(mean, (block.glaciers.stop - block.glaciers.start,), "float64"))
    return xr.DataArray(da.concatenate(parts), dims="glacier", name="mean_elevation")


def _mean_inside(block: xr.Dataset) -> np.ndarray:
    block = block.compute(scheduler="synchronous")
    inside = (block["ice_thickness"].values > 0) & (block["inside_outline"].values > 0)
    surface = block["surface_elevation"].values.astype("float64")
    start = block["row_start"].values - int(block["row_start"].values[0])
    rows = [slice(a, a + n) for a, n in zip(start, block["row_size"].values, strict=True)]
    return np.array([surface[r][inside[r]].mean() if inside[r].any() else np.nan for r in rows])


#: Attributes of a glacier that results carry, so that they can be read without another store.
_CARRIED = (
    "rgi_id",
    "glims_id",
    "name",
    "massif",
    "subregion",
    "lon",
    "lat",
    "aspect",
    "epsg",
    "pixel_area",
    "row_start",
    "row_size",
    "x_origin",
    "y_origin",
    "pixel_width",
    "pixel_height",
    "grid_rows",
    "grid_columns",
)


def evolve(
    glaciers: xr.Dataset,
    years: np.ndarray,
    source: Source,
    *,
    members: xr.Dataset | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> xr.Dataset:
    """The results of :func:`tasks` as one lazy Dataset, whose chunks are the blocks.

    Parameters
    ----------
    glaciers, years, source, settings, **options
        as for :func:`tasks`.
    members
        coordinates along ``member`` (member, gcm, rcm, scenario); None: one member called "1".

    Returns
    -------
    Dataset (``member``, ``glacier``, ``hydro_year``) of state and mass balance at the end of each year, (``member``,
    ``glacier``) status, failure, vanished_year and initial state, the attributes of the glaciers, and where asked for
    (``member``, ``thickness_year``, ``pixel``) ice_thickness, extrapolation, and smb_members with ``smb_member``.
    """
    settings = settings or Settings()
    members = members if members is not None else xr.Dataset(coords={"member": ["1"]})
    n_members = members.sizes["member"]
    made = tasks(glaciers, years, source, settings=settings, n_members=n_members, **options)
    return assemble(glaciers, np.asarray(years), members, settings, made)


def assemble(
    glaciers: xr.Dataset,
    years: np.ndarray,
    members: xr.Dataset,
    settings: Settings,
    made: dict[tuple[int, int], Delayed],
) -> xr.Dataset:
    """Lazy results from the tasks that make them, see :func:`evolve`."""
    blocks, n_members = packing.blocks(glaciers), members.sizes["member"]
    per_block = {b.index: b.glaciers.stop - b.glaciers.start for b in blocks}
    n_pixels = int(glaciers.attrs["block_pixels"])
    sizes = {"member": 1, "hydro_year": years.size, "smb_member": settings.smb_members, "pixel": n_pixels}
    sizes["thickness_year"] = len(settings.thickness_years)
    pick = dask.delayed(lambda block, name: block[name].values, pure=False)

    def lazy(name: str, dims: tuple[str, ...], dtype: str) -> tuple[tuple[str, ...], da.Array]:
        def of_block(member: int, block: int) -> da.Array:
            shape = tuple(per_block[block] if dim == "glacier" else sizes[dim] for dim in dims)
            return da.from_delayed(pick(made[member, block], name), shape, dtype)

        axis = dims.index("pixel" if "pixel" in dims else "glacier")
        rows = [da.concatenate([of_block(m, b.index) for b in blocks], axis=axis) for m in range(n_members)]
        return dims, da.concatenate(rows, axis=0)

    out = glaciers[[name for name in _CARRIED if name in glaciers.variables]]
    out = out.drop_vars("x", errors="ignore").assign_coords(members.coords)
    for name, (dims, dtype) in _yearly(settings).items():
        out[name] = lazy(name, dims, dtype)
    for name, dtype in PER_GLACIER.items():
        out[name] = lazy(name, ("member", "glacier"), dtype)
    if settings.smb_members:
        out = out.assign_coords(smb_member=np.arange(settings.smb_members))
    if settings.thickness_years:
        out["ice_thickness"] = lazy("ice_thickness", ("member", "thickness_year", "pixel"), "float64")
        out = out.assign(x=glaciers["x"], y=glaciers["y"])
        out = out.assign_coords(thickness_year=np.array(settings.thickness_years))
    out = out.assign_coords(hydro_year=years)
    out.attrs = {k: glaciers.attrs[k] for k in ("block_glaciers", "block_pixels")}
    return annotate(out)
