"""Names in a catalog file -> lazy xarray. The only package that knows Intake.

:mod:`.rules` says what a catalog may ask for, :mod:`.opened` opens and reads one, :mod:`.written` writes one, and
:mod:`.checked` looks at every entry and says whether it holds.
"""

from alpgm_dask.catalog.checked import Checked, Listed, check_catalog, list_entries, show_entry
from alpgm_dask.catalog.opened import Catalog, open_catalog
from alpgm_dask.catalog.rules import ALLOWED_CLASSES
from alpgm_dask.catalog.written import Entry, Parameter, write_catalog

__all__ = [
    "ALLOWED_CLASSES",
    "Catalog",
    "Checked",
    "Entry",
    "Listed",
    "Parameter",
    "check_catalog",
    "list_entries",
    "open_catalog",
    "show_entry",
    "write_catalog",
]
