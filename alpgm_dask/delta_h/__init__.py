"""One delta-h function per glacier: fitted to two elevation models, or a stated fallback.

:mod:`.functions` says which function each glacier of a run uses; the others make functions of pixels: :mod:`.screening`
believes them or not, :mod:`.monotone` (the default) and :mod:`.published` (ALPGM's) fit.
"""

from alpgm_dask.delta_h.functions import FALLBACKS, check_function, check_functions, fallback, functions_for, sources

__all__ = ["FALLBACKS", "check_function", "check_functions", "fallback", "functions_for", "sources"]
