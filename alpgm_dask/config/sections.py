"""The sections of a run file that say which glaciers, when, under which climate, how, and where."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from alpgm_dask import cluster, forcing
from alpgm_dask.constants import FLAT_BELOW_AREA, KM2, LAPSE_RATE, REFERENCE_PERIOD
from alpgm_dask.delta_h.screening import PLAUSIBLE


class Section(BaseModel):
    """Part of a run file: frozen, and nothing in it that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Glaciers(Section):
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


class Period(Section):
    """First and last hydrological year; the glaciers' state is that before the first."""

    start: int
    end: int

    @model_validator(mode="after")
    def _order(self) -> Period:
        if self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self


class Forcing(Section):
    """Climate of a learned mass balance."""

    kind: Literal["predictors", "climate"] = Field(
        description="yearly predictors at glaciers, or daily or monthly climate at points"
    )
    history: str = Field(description="entry that the reference climatology and the training are taken from")
    projection: str | None = Field(None, description="entry that follows when the history ends")
    members: tuple[str, ...] = Field((), description="members of the projection; empty: all")
    reference_period: tuple[int, int] = Field(REFERENCE_PERIOD, description="hydrological years, both included")
    elevation_feedback: bool = Field(True, description="whether climate follows the glaciers' changing elevation")
    max_distance: float = Field(20.0, gt=0, description="km from a glacier to where its climate comes from")
    interpolation: Literal["nearest", "bilinear"] = Field("nearest", description="between the cells of a grid")
    adjustment: Literal["none", "quantile_delta_mapping"] = Field(
        "none", description="whether projections are adjusted to the history, point by point"
    )
    adjustment_period: tuple[int, int] | None = Field(
        None, description="hydrological years that history and projection have in common; none: the reference period"
    )

    @field_validator("reference_period", "adjustment_period")
    @classmethod
    def _rising(cls, years: tuple[int, int] | None) -> tuple[int, int] | None:
        if years is not None and years[1] < years[0]:
            raise ValueError("allowed: first year, last year")
        return years

    @model_validator(mode="after")
    def _members(self) -> Forcing:
        if self.members and self.projection is None:
            raise ValueError("members are those of a projection; leave them out, or name a projection")
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members {list(self.members)} name one twice; allowed: each once")
        return self

    @model_validator(mode="after")
    def _of_climate_at_points(self) -> Forcing:
        if self.kind == "predictors" and self.model_fields_set & {"interpolation", "adjustment"}:
            raise ValueError('interpolation and adjustment are those of kind = "climate"; leave them out')
        if self.adjustment != "none" and self.projection is None:
            raise ValueError("adjustment is that of a projection; leave it out, or name a projection")
        if self.adjustment == "none" and self.adjustment_period is not None:
            raise ValueError('adjustment_period goes with adjustment = "quantile_delta_mapping"')
        return self

    @property
    def common_period(self) -> tuple[int, int]:
        """Hydrological years over which projections are adjusted to the history."""
        return self.adjustment_period or self.reference_period


class Downscaling(Section):
    """How climate at a point is brought to a glacier; the defaults are ALPGM's."""

    lapse_rate: float | tuple[float, ...] | Literal["from_data"] = Field(
        LAPSE_RATE, description='K m-1: one, or twelve with October first; "from_data": estimated from the points'
    )
    precipitation_gradient: float = Field(0.0, description="relative increase with elevation, 1 per m")
    all_snow_below: float | None = Field(None, description="degC; none: 0 for days, a ramp for months")
    all_rain_above: float | None = Field(None, description="degC; none: 0 for days, a ramp for months")
    daily_spread: float | None = Field(None, description="K, of days within a month; for monthly climate")

    @model_validator(mode="after")
    def _in_bounds(self) -> Downscaling:
        self.settings(LAPSE_RATE)
        return self

    def settings(self, estimated: float | tuple[float, ...] | None) -> forcing.Downscaling:
        """The settings that the science layer takes; `estimated` is the lapse rate, if it is to come from the data."""
        given = self.model_dump(exclude_none=True, exclude={"lapse_rate"})
        return forcing.Downscaling(lapse_rate=estimated if self.lapse_rate == "from_data" else self.lapse_rate, **given)


class DeltaH(Section):
    """Where delta-h functions come from."""

    entry: str | None = Field(None, description="entry with functions of single glaciers; none: only the fallback")
    elevation_models: str | None = Field(None, description="entry with two surveys that functions are fitted to")
    method: Literal["monotone", "published"] = Field("monotone", description="how they are fitted")
    plausible: tuple[float, float] = Field(PLAUSIBLE, description="m, lowest and highest change that is believed")
    fallback: Literal["huss2010", "flat"] = Field("huss2010", description="for glaciers without a function")

    @model_validator(mode="after")
    def _one_source(self) -> DeltaH:
        if self.entry is not None and self.elevation_models is not None:
            raise ValueError("entry and elevation_models are given; allowed: one of them")
        unused = self.model_fields_set & {"method", "plausible"}
        if self.elevation_models is None and unused:
            raise ValueError(f"{min(unused)} goes with elevation_models; leave it out, or name them")
        if not self.plausible[0] < 0 < self.plausible[1]:
            raise ValueError(f"plausible {list(self.plausible)}; allowed: a negative and a positive number, m")
        return self


class Geometry(Section):
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


class Ensemble(Section):
    """What is run in several variants beside the climate members, every one with every other."""

    thickness_factors: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="what ice thickness is multiplied with at the start"
    )
    delta_h_shifts: tuple[float, ...] = Field(
        (0.0,), min_length=1, description="spreads that delta-h functions are shifted by; positive: thinning higher up"
    )

    @field_validator("thickness_factors", "delta_h_shifts")
    @classmethod
    def _once(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) < len(values):
            raise ValueError("allowed: each value once")
        return values

    @field_validator("thickness_factors")
    @classmethod
    def _positive(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if not all(factor > 0 for factor in factors):
            raise ValueError("allowed: factors above 0")
        return factors


class Cluster(Section):
    """Where the work is done."""

    kind: str = Field("local", description='"local", "gateway", "slurm", or an address such as "tcp://10.0.0.1:8786"')
    workers: int | tuple[int, int] | None = Field(
        None, description="of one thread each; the least and the most of gateway and slurm; none: 2"
    )
    memory: str | None = Field(None, description="limit of each worker of local and slurm; none: 1.5GB")
    options: dict[str, Any] = Field({}, description="of gateway: what its server offers; of slurm: of its jobs")

    @field_validator("kind")
    @classmethod
    def _kind(cls, kind: str) -> str:
        cluster.check_kind(kind)
        return kind

    @field_validator("workers")
    @classmethod
    def _workers(cls, workers: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        if workers is not None:
            cluster.check_workers(workers)
        return workers

    @field_validator("memory")
    @classmethod
    def _memory(cls, memory: str | None) -> str | None:
        if memory is not None:
            cluster.check_memory(memory)
        return memory

    @model_validator(mode="after")
    def _of_its_kind(self) -> Cluster:
        cluster.check_asked(self.kind, self.workers, self.memory, self.options)
        return self
