"""One run as frozen, validated data: ``load_config("run.toml")``.

Every field of a run file is used; one that is unknown is refused with the nearest right name. Paths are relative to
the run file.
"""

from __future__ import annotations

import difflib
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from alpgm_dask.constants import FLAT_BELOW_AREA, KM2, REFERENCE_PERIOD
from alpgm_dask.schema import InputError

RecipeName = Literal["standard", "alpgm-1.2", "standard-seasonal", "alpgm-1.2-seasonal"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Glaciers(_Section):
    """Which glaciers: all that meet every condition given."""

    entry: str = Field("glaciers", description="entry of the catalog")
    ids: tuple[str, ...] = Field((), description="identifiers; empty: all")
    massifs: tuple[str, ...] = Field((), description='massif names; ["any"]: every glacier that has one; empty: all')
    subregions: tuple[str, ...] = Field((), description="RGI second-order regions; empty: all")
    bounding_box: tuple[float, float, float, float] | None = Field(
        None, description="west, south, east, north of the centroid, degrees"
    )
    clip_to_outline: bool = Field(False, description="leave out ice outside of the inventory outline")

    @field_validator("bounding_box")
    @classmethod
    def _box(cls, box: tuple[float, float, float, float] | None) -> Any:
        if box is not None and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError("allowed: west < east and south < north")
        return box


class Period(_Section):
    """First and last hydrological year; the glaciers' state is that before the first."""

    start: int
    end: int

    @model_validator(mode="after")
    def _order(self) -> Period:
        if self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self


class Smb(_Section):
    """Where the mass balance comes from: learned from observations and climate, or prescribed."""

    model: Literal["lasso", "prescribed"] = "lasso"
    recipe: RecipeName = Field("standard-seasonal", description="features of the model")
    observations: str = Field("smb_observations", description="entry with observed mass balance")
    prescribed: float | tuple[float, ...] | None = Field(
        None, description="m w.e. per year: one number, or one for each year of the period"
    )

    @model_validator(mode="after")
    def _prescribed(self) -> Smb:
        if (self.model == "prescribed") != (self.prescribed is not None):
            raise ValueError('model = "prescribed" and a value for prescribed go together')
        unused = [name for name in ("recipe", "observations") if name in self.model_fields_set]
        if self.model == "prescribed" and unused:
            raise ValueError(f'{unused[0]} is not used with model = "prescribed"; leave it out')
        return self


class Forcing(_Section):
    """Climate of a learned mass balance."""

    kind: Literal["predictors", "daily"] = Field(description="predictors at glaciers, or daily climate at points")
    history: str = Field(description="entry that the reference climatology and the training are taken from")
    projection: str | None = Field(None, description="entry that follows when the history ends")
    members: tuple[str, ...] = Field((), description="members of the projection; empty: all")
    reference_period: tuple[int, int] = Field(REFERENCE_PERIOD, description="hydrological years, both included")
    elevation_feedback: bool = Field(True, description="whether climate follows the glaciers' changing elevation")
    max_distance: float = Field(20.0, gt=0, description="km from a glacier to where its climate comes from")

    @field_validator("reference_period")
    @classmethod
    def _rising(cls, years: tuple[int, int]) -> tuple[int, int]:
        if years[1] < years[0]:
            raise ValueError("allowed: first year, last year")
        return years

    @model_validator(mode="after")
    def _members(self) -> Forcing:
        if self.members and self.projection is None:
            raise ValueError("members are those of a projection; leave them out, or name a projection")
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members {list(self.members)} name one twice; allowed: each once")
        return self


class DeltaH(_Section):
    """Where delta-h functions come from."""

    entry: str | None = Field(None, description="entry with functions of single glaciers; none: only the fallback")
    fallback: Literal["huss2010", "flat"] = Field("huss2010", description="for glaciers without a function")


class Geometry(_Section):
    """How the geometry evolves."""

    mass_conserving: bool = Field(True, description="false: forget what a cut pixel could not give, as ALPGM 1.2")
    flat_below_area: float = Field(FLAT_BELOW_AREA / KM2, ge=0, description="km2; smaller glaciers thin evenly")
    thickness_years: tuple[int, ...] = Field((), description="years at whose end every pixel's thickness is kept")

    @field_validator("thickness_years")
    @classmethod
    def _rising(cls, years: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(years)):
            raise ValueError("allowed: rising years, each once")
        return years


class Cluster(_Section):
    """Where the work is done."""

    kind: str = Field("local", description='"local", or a scheduler\'s address such as "tcp://10.0.0.1:8786"')
    workers: int = Field(2, ge=1, description="processes of a local cluster, one thread each")
    memory: str = Field("1.5GB", description="limit of each local worker")

    @field_validator("kind")
    @classmethod
    def _kind(cls, kind: str) -> str:
        if kind != "local" and "://" not in kind:
            raise ValueError('allowed: "local" or an address such as "tcp://host:8786"')
        return kind

    @model_validator(mode="after")
    def _of_a_local_cluster(self) -> Cluster:
        if self.kind != "local" and self.model_fields_set & {"workers", "memory"}:
            raise ValueError(
                f'workers and memory are those of a local cluster; leave them out with kind = "{self.kind}"'
            )
        return self

    @field_validator("memory")
    @classmethod
    def _memory(cls, memory: str) -> str:
        from dask.utils import parse_bytes

        try:
            parse_bytes(memory)
        except ValueError as error:
            raise ValueError('allowed: a number and its unit, such as "1.5GB"') from error
        return memory


class Config(_Section):
    """One run: what a run file says."""

    title: str
    catalog: str = Field(description="catalog file, relative to the run file")
    catalog_parameters: dict[str, str] = Field({}, description="values of the catalog's parameters")
    output: str = Field(description="folder of the run, relative to the run file")
    glaciers: Glaciers = Glaciers()
    period: Period
    smb: Smb = Smb()
    forcing: Forcing | None = None
    delta_h: DeltaH = DeltaH()
    geometry: Geometry = Geometry()
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _whole(self) -> Config:
        if self.smb.model != "prescribed" and self.forcing is None:
            raise ValueError(f'[forcing] is missing; smb.model = "{self.smb.model}" needs it')
        if self.smb.model == "prescribed" and self.forcing is not None:
            raise ValueError('[forcing] is not used with smb.model = "prescribed"; leave it out')
        n = self.period.end - self.period.start + 1
        if isinstance(self.smb.prescribed, tuple) and len(self.smb.prescribed) != n:
            raise ValueError(f"smb.prescribed has {len(self.smb.prescribed)} values; allowed: one, or {n}")
        outside = [y for y in self.geometry.thickness_years if not self.period.start <= y <= self.period.end]
        if outside:
            years = f"{self.period.start} to {self.period.end}"
            raise ValueError(f"geometry.thickness_years {outside} are outside of the period; allowed: {years}")
        return self

    @property
    def years(self) -> range:
        """The hydrological years of the run."""
        return range(self.period.start, self.period.end + 1)


def load_config(path: str | Path, **overrides: str) -> Config:
    """Read and check a run file.

    Parameters
    ----------
    path
        a TOML file.
    **overrides
        values for ``catalog`` or ``output`` that replace the file's, relative to the working directory.

    Raises
    ------
    InputError
        naming file, field, value and what is allowed.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: there is no such run file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_say(e)}" for e in error.errors())) from None
    resolved = {
        key: _resolve(Path(), overrides[key]) if overrides.get(key) else _resolve(path.parent, getattr(config, key))
        for key in ("catalog", "output")
    }
    return config.model_copy(update=resolved)


def _resolve(folder: Path, location: str) -> str:
    return location if "://" in location else str((folder / location).resolve())


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names that a section of the run file may have."""
    model: Any = Config
    for part in location:
        annotation = model.model_fields[part].annotation
        model = next(
            (t for t in (annotation, *getattr(annotation, "__args__", ())) if hasattr(t, "model_fields")), None
        )
        if model is None:
            return []
    return list(model.model_fields)


def _say(error: Any) -> str:
    """One validation error in the words of the project."""
    *section, name = error["loc"] or ("",)
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(tuple(section))
        near = difflib.get_close_matches(str(name), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
        return f"unknown field {where!r} ({hint})"
    if error["type"] == "missing":
        return f"field {where!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    given = f" (given {error['input']!r})" if where and not isinstance(error["input"], dict) else ""
    return f"{where}: {message}{given}" if where else message
