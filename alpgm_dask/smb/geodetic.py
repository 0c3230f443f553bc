"""Mass balance corrected to what repeated surveys of a glacier's surface say, glacier by glacier and only once.

ALPGM (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020, as coded in version 1.2) multiplies the negative annual balances
of a glacier with the ratio of its geodetic balance (ASTER, 2000-2016, Davaze et al. 2020,
doi:10.3389/feart.2020.00149) to its simulated mean of 2001-2015; on one of its paths it does so twice. Here a series
that was corrected says so, and is refused a second time; in a run, :meth:`alpgm_dask.evolution.Model.corrected` does
the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from alpgm_dask.kernels.balance import scale_losses
from alpgm_dask.schema import InputError, texts

#: Attribute of a mass balance that was corrected.
FLAG = "geodetic_correction"


def geodetic_factors(table: xr.Dataset, where: str = "geodetic") -> dict[str, float]:
    """rgi_id -> factor of negative balances, from a table of corrections.

    Parameters
    ----------
    table
        rgi_id, geodetic_factor (``glacier``).
    where
        the store, for messages.

    Raises
    ------
    InputError
        for a glacier that stands twice, and for factors that are no positive numbers.
    """
    ids, values = texts(table["rgi_id"]), table["geodetic_factor"].values.astype("float64")
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{where}: rgi_id {str(unique[count > 1][0])!r} stands {count.max()} times; allowed: once")
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise InputError(
            f"{where}: variable 'geodetic_factor' is {values[bad[0]]} at glacier {str(ids[bad[0]])!r}; "
            "allowed: positive numbers"
        )
    return dict(zip(ids.tolist(), values.tolist(), strict=True))


def correct(smb: xr.DataArray, factors: Mapping[str, float]) -> xr.DataArray:
    """Annual balances with the negative ones of each glacier times its factor; lazy.

    Parameters
    ----------
    smb
        (..., ``glacier``, ...) m w.e., with rgi_id (``glacier``).
    factors
        rgi_id -> factor, from :func:`geodetic_factors` or :func:`fit_factors`; other glaciers stay as they are.

    Returns
    -------
    DataArray as `smb`, with an attribute that says that it is corrected.

    Raises
    ------
    InputError
        if it was corrected before.

    >>> smb = xr.DataArray([[-1.0, 0.5]], dims=("glacier", "hydro_year"), coords={"rgi_id": ("glacier", ["G1"])})
    >>> once = correct(smb, {"G1": 0.6})
    >>> once.values.tolist()
    [[-0.6, 0.5]]
    >>> correct(once, {"G1": 0.6})
    Traceback (most recent call last):
    ...
    alpgm_dask.schema.InputError: smb: corrected already (geodetic_correction: 1 glaciers); allowed: once
    """
    if FLAG in smb.attrs:
        raise InputError(f"{smb.name or 'smb'}: corrected already ({FLAG}: {smb.attrs[FLAG]}); allowed: once")
    ids = texts(smb["rgi_id"])
    factor = xr.DataArray(np.array([factors.get(rgi_id, 1.0) for rgi_id in ids]), dims="glacier")
    corrected = xr.apply_ufunc(scale_losses, smb, factor, dask="parallelized", output_dtypes=[smb.dtype])
    flag = f"{sum(rgi_id in factors for rgi_id in ids)} glaciers"
    return corrected.transpose(*smb.dims).assign_attrs({**smb.attrs, FLAG: flag}).rename(smb.name)


def fit_factors(smb: xr.DataArray, balance: xr.DataArray) -> dict[str, float]:
    """rgi_id -> the factor that brings a simulation's mean to the geodetic balance, exactly.

    ``factor = (n * balance - sum of the gains) / sum of the losses`` over the n years of the simulation. ALPGM's own
    factors are the ratio of the means and belong to its published reconstruction; another model needs its own.

    Parameters
    ----------
    smb
        (``glacier``, ``hydro_year``) m w.e., simulated over the years of the surveys, with rgi_id (``glacier``).
    balance
        (``glacier``) m w.e. per year, the geodetic balance of the same glaciers.

    Returns
    -------
    Glaciers without losses, or for which no positive factor would do, are left out.

    >>> smb = xr.DataArray([[-2.0, 1.0]], dims=("glacier", "hydro_year"), coords={"rgi_id": ("glacier", ["G1"])})
    >>> fit_factors(smb, xr.DataArray([-0.25], dims="glacier"))
    {'G1': 0.75}
    """
    values = smb.transpose("glacier", "hydro_year").values
    gains, losses = np.clip(values, 0, None).sum(axis=1), np.clip(values, None, 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (values.shape[1] * balance.values - gains) / losses
    fit = np.isfinite(factor) & (factor > 0)
    return dict(zip(texts(smb["rgi_id"])[fit].tolist(), factor[fit].tolist(), strict=True))
