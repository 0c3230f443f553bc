"""The table of contents: what ``alpgm run`` does, one short function per stage, open -> compute -> save."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import evolution, features, forcing, smb, store
from alpgm_dask.cluster import connect
from alpgm_dask.config import Config
from alpgm_dask.constants import KM2
from alpgm_dask.inputs import Inputs, open_inputs
from alpgm_dask.outputs import BlocksFailedError, check_results, prime_results, write_blocks
from alpgm_dask.packing import blocks
from alpgm_dask.report import save_figures
from alpgm_dask.schema import STATUS, InputError, texts
from alpgm_dask.stages import RESULTS, STAGES, Stages, code_fingerprint, inputs_fingerprint

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One run under way: its configuration, opened inputs, stages, their keys, and the Dask client."""

    config: Config
    inputs: Inputs
    stages: Stages
    keys: dict[str, str]
    client: Any

    @property
    def folder(self) -> Path:
        return Path(self.config.output)


def keys_of(config: Config, inputs: Inputs, stages: Stages) -> dict[str, str]:
    """Fingerprint of every stage: of its settings, its inputs' data, the stages before it, and the code."""
    data = inputs_fingerprint(inputs.urls)
    whole = config.model_dump()
    if config.forcing is None:
        upstream: list[Any] = [data]
    else:
        climate = whole["forcing"]
        learned_from = [climate[name] for name in ("kind", "history", "reference_period", "max_distance")]
        training = stages.key("training", data, whole["smb"]["recipe"], learned_from)
        model = stages.key("smb", training, whole["smb"])
        forced = stages.key("forcing", data, whole["glaciers"], whole["period"], whole["smb"]["recipe"], climate)
        upstream = [training, model, forced]
    settings = [whole[name] for name in ("glaciers", "period", "smb", "delta_h", "geometry")]
    evolved = stages.key("evolution", upstream, settings)
    drawn = stages.key("figures", evolved, code_fingerprint("plots"))
    names = ("training", "smb", "forcing") if config.forcing is not None else ()
    return {**dict(zip(names, upstream, strict=False)), "evolution": evolved, "figures": drawn}


def run(
    config: Config, *, resume: bool = False, overwrite: bool = False, force: Collection[str] = (), say: Say = print
) -> Path:
    """Do what a run file says: training table, SMB model, forcing, evolution, figures.

    Parameters
    ----------
    config
        from :func:`alpgm_dask.config.load_config`.
    resume
        go on with an unfinished results store: blocks in its ledger are not done again.
    overwrite
        replace a results store that was made from other inputs, settings or code, or was not finished.
    force
        stages to do again though nothing changed; "evolution" replaces the results.
    say
        where progress goes, line by line.

    Returns
    -------
    The run's folder.

    Raises
    ------
    InputError
        before any work starts, if an input cannot serve or there are results that are not to be touched.
    """
    unknown = [name for name in force if name not in STAGES]
    if unknown:
        raise InputError(f"--force: unknown stage {unknown[0]!r}; allowed: {', '.join(STAGES)}")
    inputs = open_inputs(config)
    stages = Stages(Path(config.output), force, say)
    keys = keys_of(config, inputs, stages)
    if "evolution" in force:
        resume = False  # to do it again is not to go on with what is there
    else:
        check_results(str(Path(config.output) / RESULTS), keys["evolution"], resume=resume, overwrite=overwrite)
    n = inputs.glaciers.sizes["glacier"]
    say(f"{config.title}: {n} glaciers in {len(blocks(inputs.glaciers))} blocks, {len(config.years)} years")
    with connect(config.cluster.kind, workers=config.cluster.workers, memory=config.cluster.memory) as client:
        say(f"Dask dashboard: {client.dashboard_link}")
        one = Run(config, inputs, stages, keys, client)
        if config.forcing is not None:
            train(one)
            fit(one)
            force_glaciers(one)
        evolve(one, resume=resume)
    draw(one)
    return one.folder


def train(one: Run) -> None:
    """Stage 1: predictors and topography of the observed glaciers, one row per observed year."""
    product = one.folder / "training.zarr"

    def make() -> str:
        observed, recipe = one.inputs.observations, one.config.smb.recipe
        predictors = observed_predictors(observed, one.inputs.history, one.config)
        reference = forcing.reference_climatology(predictors, one.config.forcing.reference_period)
        table = features.training_table(predictors, reference, observed, observed["smb"], recipe)
        store.write(table, str(product), overwrite=True, attrs=store.provenance("training table", **one.inputs.urls))
        years = table["hydro_year"].values
        return (
            f"{table.sizes['sample']} observations of {observed.sizes['glacier']} glaciers, {years.min()}-{years.max()}"
        )

    one.stages.do("training", one.keys["training"], product, make)


def observed_predictors(observed: xr.Dataset, history: xr.Dataset, config: Config) -> xr.Dataset:
    """Predictors at the observed glaciers (``glacier``, ``hydro_year``), lazily; only those that the recipe takes."""
    limit = config.forcing.max_distance * 1e3
    if config.forcing.kind == "daily":
        points = forcing.nearest_points(
            observed.assign(mean_elevation=observed["mean_elevation"].isel(hydro_year=-1)), history, limit
        )
        out = forcing.annual_predictors(history, points["point"], observed["mean_elevation"])
    else:
        out = history.isel(glacier=forcing.match_predictors(observed, history, limit)["row"].values)
    return wanted_predictors(out, config).assign_coords(rgi_id=("glacier", texts(observed["rgi_id"])))


def wanted_predictors(predictors: xr.Dataset, config: Config) -> xr.Dataset:
    """Without the monthly predictors, if the recipe takes none."""
    if features.needs_monthly(config.smb.recipe):
        return predictors
    return predictors.drop_dims("month", errors="ignore")


def fit(one: Run) -> None:
    """Stage 2: the SMB model, with its card."""
    product = one.folder / "model"

    def make() -> str:
        table = store.open_store(str(one.folder / "training.zarr")).load()
        groups = texts(table["rgi_id"])
        model = smb.Lasso(recipe=one.config.smb.recipe).fit(table["features"], table["smb"].values, groups=groups)
        shutil.rmtree(product, ignore_errors=True)
        smb.save_model(
            model, product, smb.model_card(model, table, reference_period=one.config.forcing.reference_period)
        )
        held_out = model.cv_scores_
        return (
            f"Lasso, alpha {model.alpha_:.2g}; glaciers left out: r2 {held_out['r2']:.2f}, rmse {held_out['rmse']:.2f}"
        )

    one.stages.do("smb", one.keys["smb"], product, make)


def force_glaciers(one: Run) -> None:
    """Stage 3: what the year loop needs of the climate, at every glacier of the run."""
    product = one.folder / "forcing.zarr"
    config, asked = one.config, one.config.forcing

    def make() -> str:
        glaciers = one.inputs.glaciers.drop_dims("pixel")
        out = climate_at_glaciers(glaciers, one.inputs, config)
        distance = out["forcing_distance"].values / 1e3
        out = out.chunk(dict.fromkeys(out.dims, -1) | {"glacier": glaciers.attrs["block_glaciers"]})
        out = out.chunk(member=1) if "member" in out.dims else out
        out.attrs = {}
        store.write(out, str(product), overwrite=True, attrs=store.provenance("forcing of a run", **one.inputs.urls))
        step = handover(store.open_store(str(product)))
        where = "its own rows" if not distance.any() else f"climate from up to {distance.max():.1f} km away"
        return f"{asked.kind} for {distance.size} glaciers, {where}{step}"

    one.stages.do("forcing", one.keys["forcing"], product, make)


def handover(climate: xr.Dataset) -> str:
    """How much the projection's first ten years differ from the history's last ten, in words; nothing without one."""
    if "handover_step" not in climate:
        return ""
    low, middle, high = climate["handover_step"].isel(predictor=0).quantile([0.05, 0.5, 0.95]).values
    spread = f"5-95 %: {low:+.0f} to {high:+.0f}"
    return f"; degree-days step by {middle:+.0f} K day where the projection takes over ({spread})"


def climate_at_glaciers(glaciers: xr.Dataset, inputs: Inputs, config: Config) -> xr.Dataset:
    """Predictors (kind predictors), or climate point and reference climatology (kind daily), lazily."""
    asked = config.forcing
    if config.glaciers.clip_to_outline:
        clipped = evolution.clipped_elevation(inputs.glaciers).compute()
        glaciers = glaciers.assign(mean_elevation=clipped.fillna(glaciers["mean_elevation"]))
    if asked.kind == "predictors":
        return forcing.align_predictors(
            glaciers,
            wanted_predictors(inputs.history, config),
            wanted_predictors(inputs.projection, config) if inputs.projection is not None else None,
            years=config.years,
            reference_period=asked.reference_period,
            max_distance=asked.max_distance * 1e3,
        )
    points = forcing.nearest_points(glaciers, inputs.history, asked.max_distance * 1e3)
    predictors = forcing.annual_predictors(inputs.history, points["point"], glaciers["mean_elevation"])
    reference = forcing.reference_climatology(wanted_predictors(predictors, config), asked.reference_period)
    return reference.drop_vars("rgi_id", errors="ignore").assign(
        point=("glacier", points["point"].values), forcing_distance=("glacier", points["forcing_distance"].values)
    )


def balance_source(one: Run) -> tuple[Any, xr.Dataset]:
    """Where the mass balance of the run comes from, and its members."""
    config, years = one.config, np.array(one.config.years)
    alone = xr.Dataset(coords={"member": np.array(["1"], dtype=object)})
    if config.forcing is None:
        return evolution.Prescribed(np.broadcast_to(np.asarray(config.smb.prescribed, "float64"), years.shape)), alone
    learned = smb.load_model(one.folder / "model")
    model = evolution.Model(learned.recipe, learned.predict_members, config.forcing.elevation_feedback)
    climate, projection = store.open_direct(str(one.folder / "forcing.zarr")), one.inputs.projection
    members = alone
    if projection is not None and "member" in projection.dims:
        members = xr.Dataset(coords={k: v for k, v in projection.coords.items() if v.dims == ("member",)}).compute()
    if config.forcing.kind == "predictors":
        return evolution.FromPredictors(climate, model), members
    given = [store.open_direct(one.inputs.urls[config.forcing.history])]
    if projection is not None:
        later = store.open_direct(one.inputs.urls[config.forcing.projection])
        given.append(later.sel(member=projection["member"].values) if "member" in later.dims else later)
    parts = [forcing.days_of(part, config.years) for part in given]
    return evolution.FromDaily(tuple(p for p in parts if p.sizes["time"]), climate, model, years), members


def evolve(one: Run, *, resume: bool) -> None:
    """Stage 4: every glacier year by year; the workers that make a block write it."""
    config, product = one.config, one.folder / RESULTS

    def make() -> str:
        source, members = balance_source(one)
        geometry = config.geometry
        how = evolution.Settings(
            mass_conserving=geometry.mass_conserving,
            flat_below_area=geometry.flat_below_area * KM2,
            clip_to_outline=config.glaciers.clip_to_outline,
            thickness_years=geometry.thickness_years,
        )
        glaciers, years = glaciers_to_evolve(one), np.array(config.years)
        options = {"delta_h": one.inputs.delta_h, "fallback": config.delta_h.fallback, "settings": how}
        made = evolution.tasks(glaciers, years, source, n_members=members.sizes["member"], **options)
        if not (resume and store.exists(str(product))):
            template = evolution.assemble(glaciers, years, members, how, made)
            prime_results(template, str(product), config, one.inputs, one.keys["evolution"])
        failed = write_blocks(one.client, made, glaciers, str(product))
        store.finish(str(product), {"failed_blocks": len(failed)})
        if failed:
            raise BlocksFailedError(failed)
        ok = store.open_store(str(product))["status"].values
        words = {STATUS[code]: int((ok == code).sum()) for code in np.unique(ok)}
        return f"{len(made)} blocks; " + ", ".join(f"{n} {word}" for word, n in words.items())

    one.stages.do("evolution", one.keys["evolution"], product, make)


def glaciers_to_evolve(one: Run) -> xr.Dataset:
    """The glaciers of the run as tasks read them: straight from their store if the run takes all of it."""
    chosen = one.inputs.glaciers
    everything = store.open_direct(one.inputs.urls[one.config.glaciers.entry])
    return everything if everything.sizes["glacier"] == chosen.sizes["glacier"] else chosen


def draw(one: Run) -> None:
    """Stage 5: pictures of the results."""
    product = one.folder / "figures"

    def make() -> str:
        return ", ".join(str(path) for path in save_figures(store.open_store(str(one.folder / RESULTS)), product))

    one.stages.do("figures", one.keys["figures"], product, make)
