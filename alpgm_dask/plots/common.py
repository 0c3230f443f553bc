"""What all figures share: colours, saving, groups of members, who is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from alpgm_dask.results import as_members
from alpgm_dask.schema import STATUS

if TYPE_CHECKING:
    import shapely
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, without yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def figure(width: float, height: float, layout: str | None = "constrained") -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def save(fig: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a figure to a file, folders included; the format follows from the name. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=dpi)
    return path


def with_members(results: xr.Dataset) -> xr.Dataset:
    """Results with a ``member`` dimension, also where one member was selected; one for each run of an ensemble."""
    results = as_members(results)
    return results if "member" in results.dims else results.expand_dims("member")


def groups_of(results: xr.Dataset) -> dict[str, np.ndarray]:
    """Positions of the members of each scenario; one group without a name where scenarios are not known."""
    n = results.sizes["member"]
    if "scenario" not in results.coords:
        return {"": np.arange(n)}
    scenario = np.array([str(name) for name in np.atleast_1d(results["scenario"].values)])
    return {str(name): np.flatnonzero(scenario == name) for name in dict.fromkeys(scenario)}


def lived_through(results: xr.Dataset) -> xr.DataArray:
    """(``member``, ``glacier``) whether the glacier was run and did not fail: the others are in no figure's sums."""
    return results["status"].isin([STATUS.index("ok"), STATUS.index("vanished")])


def mean_of(values: np.ndarray) -> np.ndarray:
    """Mean over members, those without ice left out; NaN where none has any."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def for_each(texts: dict[str, str]) -> str:
    """One text per group in one line, each with its group's name where it has one.

    >>> for_each({"low": "47%", "high": "28%"}), for_each({"": "47%"})
    ('47% (low), 28% (high)', '47%')
    """
    return ", ".join(f"{text} ({name})" if name else text for name, text in texts.items())


def cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def rings_of(shapes: Sequence[shapely.Geometry]) -> list[np.ndarray]:
    """The rings of polygons as arrays (vertex, 2)."""
    import shapely

    rings = shapely.get_rings(shapely.get_parts(np.asarray(shapes, dtype=object)))
    return [shapely.get_coordinates(ring) for ring in rings]
