"""The table of contents: what ``alpgm run`` does, one short function per stage, open -> compute -> save."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from alpgm_dask import evolution, features, forcing, results, smb, store
from alpgm_dask.catalog import open_catalog
from alpgm_dask.cluster import connect
from alpgm_dask.config import Config
from alpgm_dask.constants import KM2
from alpgm_dask.delta_h import sources
from alpgm_dask.inputs import Inputs, open_inputs
from alpgm_dask.packing import blocks
from alpgm_dask.schema import FAILURE, STATUS, InputError, texts
from alpgm_dask.stages import STAGES, Stages, inputs_fingerprint

Say = Callable[[str], None]


@dataclass
class Run:
    """One run under way: its configuration, opened inputs, Dask client, and the stages done so far."""

    config: Config
    inputs: Inputs
    client: Any
    stages: Stages

    @property
    def folder(self) -> Path:
        return Path(self.config.output)

    @property
    def learned(self) -> bool:
        return self.config.forcing is not None

    @cached_property
    def key(self) -> str:
        """Fingerprint of all inputs."""
        return self.stages.key(inputs_fingerprint(self.inputs.urls))


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
    n = inputs.glaciers.sizes["glacier"]
    say(f"{config.title}: {n} glaciers in {len(blocks(inputs.glaciers))} blocks, {len(config.years)} years")
    with connect(config.cluster.kind, workers=config.cluster.workers, memory=config.cluster.memory) as client:
        say(f"Dask dashboard: {client.dashboard_link}")
        one = Run(config, inputs, client, stages)
        upstream = [one.key]
        if one.learned:
            upstream = [fit(one, train(one)), force_glaciers(one)]
        key = evolve(one, upstream, resume=resume, overwrite=overwrite)
    draw(one, key)
    return one.folder


def train(one: Run) -> str:
    """Stage 1: predictors and topography of the observed glaciers, one row per observed year."""
    product = one.folder / "training.zarr"
    asked = one.config.forcing
    key = one.stages.key("training", one.key, one.config.smb.recipe, asked.kind, asked.history, asked.reference_period)

    def make() -> str:
        observed, recipe = one.inputs.observations, one.config.smb.recipe
        predictors = observed_predictors(observed, one.inputs.history, one.config)
        reference = forcing.reference_climatology(predictors, asked.reference_period)
        table = features.training_table(predictors, reference, observed, observed["smb"], recipe)
        store.write(table, str(product), overwrite=True, attrs=store.provenance("training table", **one.inputs.urls))
        years = table["hydro_year"].values
        return (
            f"{table.sizes['sample']} observations of {observed.sizes['glacier']} glaciers, {years.min()}-{years.max()}"
        )

    return one.stages.do("training", key, product, make)


def observed_predictors(observed: xr.Dataset, history: xr.Dataset, config: Config) -> xr.Dataset:
    """Predictors at the observed glaciers (``glacier``, ``hydro_year``), lazily; only those that the recipe takes."""
    limit = config.forcing.max_distance * 1e3
    if config.forcing.kind == "daily":
        points = forcing.nearest_points(
            observed.assign(mean_elevation=observed["mean_elevation"][:, -1]), history, limit
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


def fit(one: Run, trained: str) -> str:
    """Stage 2: the SMB model, with its card."""
    product = one.folder / "model"
    key = one.stages.key("smb", trained, one.config.smb.model_dump())

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

    return one.stages.do("smb", key, product, make)


def force_glaciers(one: Run) -> str:
    """Stage 3: what the year loop needs of the climate, at every glacier of the run."""
    product = one.folder / "forcing.zarr"
    config, asked = one.config, one.config.forcing
    settings = [config.glaciers.model_dump(), config.period.model_dump(), config.smb.recipe, asked.model_dump()]
    key = one.stages.key("forcing", one.key, settings)

    def make() -> str:
        glaciers = one.inputs.glaciers.drop_dims("pixel")
        out = climate_at_glaciers(glaciers, one.inputs, config)
        distance = out["forcing_distance"].values / 1e3
        out = out.chunk(dict.fromkeys(out.dims, -1) | {"glacier": glaciers.attrs["block_glaciers"]})
        out = out.chunk(member=1) if "member" in out.dims else out
        out.attrs = {}
        store.write(out, str(product), overwrite=True, attrs=store.provenance("forcing of a run", **one.inputs.urls))
        far = f"{np.median(distance):.1f} km away, at most {distance.max():.1f}"
        return f"{asked.kind} for {distance.size} glaciers, {far}"

    return one.stages.do("forcing", key, product, make)


def climate_at_glaciers(glaciers: xr.Dataset, inputs: Inputs, config: Config) -> xr.Dataset:
    """Predictors (kind predictors), or climate point and reference climatology (kind daily), lazily."""
    asked = config.forcing
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
    if not one.learned:
        return evolution.Prescribed(np.broadcast_to(np.asarray(config.smb.prescribed, "float64"), years.shape)), alone
    learned = smb.load_model(one.folder / "model")
    model = evolution.Model(learned.recipe, learned.predict_members, config.forcing.elevation_feedback)
    climate, projection = store.open_store(str(one.folder / "forcing.zarr")), one.inputs.projection
    members = alone
    if projection is not None and "member" in projection.dims:
        members = xr.Dataset(coords={k: v for k, v in projection.coords.items() if v.dims == ("member",)}).compute()
    if config.forcing.kind == "predictors":
        return evolution.FromPredictors(climate, model), members
    given = [part for part in (one.inputs.history, projection) if part is not None]
    parts = [forcing.days_of(part, config.years) for part in given]
    return evolution.FromDaily(tuple(p for p in parts if p.sizes["time"]), climate, model, years), members


def evolve(one: Run, upstream: list[str], *, resume: bool, overwrite: bool) -> str:
    """Stage 4: every glacier year by year; the workers that make a block write it."""
    config, product = one.config, one.folder / "results.zarr"
    settings = [config.glaciers, config.period, config.smb, config.delta_h, config.geometry]
    key = one.stages.key("evolution", upstream, [s.model_dump() for s in settings])
    if "evolution" not in one.stages.force:
        check_results(str(product), key, resume=resume, overwrite=overwrite)

    def make() -> str:
        source, members = balance_source(one)
        geometry = config.geometry
        how = evolution.Settings(
            mass_conserving=geometry.mass_conserving,
            flat_below_area=geometry.flat_below_area * KM2,
            clip_to_outline=config.glaciers.clip_to_outline,
            thickness_years=geometry.thickness_years,
        )
        glaciers, years = one.inputs.glaciers, np.array(config.years)
        options = {"delta_h": one.inputs.delta_h, "fallback": config.delta_h.fallback, "settings": how}
        made = evolution.tasks(glaciers, years, source, n_members=members.sizes["member"], **options)
        if not (resume and store.exists(str(product))):
            template = evolution.assemble(glaciers, years, members, how, made)
            prime_results(template, str(product), one, key)
        failed = write_blocks(one.client, made, glaciers, str(product))
        store.finish(str(product), {"failed_blocks": len(failed)})
        if failed:
            raise BlocksFailedError(failed)
        ok = store.open_store(str(product))["status"].values
        words = {STATUS[code]: int((ok == code).sum()) for code in np.unique(ok)}
        return f"{len(made)} blocks; " + ", ".join(f"{n} {word}" for word, n in words.items())

    return one.stages.do("evolution", key, product, make)


class BlocksFailedError(RuntimeError):
    """Blocks that failed after all retries; the others are written, and ``--resume`` does these again."""

    def __init__(self, failed: dict[tuple[int, int], str]) -> None:
        lines = [f"member {m}, block {b}: {why}" for (m, b), why in list(failed.items())[:5]]
        super().__init__(f"{len(failed)} blocks failed; run again with --resume\n" + "\n".join(lines))


def check_results(product: str, key: str, *, resume: bool, overwrite: bool) -> None:
    """Refuse results that exist and are not those of this run, or are unfinished, unless told what to do.

    Raises
    ------
    InputError
        naming the store and the options.
    """
    if not store.exists(product):
        return
    attrs = store.attributes(product)
    if not attrs.get("primed"):
        store.remove(product)
        return
    same = attrs.get("fingerprint") == key
    finished = bool(attrs.get("complete")) and not attrs.get("failed_blocks")
    if overwrite and not (same and finished):
        store.remove(product)
    elif not same:
        raise InputError(
            f"{product}: made from other inputs, settings or code; allowed: --overwrite, or another output"
        )
    elif not finished and not resume:
        raise InputError(f"{product}: the results are not finished; allowed: --resume or --overwrite")


def prime_results(template: xr.Dataset, product: str, one: Run, key: str) -> None:
    """Write everything but what the blocks will fill."""
    for name in ("ice_thickness", "smb", "smb_spread", "cpdd", "winter_snowfall", "summer_snowfall", "tongue_slope"):
        if name in template:
            template[name] = template[name].astype("float32")
    attributes = [name for name, v in template.variables.items() if v.dims == ("glacier",)]
    template.update(template[attributes].compute())
    own, kind = one.inputs.delta_h, one.config.delta_h.fallback
    template["delta_h_source"] = ("glacier", sources(template["rgi_id"].values, own, kind))
    template.attrs |= store.provenance(one.config.title, **one.inputs.urls)
    template.attrs |= {"fingerprint": key, "run": one.config.model_dump_json(), "featureType": "timeSeries"}
    ledger = {"member": template.sizes["member"], "block": len(blocks(one.inputs.glaciers))}
    store.prime(template, product, overwrite=True, ledger=ledger)


def write_blocks(
    client: Any, made: dict[tuple[int, int], Any], glaciers: xr.Dataset, product: str
) -> dict[tuple[int, int], str]:
    """Make and write the blocks that the ledger lacks, whole members first; what failed for good, and why."""
    from dask import delayed
    from distributed import as_completed
    from tqdm import tqdm

    layout = {block.index: block for block in blocks(glaciers)}
    futures = {}
    for member, index in store.pending(product):
        region = {"member": slice(member, member + 1), **layout[index].region}
        task = delayed(store.write_block)(made[member, index], product, region, (member, index))
        futures[client.compute(task, retries=2, priority=-member)] = (member, index)
    failed = {}
    for future in tqdm(as_completed(futures), total=len(futures), unit="block", desc="evolution", mininterval=0.5):
        if future.status == "error":
            member, index = futures[future]
            failed[member, index] = f"{type(future.exception()).__name__}: {future.exception()}"
            mark_failed(product, {"member": slice(member, member + 1), "glacier": layout[index].glaciers})
        future.release()
    return failed


def mark_failed(product: str, region: dict[str, slice]) -> None:
    """Say in the results that the glaciers of a block failed with it."""
    shape = tuple(s.stop - s.start for s in region.values())
    codes = {"status": STATUS.index("failed"), "failure": FAILURE.index("block_error")}
    marks = {name: (("member", "glacier"), np.full(shape, code, dtype="int8")) for name, code in codes.items()}
    store.write_block(xr.Dataset(marks), product, region)


def draw(one: Run, evolved: str) -> str:
    """Stage 5: pictures of the results."""
    product = one.folder / "figures"
    key = one.stages.key("figures", evolved)

    def make() -> str:
        return ", ".join(
            str(path) for path in save_figures(store.open_store(str(one.folder / "results.zarr")), product)
        )

    return one.stages.do("figures", key, product, make)


def save_figures(results: xr.Dataset, folder: Path) -> list[Path]:
    """Draw the pictures of a run and save them; their paths."""
    from alpgm_dask import plots

    folder.mkdir(parents=True, exist_ok=True)
    makers = {"region": plots.plot_region, "remaining_ice": plots.plot_remaining_ice, "smb": plots.plot_smb}
    return [plots.save(make(results), folder / f"{name}.png") for name, make in makers.items()]


def compare(folder: Path, catalog: Path) -> str:
    """Simulated against observed change of area, as text, by massif.

    Parameters
    ----------
    folder
        of the run.
    catalog
        that has an entry ``inventories``.

    Raises
    ------
    InputError
        if there are no finished results, no such entry, or no inventory of the run's years.
    """
    found = store.open_store(str(folder / "results.zarr"))
    table = results.against_inventory(found, open_catalog(catalog).read("inventories"))
    return "area, km2, and its change, percent\n" + table.to_string(float_format="{:.1f}".format)


def report(folder: Path, *, draw: bool = False) -> str:
    """What came out of a run, as text: a table by massif or subregion, what failed and why, where the pictures are.

    Parameters
    ----------
    folder
        of the run.
    draw
        whether pictures are drawn again.

    Raises
    ------
    InputError
        if there are no finished results.
    """
    found = store.open_store(str(folder / "results.zarr"))
    table = results.summary(found)
    lines = [str(found.attrs.get("title", folder)), "", results.as_text(table), ""]
    lost = results.failures(found)
    if len(lost):
        lines += [f"failed ({len(lost)}):", lost.head(20).to_string(index=False), ""]
    if found.attrs.get("failed_blocks"):
        lines += [f"{found.attrs['failed_blocks']} blocks failed; run again with --resume", ""]
    figures = save_figures(found, folder / "figures") if draw else sorted((folder / "figures").glob("*.png"))
    return "\n".join([*lines, f"results:  {folder / 'results.zarr'}", *(f"picture:  {path}" for path in figures)])
