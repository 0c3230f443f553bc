"""Models of annual glacier-wide surface mass balance: scikit-learn regressors that predict without scikit-learn.

The contract of a model: `fit(X, y, groups=None, folds=None, sample_weight=None)`, `predict(X) -> (row,)`,
`predict_members(X) -> (smb_member, row)`, `predict_interval(X, level) -> (2, row)`, `recipe` (which features,
:data:`alpgm_dask.features.RECIPES`), `kind` (its name on disk), `to_arrays()` and `from_arrays(arrays, card)`. What a
model chooses it chooses on held-out groups inside its training rows (:mod:`.folds`). A fitted or loaded model holds
plain arrays and is cheap to send to workers.

Models: :mod:`.process` (Gaussian process, the default), :mod:`.lasso`, :mod:`.neural_network`, :mod:`.tree_ensemble`,
:mod:`.ensemble` (several of them, stacked), :mod:`.published` (those of ALPGM). How good they are:
:mod:`.validation`, :mod:`.scoring`; what they go by: :mod:`.explain`; on disk: :mod:`.model_store`.
"""

from alpgm_dask.smb.ensemble import Ensemble
from alpgm_dask.smb.lasso import Lasso
from alpgm_dask.smb.model_store import load_model, make_model, model_card, save_model, table_fingerprint
from alpgm_dask.smb.neural_network import NeuralNetwork
from alpgm_dask.smb.process import GaussianProcess
from alpgm_dask.smb.published import load_published
from alpgm_dask.smb.tree_ensemble import TreeEnsemble
from alpgm_dask.smb.validation import cross_validate

__all__ = [
    "Ensemble",
    "GaussianProcess",
    "Lasso",
    "NeuralNetwork",
    "TreeEnsemble",
    "cross_validate",
    "load_model",
    "load_published",
    "make_model",
    "model_card",
    "save_model",
    "table_fingerprint",
]
