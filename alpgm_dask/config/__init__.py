"""One run as frozen, validated data: ``load_config("run.toml")``.

Every field of a run file is used; one that is unknown is refused with the nearest right name. Paths are relative to
the run file.
"""

from alpgm_dask.config.models import RecipeName, Smb, Validation
from alpgm_dask.config.run import Config, load_config
from alpgm_dask.config.sections import Cluster, DeltaH, Downscaling, Ensemble, Forcing, Geometry, Glaciers, Period

__all__ = [
    "Cluster",
    "Config",
    "DeltaH",
    "Downscaling",
    "Ensemble",
    "Forcing",
    "Geometry",
    "Glaciers",
    "Period",
    "RecipeName",
    "Smb",
    "Validation",
    "load_config",
]
