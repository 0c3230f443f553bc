"""ALPGM's clips of surface elevation and elevation change of 91 French glaciers, as pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

#: Clips whose published function was overwritten in ALPGM's own output, by a later one of the same GLIMS id or a copy.
OVERWRITTEN = (
    *("des Rouies", "de la Plate des Agneaux 1", "du Lautaret", "des Amethystes", "du Tour Noir"),
    *("des Sources de l'Isere 1", "des Sources de l'Arc 4", "de la Mahure 1", "de Chaviere 1"),
    "Du Dome de Chasseforet 1",
)
#: Clips that ALPGM set aside for clouds.
CLOUDED = ("du Chardon", "du Clot des Cavales", "de la Plate des Agneaux 2")


class Clip(NamedTuple):
    """Pixels (pixel,) in m of one clip: mean elevation, change (NaN: not known), places; and its area in m2."""

    name: str
    glims_id: str
    area: float
    surface_elevation: np.ndarray
    change: np.ndarray
    x: np.ndarray
    y: np.ndarray


def clips(glacier_data: Path) -> list[Clip]:
    """All clips that have a record in the outlines of 2015, in the order of the records."""
    import geopandas as gpd
    import pyogrio
    import rasterio

    encoding = {"SHAPE_ENCODING": "ISO-8859-1"}
    pyogrio.set_gdal_config_options(encoding)
    try:
        outlines = gpd.read_file(glacier_data / "glacier_shapefiles/2015/backup/glaciers_2015_05.shp")
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(encoding))
    out = []
    for row in outlines.itertuples():
        folder = glacier_data / "glacier_rasters"
        with rasterio.open(folder / "DEM_2015" / f"DEM_Glacier_{row.Glacier}.tif") as file:
            surface, step = file.read(1).astype("float64"), file.transform
        with rasterio.open(folder / "dh_2015" / f"dh_Glacier_{row.Glacier}.tif") as file:
            change = file.read(1).astype("float64")
        r, c = np.nonzero(surface > 0)
        lon, lat = step.c + (c + 0.5) * step.a, step.f + (r + 0.5) * step.e
        metres = 111_320.0
        known = np.where(change > -1e30, change, np.nan)[r, c]
        x, y = lon * np.cos(np.radians(lat.mean())) * metres, lat * metres
        out.append(Clip(row.Glacier, row.GLIMS_ID, row.Area * 1e6, surface[r, c], known, x, y))
    return out
