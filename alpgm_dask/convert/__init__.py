"""Raw archives -> what the stores are made of.

``alpgm`` an ALPGM checkout; ``rasters`` any folder of outlines, thickness and surface GeoTIFFs; ``predictors`` a NetCDF
of ready-made predictors at glaciers. A converter computes nothing that is big: it gives back a
:class:`~alpgm_dask.convert.conversion.Conversion`, whose blocks are read by whoever writes them.
"""
