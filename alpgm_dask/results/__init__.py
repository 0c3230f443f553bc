"""From the results of a run to what people read: regional totals, tables, what failed, what an ensemble says."""

from alpgm_dask.results.ensemble import (
    VARIED,
    as_members,
    contributions,
    contributions_as_text,
    ensemble_series,
    is_ensemble,
    name_of_variant,
)
from alpgm_dask.results.tables import against_inventory, as_text, failures, not_run, summary
from alpgm_dask.results.totals import group_of, members_lost, regional_totals, totals_from_start, without_lost_members

__all__ = [
    "VARIED",
    "against_inventory",
    "as_members",
    "as_text",
    "contributions",
    "contributions_as_text",
    "ensemble_series",
    "failures",
    "group_of",
    "is_ensemble",
    "members_lost",
    "name_of_variant",
    "not_run",
    "regional_totals",
    "summary",
    "totals_from_start",
    "without_lost_members",
]
