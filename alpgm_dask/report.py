"""A run as people read it: tables, what failed and why, pictures."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from alpgm_dask import results, store
from alpgm_dask.catalog import open_catalog
from alpgm_dask.results import without_lost_members
from alpgm_dask.schema import texts
from alpgm_dask.stages import RESULTS


def describe(folder: Path, *, draw: bool = False) -> str:
    """What came out of a run, as text: a table by massif or subregion, what failed and why, where the pictures are.

    Parameters
    ----------
    folder
        of the run.
    draw
        whether pictures are drawn again.

    Raises
    ------
    InputError
        if there are no finished results.
    """
    whole = store.open_store(str(folder / RESULTS))
    found = results.as_members(whole)
    table = results.summary(found)
    lines = [str(found.attrs.get("title", folder)), "", results.as_text(table), ""]
    lines += spread_of(whole)
    lost = results.members_lost(found)
    if lost.size:
        names = ", ".join(texts(found["member"])[lost])
        lines += [f"left out: every glacier failed under {lost.size} of {found.sizes['member']} members: {names}", ""]
    lost = results.failures(found)
    if len(lost):
        lines += [f"failed ({len(lost)}):", lost.head(20).to_string(index=False), ""]
    if found.attrs.get("failed_blocks"):
        lines += [f"{found.attrs['failed_blocks']} blocks failed; run again with --resume", ""]
    figures = save_figures(whole, folder / "figures") if draw else sorted((folder / "figures").glob("*.png"))
    return "\n".join([*lines, f"results:  {folder / 'results.zarr'}", *(f"picture:  {path}" for path in figures)])


def spread_of(found: xr.Dataset) -> list[str]:
    """What each dimension of an ensemble contributes to the spread at the end, as lines; none without an ensemble."""
    if not results.is_ensemble(found):
        return []
    table = results.contributions(results.ensemble_series(found))
    year = int(found["hydro_year"][-1])
    head = f"spread of {year} by what is varied: range of the means over all else, share of the variance"
    return [head, results.contributions_as_text(table), ""]


def compare(folder: Path, catalog: Path) -> str:
    """Simulated against observed change of area, as text, by massif.

    Parameters
    ----------
    folder
        of the run.
    catalog
        that has an entry ``inventories``.

    Raises
    ------
    InputError
        if there are no finished results, no such entry, or no inventory of the run's years.
    """
    found = store.open_store(str(folder / RESULTS))
    table = results.against_inventory(found, open_catalog(catalog).read("inventories"))
    return "area, km2, and its change, percent\n" + table.to_string(float_format="{:.1f}".format, index_names=False)


def save_figures(found: xr.Dataset, folder: Path) -> list[Path]:
    """Draw the pictures of a run, without members in which every glacier failed, and save them; their paths."""
    from alpgm_dask import plots

    members = without_lost_members(results.as_members(found))
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"region": plots.plot_region, "remaining_ice": plots.plot_remaining_ice, "smb": plots.plot_smb}
    if plots.has_climate(members):
        makers["climate"] = plots.plot_climate
    paths = [plots.save(make(members), folder / f"{name}.png") for name, make in makers.items()]
    if results.is_ensemble(found):
        paths.append(plots.save(plots.plot_ensemble(found), folder / "ensemble.png"))
    return paths
