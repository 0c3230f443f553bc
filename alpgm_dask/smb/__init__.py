"""Models of annual glacier-wide surface mass balance: scikit-learn regressors that predict without scikit-learn.

The contract of a model: `fit(X, y, groups=None)`, `predict(X) -> (row,)`, `predict_members(X) -> (smb_member, row)`,
`recipe` (which features, :data:`alpgm_dask.features.RECIPES`), `kind` (its name on disk), `to_arrays()` and
`from_arrays(arrays, card)`. A fitted or loaded model holds plain arrays and is cheap to send to workers.
"""

from alpgm_dask.smb.lasso import Lasso
from alpgm_dask.smb.model_store import load_model, model_card, save_model, table_fingerprint

__all__ = ["Lasso", "load_model", "model_card", "save_model", "table_fingerprint"]
