"""Climate archives -> the one form of climate, as lazy graphs: SAFRAN, ADAMONT, and whatever grid speaks CF."""

from alpgm_dask.convert.climate.archive import ClimateArchive, file_fingerprint

__all__ = ["ClimateArchive", "file_fingerprint"]
