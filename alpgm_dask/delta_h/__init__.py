"""One delta-h function per glacier: fitted to two surveys of its surface, or a stated fallback.

Of pixels: :mod:`.screening` believes them or not, :mod:`.monotone` (the default) and :mod:`.published` (ALPGM's) make a
:class:`.Curve` of them, :mod:`.fitting` says how good it is by leaving out :mod:`.folds` of tiles. Of regions:
:mod:`.region` fits block by block, :mod:`.choosing` decides between own functions and what stands in, and
:mod:`.functions` is what a run asks.
"""

from alpgm_dask.delta_h.choosing import Criteria, choose, group_names, judge
from alpgm_dask.delta_h.fitting import METHODS, QUALITY, fit
from alpgm_dask.delta_h.functions import (
    DEFAULT_SPREAD,
    FALLBACKS,
    check_function,
    check_functions,
    fallback,
    functions_for,
    on_nodes,
    shifted,
    sources,
)
from alpgm_dask.delta_h.monotone import NODES
from alpgm_dask.delta_h.region import fit_region
from alpgm_dask.delta_h.screening import PLAUSIBLE, check_plausible, screen

__all__ = [
    "DEFAULT_SPREAD",
    "FALLBACKS",
    "METHODS",
    "NODES",
    "PLAUSIBLE",
    "QUALITY",
    "Criteria",
    "check_function",
    "check_functions",
    "check_plausible",
    "choose",
    "fallback",
    "fit",
    "fit_region",
    "functions_for",
    "group_names",
    "judge",
    "on_nodes",
    "screen",
    "shifted",
    "sources",
]
