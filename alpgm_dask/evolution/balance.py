"""Where the mass balance of a year comes from: prescribed, or a model fed with climate at the current topography.

A source stands at the level of the region: it says which lazy data a block needs under a member (``inputs``), and how
to make the block's balance of them once they are loaded inside the task (``build``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
import xarray as xr

from alpgm_dask.features import feature_matrix
from alpgm_dask.forcing import block_forcing_predictors, block_forcing_spliced
from alpgm_dask.packing import Block

#: Topography of a block at the start of a year, per variable (glacier,): mean_elevation, max_elevation (m),
#: tongue_slope (degree), area (m2).
Topography = dict[str, np.ndarray]


class Balance(Protocol):
    """The mass balance of a block of glaciers."""

    uses_forcing: ClassVar[bool]

    def __call__(self, k: int, topography: Topography) -> tuple[np.ndarray, np.ndarray]:
        """(smb_member, glacier) m w.e. of year index k, and (glacier, 3) cpdd, winter and summer snowfall."""
        ...


class Forcing(Protocol):
    """Climate of a block: see :mod:`alpgm_dask.forcing`."""

    reference: np.ndarray

    def predictors(self, k: int, elevation: np.ndarray) -> np.ndarray:
        """(glacier, predictor) of year index k at elevations in m (glacier,)."""
        ...


@dataclass(frozen=True)
class PrescribedBalance:
    """The same mass balance for every glacier, or one for each.

    Attributes
    ----------
    smb
        (year,) or (year, glacier) m w.e.
    """

    smb: np.ndarray
    uses_forcing: ClassVar[bool] = False

    def __call__(self, k: int, topography: Topography) -> tuple[np.ndarray, np.ndarray]:
        n = topography["area"].size
        return np.broadcast_to(self.smb[k], (1, n)), np.full((n, 3), np.nan)


@dataclass(frozen=True)
class LearnedBalance:
    """A mass-balance model asked every year at the glaciers' current topography.

    Attributes
    ----------
    forcing
        climate of the block's glaciers.
    recipe
        the features that the model was trained on, see :data:`alpgm_dask.features.RECIPES`.
    predict
        (row, feature) -> (smb_member, row) m w.e.
    fixed
        lon, lat, aspect (degree) of the block's glaciers, (glacier,) each.
    elevation
        (glacier,) m: where climate is taken whatever the surface does; None: at the current mean elevation.
    """

    forcing: Forcing
    recipe: str
    predict: Callable[[np.ndarray], np.ndarray]
    fixed: dict[str, np.ndarray]
    elevation: np.ndarray | None = None
    uses_forcing: ClassVar[bool] = True

    def __call__(self, k: int, topography: Topography) -> tuple[np.ndarray, np.ndarray]:
        n = topography["area"].size
        present = np.isfinite(topography["mean_elevation"])
        predictors = self.forcing.predictors(
            k, topography["mean_elevation"] if self.elevation is None else self.elevation
        )
        anomalies = predictors - self.forcing.reference
        features = feature_matrix(self.recipe, anomalies, {**topography, **self.fixed})
        known = present & np.isfinite(features).all(axis=1)
        members = self.predict(features[known])
        smb = np.full((members.shape[0], n), np.nan)
        smb[:, known] = members
        return smb, predictors[:, :3]


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
class Model:
    """A mass-balance model and how it is fed: small, sent to every task.

    Attributes
    ----------
    recipe
        the features that it was trained on, see :data:`alpgm_dask.features.RECIPES`.
    predict
        (row, feature) -> (smb_member, row) m w.e.
    elevation_feedback
        whether climate is taken at the glaciers' current mean elevation, or always at that of the start.
    """

    recipe: str
    predict: Callable[[np.ndarray], np.ndarray]
    elevation_feedback: bool = True

    def balance(self, forcing: Forcing, glaciers: xr.Dataset, start_elevation: np.ndarray) -> Balance:
        """The balance of a block, from its forcing and its loaded attributes."""
        fixed = {name: glaciers[name].values.astype("float64") for name in ("lon", "lat", "aspect")}
        elevation = None if self.elevation_feedback else start_elevation
        return LearnedBalance(forcing, self.recipe, self.predict, fixed, elevation)


@dataclass(frozen=True)
class FromPredictors:
    """A model fed with predictors at the glaciers, moved to their current elevation by a sensitivity.

    Attributes
    ----------
    forcing
        :func:`alpgm_dask.forcing.align_predictors` of the glaciers of the run, in their order.
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
    return model.balance(block_forcing_predictors(inputs, start_elevation), glaciers, start_elevation)


@dataclass(frozen=True)
class FromDaily:
    """A model fed with daily climate, brought to the glaciers' current elevation every year.

    Attributes
    ----------
    climates
        ([``member``,] ``time``, ``point``) daily, one after the other: the history, and a projection if there is one.
    points
        point (int) and the reference climatology (``glacier``) of the glaciers of the run, in their order.
    model
        what they are fed to.
    years
        (year,) hydrological years of the run.
    """

    climates: tuple[xr.Dataset, ...]
    points: xr.Dataset
    model: Model
    years: np.ndarray

    def inputs(self, block: Block, member: int) -> tuple[list[xr.Dataset], xr.Dataset]:
        points = self.points.isel(glacier=block.glaciers)
        used, column = np.unique(points["point"].values, return_inverse=True)
        parts = [part.isel(point=used) for part in self.climates]
        parts = [part.isel(member=member) if "member" in part.dims else part for part in parts]
        return parts, points.drop_vars("forcing_distance").assign(point=("glacier", column))

    @property
    def build(self) -> Callable[..., Balance]:
        return partial(_build_from_daily, self.model, self.years)


def _build_from_daily(
    model: Model,
    years: np.ndarray,
    inputs: tuple[list[xr.Dataset], xr.Dataset],
    glaciers: xr.Dataset,
    start_elevation: np.ndarray,
) -> Balance:
    parts, points = inputs
    forcing = block_forcing_spliced(parts, points["point"], points.drop_vars("point"), years)
    return model.balance(forcing, glaciers, start_elevation)
