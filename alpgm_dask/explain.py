"""What ``alpgm explain`` does: what the SMB model of a run goes by, and how it answers to climate, beside a Lasso."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from alpgm_dask import pipeline, plots
from alpgm_dask.config import Config
from alpgm_dask.schema import texts
from alpgm_dask.smb import explain as science
from alpgm_dask.smb.base import balanced_weights
from alpgm_dask.smb.model_store import make_model

Say = Callable[[str], None]

#: Folder of explanations in that of the run.
FOLDER = "explanations"

#: Outer folds of the importance: as many fits of the model as there are folds.
FOLDS = 10


def explain(config: Config, *, scheme: str = "logo", say: Say = print) -> Path:
    """Importance of features on held-out groups, and responses to climate under static geometry.

    Parameters
    ----------
    config
        from :func:`alpgm_dask.config.load_config`.
    scheme
        what is held out for the importance, see :func:`alpgm_dask.smb.folds.scheme_folds`.
    say
        where progress goes, line by line.

    Returns
    -------
    The folder ``explanations`` of the run: importance.csv, response.csv, sensitivity.csv and two figures.

    Raises
    ------
    InputError
        where the run fits no model, or as :func:`alpgm_dask.smb.explain.permutation_importance`.
    """
    pipeline.refuse_unfitted(config)
    with pipeline.training_session(config, say) as (client, table, of_run):
        say(f"importance: {scheme}, {FOLDS} folds; response: all rows ...")
        asked = config.smb
        model = make_model(asked.model, asked.recipe, asked.settings, asked.seed)
        importance, fitted = tasks(model, table, config, scheme)
        found, models = client.gather(client.compute([importance, fitted], retries=2))
    curves = science.response(models, table, others=others_of(table))
    folder = of_run / FOLDER
    write(found, curves, folder)
    say(f"explanations: {folder}")
    return folder


def tasks(model: Any, table: xr.Dataset, config: Config, scheme: str) -> tuple[Any, Any]:
    """Lazily: the importance of features, and the model beside a Lasso, each fitted on all rows."""
    from dask import delayed

    validation = config.validation
    how = {"years": validation.years, "inner_splits": validation.inner_splits, "seed": validation.seed}
    importance = science.importance_task(model, table, scheme, n_splits=FOLDS, **how)
    smb, groups = table["smb"].values, texts(table["rgi_id"])
    weight = balanced_weights(smb) if config.smb.sample_weight == "balanced" else None
    together = {model.kind: model} | {"lasso": make_model("lasso", config.smb.recipe)}
    fit = delayed(lambda one, features: one.fit(features, smb, groups=groups, sample_weight=weight), pure=False)
    return importance, {name: fit(delayed(one, traverse=False), table["features"]) for name, one in together.items()}


def others_of(table: xr.Dataset) -> str:
    """What the other climate does while one anomaly moves: months go with their season, seasons stand alone."""
    monthly = any("monthly" in str(name) for name in table["feature"].values)
    return "regression" if monthly else "zero"


def write(importance: xr.Dataset, curves: xr.Dataset, folder: Path) -> None:
    """Tables and figures."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"importance": importance, "response": curves, "sensitivity": science.sensitivity(curves)}
    for name, table in tables.items():
        table.to_dataframe().reset_index().to_csv(folder / f"{name}.csv", index=False)
    plots.save(plots.plot_importance(importance), folder / "importance.png")
    plots.save(plots.plot_response(curves), folder / "response.png")
