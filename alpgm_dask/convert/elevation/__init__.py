"""Two elevation models, or a map of their difference -> elevation change of every glacier's pixels.

:mod:`.opened` opens a raster of any kind without reading it; :mod:`.grids` says which grid a glacier gets and brings
rasters to it; :mod:`.surveys` reads glaciers and blocks of them; :mod:`.coregistration` finds how far two models lie
apart on stable ground; :mod:`.converting` puts it together.
"""

from alpgm_dask.convert.elevation.converting import convert
from alpgm_dask.convert.elevation.surveys import GlacierSurveys, Method

__all__ = ["GlacierSurveys", "Method", "convert"]
