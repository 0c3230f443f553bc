"""The real training table of the French Alps, from the data beside the checkout, in the form of our own tables."""

from pathlib import Path

import numpy as np
import xarray as xr

from alpgm_dask.features import feature_names, needs_regional

#: Columns of ALPGM's matrix that are climate; the others are topography.
CLIMATE = np.r_[0:3, 10:34]


def training_matrix(shared: Path, recipe: str = "alpgm-1.2") -> xr.Dataset:
    """``training_matrix.npz`` as a training table, for the recipes of the family "alpgm-1.2"."""
    with np.load(shared / "data/safran_glaciers/training_matrix.npz", allow_pickle=False) as given:
        X, smb = given["X"], given["y"]
    glacier, year = np.nonzero(np.isfinite(smb))
    seasonal = "seasonal" in recipe
    own = X[..., :10] if seasonal else X
    columns = [own[glacier, year]]
    if needs_regional(recipe):
        climate = CLIMATE[:3] if seasonal else CLIMATE
        columns.append(X[:, :, climate].mean(axis=0)[year])
    return xr.Dataset(
        {"features": (("sample", "feature"), np.concatenate(columns, axis=1)), "smb": ("sample", smb[glacier, year])},
        coords={
            "feature": list(feature_names(recipe)),
            "rgi_id": ("sample", np.array([f"glacier {k:02d}" for k in glacier])),
            "hydro_year": ("sample", year + 1959),
        },
        attrs={"recipe": recipe},
    )
