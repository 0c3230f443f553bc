"""What ``alpgm validate`` does: folds on the cluster, kept as they finish, then predictions, scores and figures."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from alpgm_dask import pipeline, smb, store
from alpgm_dask.config import Config
from alpgm_dask.schema import InputError
from alpgm_dask.smb import scoring, validation
from alpgm_dask.smb.model_store import make_model
from alpgm_dask.source_code import code_fingerprint

Say = Callable[[str], None]

#: What a folder of a validation is known by, and the folder of all of them in that of the run.
CARD, FOLDER = "validation.json", "validation"

#: Times that a fold is tried again, on whatever worker.
RETRIES = 2


class FoldsFailedError(RuntimeError):
    """Folds that failed after all retries; the others are kept, and are not done again."""

    def __init__(self, failed: dict[str, str]) -> None:
        lines = [f"{name}: {why}" for name, why in list(failed.items())[:5]]
        super().__init__(f"{len(failed)} folds failed; run again for these alone\n" + "\n".join(lines))


@dataclass(frozen=True)
class Job:
    """One model under one scheme: its folds, where they are kept, and the fingerprint they are kept under."""

    folder: Path
    name: str
    model: Any
    plan: validation.Plan
    key: str
    n_folds: int

    def part(self, fold: int) -> Path:
        return self.folder / f"fold-{fold:03d}.npz"

    def missing(self) -> list[int]:
        """Folds that are not there, or were made under another fingerprint."""
        return [k for k in range(self.n_folds) if load_part(self.part(k), self.key) is None]


def validate(
    config: Config,
    *,
    schemes: Sequence[str] = (),
    models: Sequence[str] = (),
    protocol: str = "nested",
    overwrite: bool = False,
    say: Say = print,
) -> Path:
    """Cross-validate the SMB model of a run, and others on the same table.

    Folds are tasks: each is written when it is done, and is not done again while data, settings and code are the
    same. The numbers do not depend on the number of workers.

    Parameters
    ----------
    config
        from :func:`alpgm_dask.config.load_config`.
    schemes
        what is held out; empty: those of the run file.
    models
        names of models; empty: the run's own and those of ``validation.models``.
    protocol
        "nested", or "published": the epoch is chosen on the test fold, and everything is labelled so.
    overwrite
        replace validations that were made from other inputs, settings or code.
    say
        where progress goes, line by line.

    Returns
    -------
    The folder ``validation`` of the run, with scores.csv (the schemes and models of this call) and one folder for each
    scheme and model: predictions.csv, scores.csv, scores_by_glacier.csv, scores_by_year.csv, reliability.csv,
    folds.csv, figures.

    Raises
    ------
    InputError
        before any fold starts: nothing to validate, unknown schemes or models, a model without the protocol, too few
        groups, results that are not to be touched.
    FoldsFailedError
        if folds failed for good.
    """
    pipeline.refuse_unfitted(config)
    unfitted = models_of(config, models)
    with pipeline.training_session(config, say) as (client, table, folder):
        found = jobs(config, table, schemes or config.validation.schemes, unfitted, protocol)
        for job in found:
            claim(job, overwrite=overwrite)
        run_folds(client, found, table)
    return write_all(found, table, folder / FOLDER, say)


def models_of(config: Config, names: Sequence[str] = ()) -> dict[str, Any]:
    """Unfitted models by name: the run's own with the settings of the run file, others with their defaults."""
    asked, out = config.smb, {}
    for name in names or (asked.model, *config.validation.models):
        settings = dict(asked.settings) if name == asked.model else {}
        out[name] = make_model(name, asked.recipe, settings, asked.seed)
    return out


def jobs(config: Config, table: xr.Dataset, schemes: Sequence[str], models: dict[str, Any], protocol: str) -> list[Job]:
    """All that is to be validated, checked: every scheme with every model, in the order given."""
    asked, out = config.validation, []
    given = {"years": asked.years, "inner_splits": asked.inner_splits, "seed": asked.seed}
    data, code = smb.table_fingerprint(table), [code_fingerprint("smb"), code_fingerprint("kernels")]
    labels = {name: values.tolist() for name, values in validation.row_labels(table).items()}
    for scheme in dict.fromkeys(schemes):
        plan = validation.Plan(scheme, **given, protocol=protocol, weights=config.smb.sample_weight)
        for name, model in models.items():
            # built and thrown away: what is refused is refused now, not after hours of another model
            n_folds = len(validation.fold_tasks(model, table, plan))
            folder = Path(config.output) / FOLDER / f"{scheme}-{name}{'' if protocol == 'nested' else f'-{protocol}'}"
            key = store.digest([data, labels, asdict(plan), name, repr(model), code])
            out.append(Job(folder, name, model, plan, key, n_folds))
    return out


def claim(job: Job, *, overwrite: bool) -> None:
    """Make the folder of a job, or take over the one that is there.

    Raises
    ------
    InputError
        if it holds something else, or a validation of other inputs, settings or code and `overwrite` is not set.
    """
    card = job.folder / CARD
    if job.folder.exists() and any(job.folder.iterdir()):
        if not card.exists():
            raise InputError(f"{job.folder}: exists and is no validation; allowed: another output")
        if json.loads(card.read_text()).get("key") != job.key:
            if not overwrite:
                raise InputError(f"{job.folder}: made from other inputs, settings or code; allowed: --overwrite")
            shutil.rmtree(job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)
    about = {"key": job.key, "model": job.name, "settings": repr(job.model), "plan": asdict(job.plan)}
    about |= {"folds": job.n_folds, "note": validation.PROTOCOLS[job.plan.protocol], **store.provenance("validation")}
    with replacing(card) as temporary:
        temporary.write_text(json.dumps(about, indent=1, default=str))


def run_folds(client: Any, found: Sequence[Job], table: xr.Dataset) -> None:
    """Do the folds that are missing, those of all jobs together, and write each as it is done.

    Raises
    ------
    InputError
        what a fold refused.
    FoldsFailedError
        after all others are written.
    """
    from distributed import as_completed
    from tqdm import tqdm

    futures: dict[Any, tuple[Job, int]] = {}
    for rank, job in enumerate(found):
        missing = job.missing()
        tasks = validation.fold_tasks(job.model, table, job.plan) if missing else []
        asked = client.compute([tasks[k] for k in missing], retries=RETRIES, priority=-rank) if missing else []
        futures |= dict(zip(asked, [(job, k) for k in missing], strict=True))
    failed: dict[str, str] = {}
    if futures:
        for future in tqdm(as_completed(futures), total=len(futures), unit="fold", desc="validation", mininterval=0.5):
            job, fold = futures[future]
            if future.status == "finished":
                save_part(job.part(fold), future.result(), job.key)
            elif isinstance(future.exception(), InputError):
                raise InputError(f"{job.folder.name}, fold {fold}: {future.exception()}") from future.exception()
            else:
                error = future.exception()
                failed[f"{job.folder.name}, fold {fold}"] = f"{type(error).__name__}: {error}"
            future.release()
    if failed:
        raise FoldsFailedError(failed)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of another only once it is whole."""
    temporary = path.with_name(f".{path.name}")
    yield temporary
    temporary.replace(path)


def save_part(path: Path, part: dict[str, Any], key: str) -> None:
    """Write what a fold gave: plain arrays and the fingerprint they were made under."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, key=np.array(key), **{name: np.asarray(value) for name, value in part.items()})


def load_part(path: Path, key: str) -> dict[str, Any] | None:
    """What :func:`save_part` wrote; None if it is not there, is damaged or has another fingerprint."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            part = {name: value if value.ndim else value.item() for name, value in arrays.items()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return part if part.pop("key", None) == key else None


def write_all(found: Sequence[Job], table: xr.Dataset, folder: Path, say: Say) -> Path:
    """Tables and figures of every job from its parts, and the scores of all of them in one table."""
    tables = []
    for job in found:
        parts = [load_part(job.part(k), job.key) for k in range(job.n_folds)]
        tables.append(write_job(job, validation.assemble(table, parts)))
        say(f"validation: {job.folder}")
    scores = pd.concat(tables, ignore_index=True)
    with replacing(folder / "scores.csv") as temporary:
        scores.to_csv(temporary, index=False)
    say(f"\n{scoring.as_text(scores)}")
    return folder


def write_job(job: Job, predictions: xr.Dataset) -> pd.DataFrame:
    """Tables and figures of one scheme and model; its pooled scores."""
    from alpgm_dask import plots

    seed, outer = job.plan.seed, ["n_train", "seconds", "chosen"]
    scores = scoring.score_table(predictions, seed=seed)
    tables = {
        "predictions": predictions.drop_vars([*outer, "outer_fold"]).to_dataframe().assign(protocol=job.plan.protocol),
        "scores": scores,
        "scores_by_glacier": scoring.scores_by(predictions, "glacier", seed=seed),
        "scores_by_year": scoring.scores_by(predictions, "year", seed=seed),
        "folds": predictions[outer].to_dataframe().rename_axis("fold").reset_index(),
    }
    figures = {
        "scatter": plots.plot_scatter,
        "cumulative": plots.plot_cumulative,
        "error_by_magnitude": plots.plot_error_by_magnitude,
    }
    if scoring.has_intervals(predictions):
        tables["reliability"] = scoring.reliability(predictions, seed=seed).reset_index()
        figures["reliability"] = plots.plot_reliability
    for name, table in tables.items():
        with replacing(job.folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    for name, plot in figures.items():
        plots.save(plot(predictions), job.folder / f"{name}.png")
    return scores
