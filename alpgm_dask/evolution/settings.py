"""How a run evolves its glaciers, what of it is kept, and which variants of the glaciers it takes side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from alpgm_dask.constants import FLAT_BELOW_AREA
from alpgm_dask.schema import InputError


@dataclass(frozen=True)
class Settings:
    """How the geometry evolves and what is kept.

    Attributes
    ----------
    mass_conserving
        whether ice that a thin pixel cannot give is taken from the others (ALPGM 1.2: forgotten).
    flat_below_area
        m2; smaller glaciers thin evenly.
    clip_to_outline
        whether ice outside of the inventory outline is left out, as ALPGM does for 2003.
    thickness_years
        hydrological years at whose end the thickness of every pixel is kept.
    smb_members
        number of models of an SMB ensemble, if what each of them says is kept; 0: only their mean and spread are.
    extrapolation
        whether it is kept how many features of a glacier were outside of the model's training range.
    thickness_factors
        what ice thickness is multiplied with before the first year, one variant each: the surface stays, the bed moves.
    delta_h_shifts
        in spreads, what is added to the delta-h functions, one variant each, see :func:`alpgm_dask.delta_h.shifted`.

    Raises
    ------
    InputError
        if a factor is not above 0, a shift not finite, a value stands twice, or there is none.
    """

    mass_conserving: bool = True
    flat_below_area: float = FLAT_BELOW_AREA
    clip_to_outline: bool = False
    thickness_years: tuple[int, ...] = ()
    smb_members: int = 0
    extrapolation: bool = False
    thickness_factors: tuple[float, ...] = (1.0,)
    delta_h_shifts: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        for name, low, allowed in (("thickness_factors", 0.0, "above 0"), ("delta_h_shifts", -math.inf, "finite")):
            values = getattr(self, name)
            good = all(math.isfinite(value) and value > low for value in values)
            if not (values and good and len(set(values)) == len(values)):
                raise InputError(f"{name}: {list(values)}; allowed: one value or more, each once and {allowed}")

    @property
    def varied(self) -> dict[str, tuple[float, ...]]:
        """Dimensions that variants give the results, and their values; none of what is taken as it is and only so."""
        taken = {"thickness_factor": (self.thickness_factors, 1.0), "delta_h_shift": (self.delta_h_shifts, 0.0)}
        return {name: values for name, (values, neutral) in taken.items() if values != (neutral,)}

    @property
    def run_dims(self) -> tuple[str, ...]:
        """Dimensions that tell the runs of a glacier apart: the climate member, then the variants."""
        return ("member", *self.varied)

    def variants(self) -> Iterator[tuple[tuple[int, ...], float, float]]:
        """Position along the dimensions of :attr:`varied`, thickness factor and delta-h shift of every variant."""
        for i, factor in enumerate(self.thickness_factors):
            for j, shift in enumerate(self.delta_h_shifts):
                at = {"thickness_factor": i, "delta_h_shift": j}
                yield tuple(at[name] for name in self.varied), factor, shift
