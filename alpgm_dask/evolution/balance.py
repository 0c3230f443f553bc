"""The mass balance of a block of glaciers: prescribed, or a model fed with climate at the current topography."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import xarray as xr

from alpgm_dask.features import feature_matrix, needs_regional
from alpgm_dask.kernels.balance import scale_losses
from alpgm_dask.schema import InputError, texts

#: Topography of a block at the start of a year, per variable (glacier,): mean_elevation, max_elevation (m),
#: tongue_slope (degree), area (m2).
Topography = dict[str, np.ndarray]


class OneYear(NamedTuple):
    """What a balance says of a block of glaciers in one year.

    Attributes
    ----------
    smb
        (smb_member, glacier) m w.e.
    predictors
        (glacier, 3) cpdd, winter and summer snowfall.
    extrapolation
        (glacier,) number of features outside of the range that the model was trained on; 0 where no range is known.
    """

    smb: np.ndarray
    predictors: np.ndarray
    extrapolation: np.ndarray


class Balance(Protocol):
    """The mass balance of a block of glaciers."""

    uses_forcing: ClassVar[bool]

    def __call__(self, k: int, topography: Topography) -> OneYear:
        """The mass balance of year index k."""
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

    def __call__(self, k: int, topography: Topography) -> OneYear:
        n = topography["area"].size
        return OneYear(np.broadcast_to(self.smb[k], (1, n)), np.full((n, 3), np.nan), np.zeros(n, dtype="uint8"))


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
    low, high
        (feature,) smallest and largest value of each feature in training; None: not known.
    geodetic_factor
        rgi_id -> what negative mass balances of the glacier are multiplied with, see :meth:`corrected`.
    """

    recipe: str
    predict: Callable[[np.ndarray], np.ndarray]
    elevation_feedback: bool = True
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    geodetic_factor: Mapping[str, float] | None = None

    def corrected(self, geodetic_factor: Mapping[str, float]) -> Model:
        """This model with its losses scaled to geodetic balances; a model that is corrected already is refused.

        Parameters
        ----------
        geodetic_factor
            rgi_id -> factor of negative balances (:func:`alpgm_dask.smb.geodetic.geodetic_factors`); glaciers that are
            not named stay as they are.

        Raises
        ------
        InputError
            if the model carries a correction: a second one would scale what is scaled.
        """
        if self.geodetic_factor is not None:
            raise InputError("geodetic correction: the model is corrected already; allowed: once")
        return replace(self, geodetic_factor=dict(geodetic_factor))

    def balance(
        self,
        forcing: Forcing,
        glaciers: xr.Dataset,
        start_elevation: np.ndarray,
        regional: np.ndarray | None = None,
    ) -> Balance:
        """The balance of a block, from its forcing, its loaded attributes and the region's climate (year, predictor).

        Raises
        ------
        InputError
            if the recipe takes the region's climate and there is none.
        """
        if needs_regional(self.recipe) and regional is None:
            raise InputError(f"forcing: 'regional_anomaly' is missing; recipe {self.recipe!r} needs it")
        ids = texts(glaciers["rgi_id"])
        return LearnedBalance(
            forcing,
            self,
            {name: glaciers[name].values.astype("float64") for name in ("lon", "lat", "aspect")},
            elevation=None if self.elevation_feedback else start_elevation,
            regional=regional,
            geodetic_factor=np.array([(self.geodetic_factor or {}).get(rgi_id, 1.0) for rgi_id in ids]),
        )


@dataclass(frozen=True)
class LearnedBalance:
    """A mass-balance model asked every year at the glaciers' current topography.

    Attributes
    ----------
    forcing
        climate of the block's glaciers.
    model
        what it is fed to.
    fixed
        lon, lat, aspect (degree) of the block's glaciers, (glacier,) each.
    elevation
        (glacier,) m: where climate is taken whatever the surface does; None: at the current mean elevation.
    regional
        (year, predictor) anomalies of the region's mean climate, the same for every block; None: the recipe has none.
    geodetic_factor
        (glacier,) what negative balances of every member are multiplied with; 1: nothing is changed.
    """

    forcing: Forcing
    model: Model
    fixed: dict[str, np.ndarray]
    elevation: np.ndarray | None
    regional: np.ndarray | None
    geodetic_factor: np.ndarray
    uses_forcing: ClassVar[bool] = True

    def __call__(self, k: int, topography: Topography) -> OneYear:
        n, model = topography["area"].size, self.model
        present = np.isfinite(topography["mean_elevation"])
        predictors = self.forcing.predictors(
            k, topography["mean_elevation"] if self.elevation is None else self.elevation
        )
        anomalies = predictors - self.forcing.reference
        regional = None if self.regional is None else self.regional[k]
        features = feature_matrix(model.recipe, anomalies, {**topography, **self.fixed}, regional)
        known = present & np.isfinite(features).all(axis=1)
        members = model.predict(features[known])
        smb = np.full((members.shape[0], n), np.nan)
        smb[:, known] = scale_losses(members, self.geodetic_factor[known])
        outside = np.zeros(n, dtype="uint8")
        if model.low is not None and model.high is not None:
            outside[known] = ((features[known] < model.low) | (features[known] > model.high)).sum(axis=1)
        return OneYear(smb, predictors[:, :3], outside)
