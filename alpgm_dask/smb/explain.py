"""What an SMB model goes by: importance of features on held-out groups, and response to climate.

>>> import numpy as np, xarray as xr
>>> from alpgm_dask.features import feature_names
>>> from alpgm_dask.smb import Lasso
>>> rng = np.random.default_rng(0)
>>> X = rng.normal(0.0, 100.0, (60, 11))
>>> table = xr.Dataset(
...     {"features": (("sample", "feature"), X), "smb": ("sample", -0.005 * X[:, 0])},
...     coords={"feature": list(feature_names("standard-seasonal")), "hydro_year": ("sample", np.tile(range(10), 6)),
...             "rgi_id": ("sample", np.repeat(list("abcdef"), 10))},
... )
>>> model = Lasso("standard-seasonal", alphas=(1e-6,))
>>> found = permutation_importance(model, table, "logo", n_repeats=3, inner_splits=2)
>>> (found["rmse_increase"].mean("repeat") > 0.01).sel(feature_group=["degree-days", "elevation"]).values.tolist()
[True, False]
>>> curves = response(model.fit(X, table["smb"]), table)
>>> sensitivity(curves)["slope"].sel(predictor="cpdd", range="positive").round(3).values.tolist()
[-0.5]
"""

from alpgm_dask.smb.importance import feature_groups, importance_task, permutation_importance
from alpgm_dask.smb.response import response, sensitivity

__all__ = ["feature_groups", "importance_task", "permutation_importance", "response", "sensitivity"]
