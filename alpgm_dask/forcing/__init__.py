"""Climate at each glacier, reduced to yearly and monthly predictors and the climatology they are anomalies of.

Two sources, one contract: daily or monthly climate at points (:mod:`.annual`, :mod:`.block`), brought to a glacier at
its current elevation as :mod:`.downscaling` says, and predictors made elsewhere (:mod:`.predictors`), moved to the
current elevation by a sensitivity. :mod:`.matching` says which point or row a glacier takes, :mod:`.bilinear` which
cells of a grid; :mod:`.regional` is the mean climate of the region.
"""

from alpgm_dask.forcing.adjustment import check_adjustable, quantile_delta_mapping
from alpgm_dask.forcing.aligned import align_predictors
from alpgm_dask.forcing.annual import annual_predictors, anomalies
from alpgm_dask.forcing.bilinear import bilinear_points, climate_points
from alpgm_dask.forcing.block import (
    ClimateForcing,
    PredictorForcing,
    block_forcing_climate,
    block_forcing_predictors,
    block_forcing_spliced,
)
from alpgm_dask.forcing.calendar import days_of, hydro_year
from alpgm_dask.forcing.contract import amounts, as_climate, is_canonical, time_step
from alpgm_dask.forcing.downscaling import Downscaling
from alpgm_dask.forcing.extraction import climate_at
from alpgm_dask.forcing.lapse import estimate_lapse_rate
from alpgm_dask.forcing.matching import match_predictors, nearest_points
from alpgm_dask.forcing.plausible import refuse_implausible, refuse_range, value_extremes, without_noise
from alpgm_dask.forcing.predictors import (
    MONTHS,
    PREDICTORS,
    SEASONAL_PREDICTORS,
    predictor_array,
    reference_climatology,
)
from alpgm_dask.forcing.regional import regional_anomaly, regional_from_climate, regional_from_predictors
from alpgm_dask.forcing.sensitivity import elevation_sensitivity
from alpgm_dask.forcing.units import convert_units

__all__ = [
    "MONTHS",
    "PREDICTORS",
    "SEASONAL_PREDICTORS",
    "ClimateForcing",
    "Downscaling",
    "PredictorForcing",
    "align_predictors",
    "amounts",
    "annual_predictors",
    "anomalies",
    "as_climate",
    "bilinear_points",
    "block_forcing_climate",
    "block_forcing_predictors",
    "block_forcing_spliced",
    "check_adjustable",
    "climate_at",
    "climate_points",
    "convert_units",
    "days_of",
    "elevation_sensitivity",
    "estimate_lapse_rate",
    "hydro_year",
    "is_canonical",
    "match_predictors",
    "nearest_points",
    "predictor_array",
    "quantile_delta_mapping",
    "reference_climatology",
    "refuse_implausible",
    "refuse_range",
    "regional_anomaly",
    "regional_from_climate",
    "regional_from_predictors",
    "time_step",
    "value_extremes",
    "without_noise",
]
