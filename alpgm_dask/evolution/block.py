"""The year loop over one block of glaciers: NumPy arrays in, NumPy arrays out, run inside one task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpgm_dask.evolution.balance import Balance
from alpgm_dask.evolution.settings import Settings
from alpgm_dask.kernels import geometry, topography
from alpgm_dask.kernels.balance import mean_and_spread
from alpgm_dask.schema import FAILURE, STATUS, InputError


@dataclass(frozen=True)
class BlockArrays:
    """One block of glaciers as arrays.

    Attributes
    ----------
    ice_thickness, surface_elevation, surface_slope, flowline_distance
        (pixel,) m, m, degree, m.
    row_start, row_size
        (glacier,) first pixel within the block, number of pixels.
    pixel_area
        (glacier,) m2.
    normalized_elevation, delta_h, n_nodes
        (glacier, node), (glacier, node), (glacier,).
    """

    ice_thickness: np.ndarray
    surface_elevation: np.ndarray
    surface_slope: np.ndarray
    flowline_distance: np.ndarray
    row_start: np.ndarray
    row_size: np.ndarray
    pixel_area: np.ndarray
    normalized_elevation: np.ndarray
    delta_h: np.ndarray
    n_nodes: np.ndarray


@dataclass(frozen=True)
class State:
    """What the kernels change from year to year: ice pixels first in every row, sums over them in a table.

    Made by :meth:`start` from a block; the arrays are the block's own copies.
    """

    block: BlockArrays
    thickness: np.ndarray
    surface: np.ndarray
    index: np.ndarray
    count: np.ndarray
    table: np.ndarray
    tongue_slope: np.ndarray

    @classmethod
    def start(cls, block: BlockArrays) -> State:
        """The state before the first year."""
        n = block.row_start.size
        state = cls(
            block=block,
            thickness=block.ice_thickness.astype("float64"),
            surface=block.surface_elevation.astype("float64"),
            index=np.arange(block.ice_thickness.size, dtype="int32"),
            count=block.row_size.astype("int64"),
            table=np.zeros((n, len(topography.COLUMNS))),
            tongue_slope=np.empty(n),
        )
        topography.drop_bare(*state.pixels, block.row_start, state.count, block.pixel_area, state.table)
        state.measure_tongues()
        return state

    @property
    def pixels(self) -> tuple[np.ndarray, ...]:
        return self.thickness, self.surface, self.index

    @property
    def mean_elevation(self) -> np.ndarray:
        """(glacier,) m; NaN without ice."""
        return self.table[:, topography.MEAN]

    def topography(self) -> dict[str, np.ndarray]:
        """What the mass balance depends on, (glacier,) each, NaN without ice."""
        return {
            "mean_elevation": self.mean_elevation.copy(),
            "max_elevation": np.where(self.count > 0, self.table[:, topography.HIGH], np.nan),
            "area": self.table[:, topography.AREA].copy(),
            "tongue_slope": self.tongue_slope.copy(),
        }

    def measure_tongues(self) -> None:
        block = self.block
        topography.tongue_slopes(
            self.surface,
            self.index,
            block.surface_slope,
            block.flowline_distance,
            block.row_start,
            self.count,
            self.table,
            self.tongue_slope,
        )

    def advance(self, alive: np.ndarray, smb: np.ndarray, settings: Settings) -> None:
        """One year under a mass balance (glacier,) in m w.e."""
        block = self.block
        geometry.thin(
            *self.pixels,
            block.row_start,
            self.count,
            alive,
            smb,
            block.pixel_area,
            block.normalized_elevation,
            block.delta_h,
            block.n_nodes,
            settings.flat_below_area,
            settings.mass_conserving,
            self.table,
        )
        self.measure_tongues()

    def thickness_on_pixels(self) -> np.ndarray:
        """(pixel,) m in the block's order, NaN without ice."""
        out = np.full(self.thickness.size, np.nan)
        geometry.scatter(self.thickness, self.index, self.block.row_start, self.count, out)
        return out


def _not_finite(block: BlockArrays) -> np.ndarray:
    """(glacier,) whether a pixel of the glacier has a thickness, or an ice pixel an elevation, that is no number."""
    ice = block.ice_thickness > 0
    bad = ~np.isfinite(block.ice_thickness) | (ice & ~np.isfinite(block.surface_elevation))
    before = np.concatenate([[0], np.cumsum(bad)])
    return before[block.row_start + block.row_size] > before[block.row_start]


#: Results per glacier and year, and where they come from: a column of the kernels' table or the mass balance.
_FROM_TABLE = {
    "area": topography.AREA,
    "volume": topography.VOLUME,
    "mean_elevation": topography.MEAN,
    "max_elevation": topography.HIGH,
    "max_thickness": topography.THICKEST,
    "mass_residual": topography.RESIDUAL,
}
_FROM_BALANCE = ("smb", "smb_spread", "cpdd", "winter_snowfall", "summer_snowfall")
YEARLY = (*_FROM_TABLE, "tongue_slope", *_FROM_BALANCE)


def evolve_block(state: State, balance: Balance, years: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    """Evolve the glaciers of a block through consecutive hydrological years.

    Parameters
    ----------
    state
        the glaciers before the first year; used up.
    balance
        asked once a year, for all glaciers of the block.
    years
        (year,) hydrological years.
    settings
        see :class:`Settings`.

    Returns
    -------
    The variables of :data:`YEARLY` (glacier, year) at the end of each year, and of these two those that `settings` asks
    for: extrapolation (glacier, year) uint8, smb_members (smb_member, glacier, year) float32; initial_area,
    initial_volume, status, failure, vanished_year (glacier,); ice_thickness (thickness_year, pixel), NaN where there is
    no ice; final_thickness (pixel,).

    A glacier that cannot go on (no ice at the start, ice or mass balance that is no number) is marked as failed with
    its reason; its years so far are kept, later ones are NaN. One whose ice is gone is marked as vanished and has
    area and volume 0 from then on.
    """
    n = state.count.size
    failure = np.zeros(n, dtype="int8")
    failure[state.count == 0] = FAILURE.index("no_ice")
    failure[_not_finite(state.block)] = FAILURE.index("ice_not_finite")
    initial, kept = state.table.copy(), _Years.empty(len(years), n, settings)
    vanished_year = np.zeros(n, dtype="int16")
    thickness = np.full((len(settings.thickness_years), state.thickness.size), np.nan)
    for k, year in enumerate(years):
        alive = (state.count > 0) & (failure == 0)
        members, predictors, outside = balance(k, state.topography())
        lost = alive & ~np.isfinite(members).all(axis=0)
        failure[lost] = FAILURE.index("smb_not_finite")
        if balance.uses_forcing:
            failure[lost & ~np.isfinite(predictors).all(axis=1)] = FAILURE.index("forcing_not_finite")
        alive &= ~lost
        smb, spread = mean_and_spread(members)
        state.advance(alive, smb, settings)
        vanished_year[alive & (state.count == 0)] = year
        kept.record(k, state, alive, failure > 0)
        kept.record_balance(k, members, outside, np.column_stack([smb, spread, predictors]))
        if year in settings.thickness_years:
            thickness[settings.thickness_years.index(year)] = state.thickness_on_pixels()
    status = np.where(failure > 0, STATUS.index("failed"), STATUS.index("ok")).astype("int8")
    status[(failure == 0) & (state.count == 0)] = STATUS.index("vanished")
    return {
        **kept.variables(),
        "initial_area": initial[:, topography.AREA],
        "initial_volume": initial[:, topography.VOLUME],
        "status": status,
        "failure": failure,
        "vanished_year": vanished_year,
        "ice_thickness": thickness,
        "final_thickness": state.thickness_on_pixels(),
    }


@dataclass(frozen=True)
class _Years:
    """What is kept of every year, as the kernels have it; sorted into variables at the end, all years at once."""

    table: np.ndarray
    tongue_slope: np.ndarray
    alive: np.ndarray
    failed: np.ndarray
    balance: np.ndarray
    members: np.ndarray | None
    extrapolation: np.ndarray | None

    @classmethod
    def empty(cls, years: int, glaciers: int, settings: Settings) -> _Years:
        n = settings.smb_members
        return cls(
            table=np.empty((years, glaciers, len(topography.COLUMNS))),
            tongue_slope=np.empty((years, glaciers)),
            alive=np.empty((years, glaciers), dtype=bool),
            failed=np.empty((years, glaciers), dtype=bool),
            balance=np.empty((years, glaciers, len(_FROM_BALANCE))),
            members=np.empty((n, years, glaciers), dtype="float32") if n else None,
            extrapolation=np.empty((years, glaciers), dtype="uint8") if settings.extrapolation else None,
        )

    def record(self, k: int, state: State, alive: np.ndarray, failed: np.ndarray) -> None:
        self.table[k], self.tongue_slope[k] = state.table, state.tongue_slope
        self.alive[k], self.failed[k] = alive, failed

    def record_balance(self, k: int, members: np.ndarray, outside: np.ndarray, columns: np.ndarray) -> None:
        self.balance[k] = columns
        if self.members is not None:
            if len(members) != len(self.members):
                raise InputError(f"smb_members: {len(self.members)} are to be kept; the model has {len(members)}")
            self.members[:, k] = members
        if self.extrapolation is not None:
            self.extrapolation[k] = outside

    def variables(self) -> dict[str, np.ndarray]:
        """(glacier, year) each. A vanished glacier has no mass balance and asks for nothing; a failed one is NaN."""
        out = {name: self.table[:, :, column] for name, column in _FROM_TABLE.items()}
        out["mass_residual"] = np.where(self.alive, out["mass_residual"], 0.0)
        out["tongue_slope"] = self.tongue_slope
        out = {name: np.where(self.failed, np.nan, values) for name, values in out.items()}
        out |= {name: np.where(self.alive, self.balance[:, :, j], np.nan) for j, name in enumerate(_FROM_BALANCE)}
        if self.extrapolation is not None:
            out["extrapolation"] = np.where(self.alive, self.extrapolation, np.uint8(0))
        if self.members is not None:
            out["smb_members"] = np.where(self.alive, self.members, np.float32(np.nan))
        return {name: np.ascontiguousarray(np.swapaxes(values, -1, -2)) for name, values in out.items()}
