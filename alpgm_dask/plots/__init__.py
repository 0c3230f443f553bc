"""Figures from results. Each function returns a :class:`matplotlib.figure.Figure`; nothing global is touched.

Regional sums are reduced lazily and computed once, small, before anything is drawn. Colours are those of Okabe and Ito
(2008, jfly.uni-koeln.de/color) and of cividis, which colour-blind readers can tell apart.
"""

from alpgm_dask.plots.climate import climate_change, has_climate, plot_climate
from alpgm_dask.plots.common import save
from alpgm_dask.plots.delta_h import plot_delta_h, plot_delta_h_sources
from alpgm_dask.plots.ensemble import plot_ensemble
from alpgm_dask.plots.explain import plot_importance, plot_response
from alpgm_dask.plots.maps import plot_glacier, plot_remaining_ice, remaining_share
from alpgm_dask.plots.regional import plot_region, plot_smb, regional_balance, regional_series
from alpgm_dask.plots.validation import plot_cumulative, plot_error_by_magnitude, plot_reliability, plot_scatter

__all__ = [
    "climate_change",
    "has_climate",
    "plot_climate",
    "plot_cumulative",
    "plot_delta_h",
    "plot_delta_h_sources",
    "plot_ensemble",
    "plot_error_by_magnitude",
    "plot_glacier",
    "plot_importance",
    "plot_region",
    "plot_reliability",
    "plot_remaining_ice",
    "plot_response",
    "plot_scatter",
    "plot_smb",
    "regional_balance",
    "regional_series",
    "remaining_share",
    "save",
]
