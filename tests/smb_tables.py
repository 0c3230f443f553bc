"""Training tables made of a known law, for tests of the SMB models."""

from __future__ import annotations

import numpy as np
import xarray as xr

from alpgm_dask.constants import KM2
from alpgm_dask.demo import smb_law
from alpgm_dask.features import feature_names

RECIPE = "standard-seasonal"


def law_table(n_glaciers: int = 12, n_years: int = 20, noise: float = 0.05, seed: int = 0) -> xr.Dataset:
    """The demo region's law (not linear in degree-days) plus noise; position and elevation do nothing in it."""
    rng = np.random.default_rng(seed)
    shape, names = (n_glaciers, n_years), feature_names(RECIPE)
    value = {name: rng.normal(0.0, 1.0, (n_glaciers, 1)) * np.ones(shape) for name in names}
    value["cpdd_anomaly"] = rng.uniform(-400.0, 600.0, shape)
    value["winter_snowfall_anomaly"] = rng.normal(0.0, 150.0, shape)
    value["summer_snowfall_anomaly"] = rng.normal(0.0, 60.0, shape)
    value["tongue_slope"] = 20.0 + 5.0 * value["tongue_slope"]
    value["area"] = 10.0 ** (0.4 * value["area"])
    climate = [value[f"{name}_anomaly"] for name in ("cpdd", "winter_snowfall", "summer_snowfall")]
    smb = smb_law(*climate, value["tongue_slope"], value["area"] * KM2) + rng.normal(0.0, noise, shape)
    return xr.Dataset(
        {
            "features": (("sample", "feature"), np.stack([value[name].ravel() for name in names], axis=-1)),
            "smb": ("sample", smb.ravel()),
        },
        coords={
            "feature": list(names),
            "rgi_id": ("sample", np.repeat([f"RGI60-11.{i:05d}" for i in range(n_glaciers)], n_years)),
            "hydro_year": ("sample", np.tile(np.arange(1990, 1990 + n_years), n_glaciers)),
        },
    )
