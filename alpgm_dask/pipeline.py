"""The table of contents: what ``alpgm run`` does, one short function per stage, open -> compute -> save."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import evolution, forcing, learning, store, surveys
from alpgm_dask.cluster import connect
from alpgm_dask.config import Config
from alpgm_dask.constants import KM2
from alpgm_dask.inputs import Inputs, directly, open_inputs
from alpgm_dask.outputs import BlocksFailedError, check_results, outcome, prime_results, write_blocks
from alpgm_dask.packing import blocks
from alpgm_dask.report import save_figures
from alpgm_dask.schema import InputError
from alpgm_dask.source_code import code_fingerprint
from alpgm_dask.stages import RESULTS, STAGES, Stages, inputs_fingerprint

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
    data, whole = inputs_fingerprint(inputs.urls), config.model_dump()
    upstream: dict[str, Any] = {}
    if config.forcing is not None:
        climate, observed = whole["forcing"], config.smb.observations
        learned_from = [data.get(entry) for entry in (observed, climate["history"])]
        if inputs.model is None:
            how = [climate[name] for name in ("kind", "reference_period", "max_distance", "interpolation")]
            how += [whole["downscaling"], inputs.lapse_rate]
            upstream["training"] = stages.key("training", learned_from, inputs.recipe, how)
            fitted = [whole["smb"][name] for name in ("model", "recipe", "settings", "sample_weight", "seed")]
            upstream["smb"] = stages.key("smb", upstream["training"], fitted)
        driven = [*learned_from, *(data.get(entry) for entry in (climate["projection"], config.glaciers.entry))]
        where = [whole["glaciers"], whole["period"], inputs.recipe, climate, whole["downscaling"], inputs.lapse_rate]
        if config.forcing.adjustment != "none":
            how = [climate[name] for name in ("members", "adjustment", "adjustment_period", "reference_period")]
            taken = {role: points.tolist() for role, points in inputs.points.items()}
            upstream["adjustment"] = stages.key("adjustment", driven[1:3], taken, how)
        upstream["forcing"] = stages.key("forcing", driven, where, upstream.get("adjustment"))
    if config.delta_h.elevation_models is not None:
        taken = [data[entry] for entry in (config.delta_h.elevation_models, config.glaciers.entry)]
        how = [whole["delta_h"][name] for name in ("method", "plausible")]
        upstream["delta_h"] = stages.key("delta_h", taken, whole["glaciers"], how, code_fingerprint("plots"))
    settings = [whole[name] for name in ("glaciers", "period", "smb", "delta_h", "geometry", "ensemble")]
    evolved = stages.key("evolution", data, upstream, settings)
    drawn = stages.key("figures", evolved, code_fingerprint("plots"))
    return {**upstream, "evolution": evolved, "figures": drawn}


def run(
    config: Config, *, resume: bool = False, overwrite: bool = False, force: Collection[str] = (), say: Say = print
) -> Path:
    """Do what a run file says: training table, SMB model, forcing, delta-h functions, evolution, figures.

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
    stages = replace(stages, planned=tuple(name for name in STAGES if name in keys))
    if "evolution" in force:
        resume = False  # to do it again is not to go on with what is there
    else:
        check_results(str(Path(config.output) / RESULTS), keys["evolution"], resume=resume, overwrite=overwrite)
    n = inputs.glaciers.sizes["glacier"]
    say(f"{config.title}: {n} glaciers in {len(blocks(inputs.glaciers))} blocks, {len(config.years)} years")
    with connect(**config.cluster.model_dump(), say=say) as client:
        say(f"Dask dashboard: {client.dashboard_link}")
        one = Run(config, inputs, stages, keys, client)
        if "training" in keys:
            train(one)
            fit(one)
        if "adjustment" in keys:
            one = adjust(one)
        if "forcing" in keys:
            force_glaciers(one)
        if "delta_h" in keys:
            one = fit_delta_h(one)
        evolve(one, resume=resume)
    draw(one)
    return one.folder


def refuse_unfitted(config: Config) -> None:
    """Refuse a run that fits no model (InputError): there is nothing in it to prove or to explain."""
    if config.smb.model in ("prescribed", "stored"):
        raise InputError(f'smb.model = "{config.smb.model}" is not fitted here; allowed: a model that is')


@contextmanager
def training_session(config: Config, say: Say) -> Iterator[tuple[Any, xr.Dataset, Path]]:
    """A Dask client, the training table of a run in memory, and the run's folder, for what a run does not do itself."""
    inputs = open_inputs(config)
    stages = Stages(Path(config.output), (), say)
    with connect(**config.cluster.model_dump(), say=say) as client:
        say(f"Dask dashboard: {client.dashboard_link}")
        one = Run(config, inputs, stages, keys_of(config, inputs, stages), client)
        train(one)
        yield client, store.open_store(str(one.folder / "training.zarr")).load(), one.folder


def train(one: Run) -> None:
    """Stage 1: predictors and topography of the observed glaciers, one row per observed year."""
    product = one.folder / "training.zarr"

    def make() -> str:
        table = learning.training_table(directly(one.inputs, one.config), one.config)
        store.write(table, str(product), overwrite=True, attrs=store.provenance("training table", **one.inputs.urls))
        years, glaciers = table["hydro_year"].values, one.inputs.observations.sizes["glacier"]
        return f"{table.sizes['sample']} observations of {glaciers} glaciers, {years.min()}-{years.max()}"

    one.stages.do("training", one.keys["training"], product, make)


def fit(one: Run) -> None:
    """Stage 2: the SMB model, with its card."""
    product = one.folder / "model"

    def make() -> str:
        table = store.open_store(str(one.folder / "training.zarr")).load()
        return learning.fit(one.client, table, one.config, product)

    one.stages.do("smb", one.keys["smb"], product, make)


def adjust(one: Run) -> Run:
    """Stage 3, on request: projections adjusted to the history; the run goes on with those."""
    product, asked = one.folder / "projection.zarr", one.config.forcing

    def make() -> str:
        history = one.inputs.history
        # its own elevation is a part of the bias that is taken away
        places = {name: history[name] for name in ("elevation", "lon", "lat")}
        projection = one.inputs.projection.assign_coords(places)
        adjusted = forcing.quantile_delta_mapping(projection, history, period=asked.common_period)
        attrs = store.provenance("projections adjusted to the history", **one.inputs.urls)
        store.write(adjusted.astype("float32"), str(product), overwrite=True, attrs=attrs)
        first, last = asked.common_period
        return f"quantile delta mapping of {adjusted.sizes['point']} points, {first}-{last}"

    one.stages.do("adjustment", one.keys["adjustment"], product, make)
    return replace(one, inputs=replace(one.inputs, projection=store.open_direct(str(product))))


def force_glaciers(one: Run) -> None:
    """Stage 4: what the year loop needs of the climate, at every glacier of the run."""
    product = one.folder / "forcing.zarr"

    def make() -> str:
        out = learning.climate_at_glaciers(directly(one.inputs, one.config), one.config)
        distance = out["forcing_distance"].values / 1e3
        out = out.chunk(dict.fromkeys(out.dims, -1) | {"glacier": one.inputs.glaciers.attrs["block_glaciers"]})
        out = out.chunk(member=1) if "member" in out.dims else out
        out.attrs = {}
        attrs = store.provenance("forcing of a run", **one.inputs.urls)
        if one.config.forcing.kind == "climate":
            rates = learning.downscaling_of(one.inputs, one.config).lapse_rates
            attrs |= {"lapse_rate": json.dumps(rates.tolist())}
        store.write(out, str(product), overwrite=True, attrs=attrs)
        step = learning.handover(store.open_store(str(product)))
        if one.config.forcing.kind == "climate":
            step = learning.handover_at_points(directly(one.inputs, one.config), one.config)
            if one.inputs.lapse_rate is not None:
                low, high = (1e3 * rate for rate in (min(one.inputs.lapse_rate), max(one.inputs.lapse_rate)))
                step += f"; lapse rates of the months from the data: {low:.1f} to {high:.1f} K km-1"
        where = "its own rows" if not distance.any() else f"climate from up to {distance.max():.1f} km away"
        return f"{one.config.forcing.kind} for {distance.size} glaciers, {where}{step}"

    one.stages.do("forcing", one.keys["forcing"], product, make)


def fit_delta_h(one: Run) -> Run:
    """Stage 5, on request: functions fitted to two surveys, and what stands in elsewhere; the run goes on with them."""
    product, asked = one.folder / "delta_h.zarr", one.config.delta_h

    def make() -> str:
        surveyed = store.open_direct(one.inputs.urls[asked.elevation_models])
        found = surveys.save_functions(
            surveyed,
            one.inputs.glaciers.drop_dims("pixel"),
            str(product),
            method=asked.method,
            plausible=asked.plausible,
            attrs=store.provenance("delta-h functions", **one.inputs.urls),
        )
        surveys.draw_functions(surveyed, found, one.folder / "figures" / "delta_h")
        return surveys.outcome(found)

    one.stages.do("delta_h", one.keys["delta_h"], product, make)
    return replace(one, inputs=replace(one.inputs, delta_h=store.open_store(str(product))))


def evolve(one: Run, *, resume: bool) -> None:
    """Stage 6: every glacier year by year; the workers that make a block write it."""
    config, product = one.config, one.folder / RESULTS

    def make() -> str:
        model, smb_members = learning.fed_model(one.inputs, config, one.folder)
        source, members = learning.balance_source(one.inputs, config, one.folder, model)
        how = evolution.Settings(
            mass_conserving=config.geometry.mass_conserving,
            flat_below_area=config.geometry.flat_below_area * KM2,
            clip_to_outline=config.glaciers.clip_to_outline,
            thickness_years=config.geometry.thickness_years,
            smb_members=smb_members if config.smb.keep_members else 0,
            extrapolation=model is not None and model.low is not None,
            thickness_factors=config.ensemble.thickness_factors,
            delta_h_shifts=config.ensemble.delta_h_shifts,
        )
        glaciers, years = glaciers_to_evolve(one), np.array(config.years)
        options = {"delta_h": one.inputs.delta_h, "fallback": config.delta_h.fallback, "settings": how}
        made = evolution.tasks(glaciers, years, source, n_members=members.sizes["member"], **options)
        if not (resume and store.exists(str(product))):
            template = evolution.assemble(glaciers, years, members, how)
            prime_results(template, str(product), config, one.inputs, one.keys["evolution"])
        failed = write_blocks(one.client, made, glaciers, str(product), how)
        store.finish(str(product), {"failed_blocks": len(failed)})
        if failed:
            raise BlocksFailedError(failed)
        return f"{len(made)} blocks; {outcome(store.open_store(str(product)))}"

    one.stages.do("evolution", one.keys["evolution"], product, make)


def glaciers_to_evolve(one: Run) -> xr.Dataset:
    """The glaciers of the run as tasks read them: straight from their store if the run takes all of it."""
    chosen = one.inputs.glaciers
    everything = store.open_direct(one.inputs.urls[one.config.glaciers.entry])
    return everything if everything.sizes["glacier"] == chosen.sizes["glacier"] else chosen


def draw(one: Run) -> None:
    """Stage 7: pictures of the results."""
    product = one.folder / "figures"

    def make() -> str:
        return ", ".join(str(path) for path in save_figures(store.open_store(str(one.folder / RESULTS)), product))

    one.stages.do("figures", one.keys["figures"], product, make)
