"""Climate at each glacier, reduced to yearly and monthly predictors and the climatology they are anomalies of.

Two sources, one contract: daily climate at points (:mod:`.daily`), brought to a glacier at its current elevation, and
predictors made elsewhere (:mod:`.predictors`), moved to the current elevation by a sensitivity. :mod:`.matching` says
which point or row a glacier takes; :mod:`.regional` is the mean climate of the region.
"""

from alpgm_dask.forcing.aligned import align_predictors
from alpgm_dask.forcing.block import (
    DailyForcing,
    PredictorForcing,
    block_forcing_daily,
    block_forcing_predictors,
    block_forcing_spliced,
)
from alpgm_dask.forcing.calendar import days_of, hydro_year
from alpgm_dask.forcing.daily import annual_predictors, partition_phase
from alpgm_dask.forcing.matching import match_predictors, nearest_points
from alpgm_dask.forcing.predictors import (
    MONTHS,
    PREDICTORS,
    SEASONAL_PREDICTORS,
    predictor_array,
    reference_climatology,
)
from alpgm_dask.forcing.regional import regional_anomaly, regional_from_daily, regional_from_predictors
from alpgm_dask.forcing.sensitivity import elevation_sensitivity

__all__ = [
    "MONTHS",
    "PREDICTORS",
    "SEASONAL_PREDICTORS",
    "DailyForcing",
    "PredictorForcing",
    "align_predictors",
    "annual_predictors",
    "block_forcing_daily",
    "block_forcing_predictors",
    "block_forcing_spliced",
    "days_of",
    "elevation_sensitivity",
    "hydro_year",
    "match_predictors",
    "nearest_points",
    "partition_phase",
    "predictor_array",
    "reference_climatology",
    "regional_anomaly",
    "regional_from_daily",
    "regional_from_predictors",
]
