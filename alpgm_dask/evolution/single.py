"""One glacier given as arrays, under a prescribed mass balance: for tests, notebooks and teaching."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.constants import FLAT_BELOW_AREA
from alpgm_dask.delta_h import check_function
from alpgm_dask.evolution.balance import PrescribedBalance
from alpgm_dask.evolution.block import BlockArrays, State, evolve_block
from alpgm_dask.evolution.settings import Settings
from alpgm_dask.schema import InputError, annotate


def evolve_geometry(
    ice_thickness: np.ndarray,
    surface_elevation: np.ndarray,
    smb: np.ndarray,
    normalized_elevation: np.ndarray,
    delta_h: np.ndarray,
    pixel_area: float,
    *,
    mass_conserving: bool = True,
    flat_below_area: float = FLAT_BELOW_AREA,
) -> xr.Dataset:
    """Thin and retreat one glacier by its delta-h function, year by year.

    Each year ``f = smb n a 1000 / (850 sum(d a))`` and ``h += f d``, with d the delta-h value at the node nearest to a
    pixel's normalized elevation (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020; Huss et al. 2010,
    doi:10.5194/hess-14-815-2010, Eq. 2).

    Parameters
    ----------
    ice_thickness
        (pixel,) m; pixels of 0 or less have no ice and take no part.
    surface_elevation
        (pixel,) m.
    smb
        (hydro_year,) m w.e. of each year.
    normalized_elevation, delta_h
        (node,) nodes of the function (0 top, 1 terminus) and its values (1 where the surface sinks most).
    pixel_area
        m2.
    mass_conserving
        take what a cut pixel could not give from the others (True), or forget it as ALPGM 1.2 does (False).
    flat_below_area
        m2; a smaller glacier thins evenly.

    Returns
    -------
    Dataset over ``hydro_year`` (1, 2, ...; state at the end of each): area (m2), volume (m3), mean_elevation (m),
    max_thickness (m), mass_residual (kg, what was asked for and could not be given); over ``pixel``: the final
    ice_thickness (m, 0 without ice).

    Raises
    ------
    InputError
        if shapes differ, ice or mass balance is not finite, there is no ice, or the function is not one.

    Examples
    --------
    Ten pixels of 100 m2 lose 850 kg m-2: 1 m of ice each.

    >>> import numpy as np
    >>> one = evolve_geometry(np.full(10, 5.0), np.linspace(2500, 2600, 10), [-0.85], [0.0, 1.0], [1.0, 1.0], 100.0)
    >>> float(one.volume[0])
    4000.0
    """
    h, e = np.atleast_1d(np.asarray(ice_thickness, "float64")), np.atleast_1d(np.asarray(surface_elevation, "float64"))
    smb = np.atleast_1d(np.asarray(smb, "float64"))
    nodes, values = np.asarray(normalized_elevation, "float64"), np.asarray(delta_h, "float64")
    _check(h, e, smb, nodes, values, pixel_area)
    block = BlockArrays(
        ice_thickness=h,
        surface_elevation=e,
        surface_slope=np.zeros(h.size),
        flowline_distance=np.full(h.size, np.nan),
        row_start=np.array([0]),
        row_size=np.array([h.size]),
        pixel_area=np.array([float(pixel_area)]),
        normalized_elevation=nodes[None],
        delta_h=values[None],
        n_nodes=np.array([nodes.size]),
    )
    years = np.arange(1, smb.size + 1)
    settings = Settings(mass_conserving=mass_conserving, flat_below_area=flat_below_area)
    out = evolve_block(State.start(block), PrescribedBalance(smb), years, settings)
    yearly = ("area", "volume", "mean_elevation", "max_thickness", "mass_residual")
    return annotate(
        xr.Dataset(
            {
                **{name: ("hydro_year", out[name][0]) for name in yearly},
                "ice_thickness": ("pixel", np.nan_to_num(out["final_thickness"])),
            },
            coords={"hydro_year": years},
        )
    )


def _check(h, e, smb, nodes, values, pixel_area) -> None:
    if h.ndim != 1 or h.shape != e.shape:
        raise InputError(
            f"surface_elevation: shape {e.shape}; allowed: that of ice_thickness, one dimension, {h.shape}"
        )
    if nodes.ndim != 1 or nodes.shape != values.shape or nodes.size == 0:
        raise InputError(
            f"delta_h: shape {values.shape}; allowed: that of normalized_elevation, {nodes.shape}, not empty"
        )
    if not (np.isfinite(h).all() and np.isfinite(e[h > 0]).all()):
        raise InputError("ice_thickness, surface_elevation: not finite inside ice")
    if not (h > 0).any():
        raise InputError(f"ice_thickness: at most {h.max() if h.size else 0:g} m: there is no ice")
    if smb.size == 0:
        raise InputError("smb: empty; allowed: one value or more")
    if not np.isfinite(smb).all():
        raise InputError(f"smb: not finite in year {int(np.flatnonzero(~np.isfinite(smb))[0]) + 1}")
    if not pixel_area > 0:
        raise InputError(f"pixel_area: {pixel_area} m2; allowed: above 0")
    check_function(nodes, values)
