"""Blocks of glaciers x climate members x variants as one lazy graph: a task reads, evolves and returns a block."""

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
from alpgm_dask.evolution.block import YEARLY, BlockArrays, State, evolve_block
from alpgm_dask.evolution.settings import Settings
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


def _variables(settings: Settings) -> dict[str, tuple[tuple[str, ...], str]]:
    """What a task gives -> its dimensions and type."""
    glacier_year = (*settings.run_dims, "glacier", "hydro_year")
    out = dict.fromkeys(YEARLY, (glacier_year, "float64"))
    if settings.extrapolation:
        out["extrapolation"] = (glacier_year, "uint8")
    if settings.smb_members:
        out["smb_members"] = ((*settings.run_dims, "smb_member", "glacier", "hydro_year"), "float32")
    out |= {name: ((*settings.run_dims, "glacier"), dtype) for name, dtype in PER_GLACIER.items()}
    if settings.thickness_years:
        out["ice_thickness"] = ((*settings.run_dims, "thickness_year", "pixel"), "float64")
    return out


def block_arrays(
    block: xr.Dataset, functions: xr.Dataset, settings: Settings, thickness_factor: float = 1.0
) -> BlockArrays:
    """One loaded block (``glacier``, ``pixel``) and its delta-h functions as the arrays that kernels take."""
    # in the type that it is stored with: as if the stored thickness had been multiplied, and by 1 to the same bits
    thickness = block["ice_thickness"].values * thickness_factor
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
    variant: tuple[float, float],
) -> xr.Dataset:
    """Evolve one block (``glacier``, ``pixel``) under one member; what is not loaded yet is read here.

    `variant` is what ice thickness is multiplied with, and the spreads that delta-h functions are shifted by.
    """
    block, (factor, shift) = block.compute(scheduler="synchronous"), variant
    state = State.start(block_arrays(block, functions_for(block, own, kind, shift), settings, factor))
    balance = build(inputs, block, state.mean_elevation.copy())
    out, lead = evolve_block(state, balance, years, settings), (None,) * len(settings.run_dims)
    variables: dict[str, Any] = {name: (dims, out[name][lead]) for name, (dims, _) in _variables(settings).items()}
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
) -> dict[tuple[int, ...], Delayed]:
    """One task per (member, block), and variant between them; each gives a block's results. Nothing is computed.

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

    Returns
    -------
    Position along :attr:`Settings.run_dims`, then the block's number -> its results as a Dataset.

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
        pixels = glaciers[names].isel(block.region)
        # the places of the pixels are the same in every run: only the first one's task hands them on
        first = glaciers[[*names, "x", "y"]].isel(block.region) if settings.thickness_years else pixels
        for member in range(n_members):
            inputs = source.inputs(block, member)
            for at, factor, shift in settings.variants():
                entry = (member, *at, block.index)
                out[entry] = run(
                    pixels if any(entry[:-1]) else first,
                    inputs, source.build, own, fallback, years, settings, (factor, shift),
                    dask_key_name=f"evolve-{'-'.join(map(str, entry))}-{call}",
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
    (``member``, ``thickness_year``, ``pixel``) ice_thickness, extrapolation, and smb_members with ``smb_member``. What
    `settings` varies stands as ``thickness_factor`` and ``delta_h_shift`` after ``member``.
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
    made: dict[tuple[int, ...], Delayed] | None = None,
) -> xr.Dataset:
    """Lazy results from the tasks that make them, see :func:`evolve`; None: empty ones, for a store that tasks fill."""
    blocks = packing.blocks(glaciers)
    chunks = {"hydro_year": (years.size,), "pixel": (int(glaciers.attrs["block_pixels"]),) * len(blocks)}
    chunks |= {"smb_member": (settings.smb_members,), "thickness_year": (len(settings.thickness_years),)}
    chunks |= {"glacier": tuple(b.glaciers.stop - b.glaciers.start for b in blocks)}
    runs = [members.sizes["member"], *(len(values) for values in settings.varied.values())]
    chunks |= {dim: (1,) * n for dim, n in zip(settings.run_dims, runs, strict=True)}
    pick = dask.delayed(lambda block, name: block[name].values, pure=False)

    def lazy(name: str, dims: tuple[str, ...], dtype: str) -> tuple[tuple[str, ...], da.Array]:
        if made is None:
            return dims, da.empty([sum(chunks[d]) for d in dims], dtype=dtype, chunks=tuple(chunks[d] for d in dims))
        axis = dims.index("pixel" if "pixel" in dims else "glacier")

        def part(*at: int) -> da.Array:
            """The results at a position along the first dimensions of the tasks; what stands further in is joined."""
            if len(at) > len(runs):
                shape = tuple(chunks[d][at[-1] if i == axis else 0] for i, d in enumerate(dims))
                return da.from_delayed(pick(made[at], name), shape, dtype)
            n = [*runs, len(blocks)][len(at)]
            return da.concatenate([part(*at, i) for i in range(n)], axis=len(at) if len(at) < len(runs) else axis)

        return dims, part()

    out = glaciers[[name for name in _CARRIED if name in glaciers.variables]]
    out = out.drop_vars("x", errors="ignore").assign_coords(members.coords)
    out = out.assign({name: lazy(name, dims, dtype) for name, (dims, dtype) in _variables(settings).items()})
    out = out.assign_coords({name: np.array(values) for name, values in settings.varied.items()})
    if settings.smb_members:
        out = out.assign_coords(smb_member=np.arange(settings.smb_members))
    if settings.thickness_years:
        out = out.assign(x=glaciers["x"], y=glaciers["y"])
        out = out.assign_coords(thickness_year=np.array(settings.thickness_years))
    out = out.assign_coords(hydro_year=years)
    out.attrs = {k: glaciers.attrs[k] for k in ("block_glaciers", "block_pixels")}
    return annotate(out)
