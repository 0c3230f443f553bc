"""Units of climate: spellings, integers."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from alpgm_dask.forcing import convert_units
from alpgm_dask.forcing.units import ALIASES
from alpgm_dask.schema import InputError


def of(values, units, name="pr"):
    return xr.DataArray(values, dims="time", name=name, attrs={"units": units})


@pytest.mark.parametrize(("dtype", "out"), [("int16", "float32"), ("uint8", "float32"), ("int32", "float64")])
@pytest.mark.parametrize(
    ("units", "to", "want"),
    [
        ("mm h-1", "kg m-2", [3 / 8, 30 / 8]),  # 3 mm h-1 over an eighth of an hour: less than 1
        ("kg m-2", "kg m-2", [3.0, 30.0]),
        ("cm", "kg m-2", [30.0, 300.0]),
        ("degC", "K", [276.15, 303.15]),
        ("km", "m", [3000.0, 30000.0]),
    ],
)
def test_integers_are_not_cut_off(dtype, out, units, to, want):
    for values in (np.array([3, 30], dtype), da.from_array(np.array([3, 30], dtype))):
        got = convert_units(of(values, units), to, "here", step_days=1 / 8 / 24)
        assert got.dtype == out and (got.chunks is None) == isinstance(values, np.ndarray)
        np.testing.assert_allclose(got.values, want, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point_numbers_keep_their_type(dtype):
    got = convert_units(of(np.array([1.0], dtype), "kg m-2 s-1"), "kg m-2", "here", step_days=1.0)
    assert got.dtype == dtype and got.item() == 86400.0


@pytest.mark.parametrize(("units", "to"), [("Meters", "m"), ("METRES", "m"), ("KELVIN", "K"), ("Mm W.E.", "kg m-2")])
def test_upper_and_lower_case_of_words_are_the_same(units, to):
    assert convert_units(of(np.array([2.0]), units), to, "here").values.tolist() == [2.0]


def test_the_library_is_asked_first():
    """A megametre is no millimetre, whatever the case of an alias."""
    assert convert_units(of(np.array([2.0]), "Mm"), "m", "here").values.tolist() == [2e6]
    assert all(alias == alias.lower() for alias in ALIASES)
    with pytest.raises(InputError, match="units 'furlong of water', which are none"):
        convert_units(of(np.array([2.0]), "furlong of water"), "m", "here")
