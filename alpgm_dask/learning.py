"""What a run learns from and feeds its model with: the training table, the fit, and climate at the glaciers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import evolution, features, forcing, smb, store
from alpgm_dask.config import Config
from alpgm_dask.inputs import Inputs, directly, last_year
from alpgm_dask.inputs.climate import at_last_elevation, choose_points
from alpgm_dask.schema import InputError, annotate, texts
from alpgm_dask.smb.base import balanced_weights
from alpgm_dask.smb.geodetic import geodetic_factors
from alpgm_dask.smb.model_store import make_model


def training_table(inputs: Inputs, config: Config) -> xr.Dataset:
    """Predictors and topography of the observed glaciers, one row per observed year; lazy in the features."""
    observed, predictors = inputs.observations, observed_predictors(inputs, config)
    reference = forcing.reference_climatology(predictors, config.forcing.reference_period)
    return features.training_table(predictors, reference, observed, observed["smb"], inputs.recipe)


def observed_predictors(inputs: Inputs, config: Config) -> xr.Dataset:
    """Predictors at the observed glaciers (``glacier``, ``hydro_year``), lazily; only those that the recipe takes."""
    observed, history = inputs.observations, inputs.history
    if config.forcing.kind == "climate":
        points = choose_points(config, at_last_elevation(observed), history)
        days = forcing.days_of(history, observed["hydro_year"].values)
        how = downscaling_of(inputs, config)
        out = forcing.annual_predictors(days, points, observed["mean_elevation"], downscaling=how)
    else:
        matched = forcing.match_predictors(observed, history, config.forcing.max_distance * 1e3)
        out = history.isel(glacier=matched["row"].values)
    return wanted_predictors(out, inputs.recipe).assign_coords(rgi_id=("glacier", texts(observed["rgi_id"])))


def downscaling_of(inputs: Inputs, config: Config) -> forcing.Downscaling:
    """How climate of a point is brought to a glacier."""
    return config.downscaling.settings(inputs.lapse_rate)


def wanted_predictors(predictors: xr.Dataset, recipe: str) -> xr.Dataset:
    """Without the monthly predictors, if the recipe takes none."""
    return predictors if features.needs_monthly(recipe) else predictors.drop_dims("month", errors="ignore")


def fit(client: Any, table: xr.Dataset, config: Config, folder: Path) -> str:
    """Fit the model of a run on the workers of its cluster, and store it; what came out, in a line.

    The worker that fits also writes, as those that evolve do. A model that offers its parts as tasks (`fit_task`) is
    spread over the workers; the result is the same.

    Parameters
    ----------
    client
        Dask client.
    table
        :func:`training_table`, in memory.
    config
        of the run.
    folder
        where the model goes; one that is there is replaced.
    """
    from dask import delayed

    asked, values = config.smb, table["smb"].values
    model = make_model(asked.model, asked.recipe, asked.settings, asked.seed)
    weight = balanced_weights(values) if asked.sample_weight == "balanced" else None
    rows = {"groups": texts(table["rgi_id"]), "sample_weight": weight}
    extra = {"reference_period": config.forcing.reference_period, "sample_weight": asked.sample_weight}
    keep = (table, str(folder), {"seed": asked.seed, **extra})
    if hasattr(model, "fit_task"):
        task = delayed(_stored, pure=False)(model.fit_task(table["features"], values, **rows), *keep)
    else:
        task = delayed(_fitted_and_stored, pure=False)(model, rows, *keep)
    return client.compute(task, retries=2).result()


def _fitted_and_stored(model: Any, rows: dict[str, Any], table: xr.Dataset, *keep: Any) -> str:
    return _stored(model.fit(table["features"], table["smb"].values, **rows), table, *keep)


def _stored(model: Any, table: xr.Dataset, folder: str, extra: dict[str, Any]) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    smb.save_model(model, folder, smb.model_card(model, table, **extra))
    return in_words(model)


def in_words(model: Any) -> str:
    """What a fitted model is and how well it does on groups that it had not seen inside the fit, in a line."""
    if hasattr(model, "describe"):
        return model.describe()
    held_out = getattr(model, "cv_scores_", {})
    said = f"; glaciers left out: r2 {held_out['r2']:.2f}, rmse {held_out['rmse']:.2f}" if held_out else ""
    return f"{type(model).__name__}{said}"


def climate_at_glaciers(inputs: Inputs, config: Config) -> xr.Dataset:
    """What the year loop needs of the climate, lazily.

    Predictors at the run's glaciers, or their climate points and reference climatology; and the region's climate, if
    the model's recipe takes it.
    """
    asked, glaciers = config.forcing, inputs.glaciers.drop_dims("pixel")
    if asked.kind == "predictors":
        out = forcing.align_predictors(glaciers, *_series(inputs), **_how(config))
    else:
        out = _reference_at_points(inputs, config, glaciers)
    if features.needs_regional(inputs.recipe):
        out["regional_anomaly"] = regional_climate(inputs, config)
    return annotate(out)


def _reference_at_points(inputs: Inputs, config: Config, glaciers: xr.Dataset) -> xr.Dataset:
    """The climate points of glaciers, and the climatology that these have there."""
    period, how = config.forcing.reference_period, downscaling_of(inputs, config)
    points = choose_points(config, glaciers, inputs.history)
    days = forcing.days_of(inputs.history, range(period[0], period[1] + 1))
    predictors = forcing.annual_predictors(days, points, glaciers["mean_elevation"], downscaling=how)
    out = forcing.reference_climatology(wanted_predictors(predictors, inputs.recipe), period)
    out = out.drop_vars([name for name, c in out.coords.items() if c.dims == ("glacier",)])
    return out.assign({name: (array.dims, array.values) for name, array in points.data_vars.items()})


def regional_climate(inputs: Inputs, config: Config) -> xr.DataArray:
    """([``member``,] ``hydro_year``, ``predictor``) anomalies of the region's mean climate in the years of the run.

    Always of the observed glaciers, whichever the run takes, at the elevation of the last inventory.

    Raises
    ------
    InputError
        if it is missing in a year, as it is where the climate of an observed glacier is.
    """
    asked, observed = config.forcing, at_last_elevation(inputs.observations)
    if asked.kind == "predictors":
        out = forcing.regional_from_predictors(observed, *_series(inputs), **_how(config))
    else:
        parts = [part for part in (inputs.history, inputs.projection) if part is not None]
        points = choose_points(config, observed, inputs.history)
        reference = forcing.reference_climatology(observed_predictors(inputs, config), asked.reference_period)
        how = {"weight": points.get("weight"), "downscaling": downscaling_of(inputs, config)}
        out = forcing.regional_from_climate(
            parts, points["point"], observed["mean_elevation"], reference, list(config.years), **how
        )
    out = out.compute()
    missing = out["hydro_year"].values[np.isnan(out).any([dim for dim in out.dims if dim != "hydro_year"]).values]
    if missing.size:
        raise InputError(
            f"{config.catalog}: the climate of an observed glacier is missing in hydrological year {missing[0]}; "
            f"recipe {inputs.recipe!r} takes the mean of all of them; allowed: climate in every year"
        )
    return out


def _series(inputs: Inputs) -> list[xr.Dataset | None]:
    """History and projection with the predictors that the recipe takes."""
    parts = (inputs.history, inputs.projection)
    return [wanted_predictors(part, inputs.recipe) if part is not None else None for part in parts]


def _how(config: Config) -> dict[str, Any]:
    return {
        "years": config.years,
        "reference_period": config.forcing.reference_period,
        "max_distance": config.forcing.max_distance * 1e3,
    }


def handover_at_points(inputs: Inputs, config: Config) -> str:
    """How much warmer the projection's first ten years are than the history's last ten, at the points; in words."""
    if inputs.projection is None:
        return ""
    end = last_year(inputs.history)
    rate = float(np.mean(downscaling_of(inputs, config).lapse_rate))
    means = []
    for climate, years in ((inputs.history, range(end - 9, end + 1)), (inputs.projection, range(end + 1, end + 11))):
        days = forcing.days_of(climate, years)
        if not days.sizes["time"]:
            return ""
        tas = days["tas"].chunk({"time": 1461}).mean([dim for dim in days["tas"].dims if dim != "point"])
        means.append((tas + rate * climate["elevation"]).mean().compute().item())
    return f"; temperature steps by {means[1] - means[0]:+.1f} K where the projection takes over"


def handover(climate: xr.Dataset) -> str:
    """How much the projection's first ten years differ from the history's last ten, in words; nothing without one."""
    if "handover_step" not in climate:
        return ""
    low, middle, high = climate["handover_step"].isel(predictor=0).quantile([0.05, 0.5, 0.95]).values
    spread = f"5-95 %: {low:+.0f} to {high:+.0f}"
    return f"; degree-days step by {middle:+.0f} K day where the projection takes over ({spread})"


def fed_model(inputs: Inputs, config: Config, folder: Path) -> tuple[evolution.Model | None, int]:
    """The model in a run's folder as the tasks take it, and how many members it has; none where smb is prescribed."""
    if config.forcing is None:
        return None, 1
    learned = inputs.model or smb.load_model(folder / "model")
    n_members = len(learned.predict_members(np.zeros((1, len(features.feature_names(learned.recipe))))))
    model = evolution.Model(
        learned.recipe,
        learned.predict_members,
        config.forcing.elevation_feedback,
        getattr(learned, "feature_low_", None),
        getattr(learned, "feature_high_", None),
    )
    if inputs.geodetic is not None:
        model = model.corrected(geodetic_factors(inputs.geodetic))
    return model, n_members


def balance_source(
    inputs: Inputs, config: Config, folder: Path, model: evolution.Model | None
) -> tuple[Any, xr.Dataset]:
    """Where the mass balance of the run comes from, and its climate members."""
    years = np.array(config.years)
    alone = xr.Dataset(coords={"member": np.array(["1"], dtype=object)})
    if model is None:
        return evolution.Prescribed(np.broadcast_to(np.asarray(config.smb.prescribed, "float64"), years.shape)), alone
    climate, projection = store.open_direct(str(folder / "forcing.zarr")), inputs.projection
    members = alone
    if projection is not None and "member" in projection.dims:
        members = xr.Dataset(coords={k: v for k, v in projection.coords.items() if v.dims == ("member",)}).compute()
    if config.forcing.kind == "predictors":
        return evolution.FromPredictors(climate, model), members
    opened = directly(inputs, config)
    parts = [forcing.days_of(p, config.years) for p in (opened.history, opened.projection) if p is not None]
    how = downscaling_of(inputs, config)
    return evolution.FromClimate(tuple(p for p in parts if p.sizes["time"]), climate, model, years, how), members
