"""Where the mass balance of a region comes from: one series, or a model fed with predictors or with daily climate.

A source stands at the level of the region: it says which lazy data a block needs under a member (``inputs``), and how
to make the block's balance of them once they are loaded inside the task (``build``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import xarray as xr

from alpgm_dask.evolution.balance import Balance, Model, PrescribedBalance
from alpgm_dask.forcing import Downscaling, block_forcing_predictors, block_forcing_spliced
from alpgm_dask.forcing.predictors import predictor_names
from alpgm_dask.packing import Block


class Source(Protocol):
    """The mass balance of a region."""

    def inputs(self, block: Block, member: int) -> Any:
        """Lazy data of a block under a member; loaded before :meth:`build` sees them."""
        ...

    def build(self, inputs: Any, glaciers: xr.Dataset, start_elevation: np.ndarray) -> Balance:
        """The block's balance: `glaciers` are its loaded attributes, (glacier,) m its mean elevation at the start."""
        ...


@dataclass(frozen=True)
class Prescribed:
    """One series of mass balance for all glaciers.

    Attributes
    ----------
    smb
        (year,) m w.e.
    """

    smb: np.ndarray

    def inputs(self, block: Block, member: int) -> None:
        return None

    def build(self, inputs: None, glaciers: xr.Dataset, start_elevation: np.ndarray) -> Balance:
        return PrescribedBalance(self.smb)


@dataclass(frozen=True)
class FromPredictors:
    """A model fed with predictors at the glaciers, moved to their current elevation by a sensitivity.

    Attributes
    ----------
    forcing
        :func:`alpgm_dask.forcing.align_predictors` of the glaciers of the run, in their order; regional_anomaly
        ([``member``,] ``hydro_year``, ``predictor``) where the model's recipe takes it.
    model
        what they are fed to.
    """

    forcing: xr.Dataset
    model: Model

    def inputs(self, block: Block, member: int) -> xr.Dataset:
        one = self.forcing.isel(glacier=block.glaciers)
        return one.isel(member=member) if "member" in one.dims else one

    @property
    def build(self) -> Callable[..., Balance]:
        return partial(_build_from_predictors, self.model)


def _build_from_predictors(
    model: Model, inputs: xr.Dataset, glaciers: xr.Dataset, start_elevation: np.ndarray
) -> Balance:
    forcing = block_forcing_predictors(inputs.drop_vars("regional_anomaly", errors="ignore"), start_elevation)
    return model.balance(forcing, glaciers, start_elevation, _regional(inputs))


def _regional(inputs: xr.Dataset) -> np.ndarray | None:
    """(year, predictor) the region's climate, if the inputs of a block hold it."""
    if "regional_anomaly" not in inputs:
        return None
    return inputs["regional_anomaly"].transpose("hydro_year", "predictor").values


@dataclass(frozen=True)
class FromClimate:
    """A model fed with daily or monthly climate at points, brought to the glaciers' current elevation every year.

    Attributes
    ----------
    climates
        ([``member``,] ``time``, ``point``), one after the other: the history, and a projection if there is one.
    points
        point (int) and the reference climatology (``glacier``) of the glaciers of the run, in their order; point and
        weight (``glacier``, ``corner``) where climate is interpolated; regional_anomaly ([``member``,]
        ``hydro_year``, ``predictor``) where the model's recipe takes it.
    model
        what they are fed to.
    years
        (year,) hydrological years of the run.
    downscaling
        how climate of a point is brought to a glacier.
    """

    climates: tuple[xr.Dataset, ...]
    points: xr.Dataset
    model: Model
    years: np.ndarray
    downscaling: Downscaling = field(default_factory=Downscaling)

    def inputs(self, block: Block, member: int) -> tuple[list[xr.Dataset], xr.Dataset]:
        points = self.points.isel(glacier=block.glaciers)
        points = points.isel(member=member) if "member" in points.dims else points
        used, column = np.unique(points["point"].values, return_inverse=True)
        parts = [part.isel(point=used) for part in self.climates]
        parts = [part.isel(member=member) if "member" in part.dims else part for part in parts]
        return parts, points.assign(point=(points["point"].dims, column.reshape(points["point"].shape)))

    @property
    def build(self) -> Callable[..., Balance]:
        return partial(_build_from_climate, self.model, self.years, self.downscaling)


def _build_from_climate(
    model: Model,
    years: np.ndarray,
    downscaling: Downscaling,
    inputs: tuple[list[xr.Dataset], xr.Dataset],
    glaciers: xr.Dataset,
    start_elevation: np.ndarray,
) -> Balance:
    parts, points = inputs
    reference = points[list(predictor_names(points))]
    how = {"weight": points.get("weight"), "downscaling": downscaling}
    forcing = block_forcing_spliced(parts, points["point"], reference, years, **how)
    return model.balance(forcing, glaciers, start_elevation, _regional(points))
