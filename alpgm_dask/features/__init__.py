"""The features of the SMB models: names, order and units defined once, for training and for the year loop alike.

A recipe is a named list of features. "standard" is ours; "alpgm-1.2" is what the published networks and Lassos were
trained with (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020); "-seasonal" leaves the 24 monthly features out;
"-regional" adds the anomalies of the region's mean climate of the year, which most of a year's mass balance goes with.
"""

from alpgm_dask.features.matrix import TOPOGRAPHY, feature_matrix
from alpgm_dask.features.recipes import (
    FEATURES,
    RECIPES,
    Feature,
    feature_names,
    needs_monthly,
    needs_regional,
    recipe_features,
)
from alpgm_dask.features.table import feature_table, training_table

__all__ = [
    "FEATURES",
    "RECIPES",
    "TOPOGRAPHY",
    "Feature",
    "feature_matrix",
    "feature_names",
    "feature_table",
    "needs_monthly",
    "needs_regional",
    "recipe_features",
    "training_table",
]
