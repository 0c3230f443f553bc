"""Ensembles of ice thickness and delta-h functions: every variant is the run that it would be alone, to the bit."""

from __future__ import annotations

import numpy as np
import small_region as small
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alpgm_dask.delta_h import DEFAULT_SPREAD, functions_for, shifted

# -- functions ----------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(arrays("float64", (3, 7), elements=st.floats(0, 1)), st.floats(-3, 3), st.floats(0, 0.5))
def test_a_shifted_function_is_one(curves, shift, spread):
    """From 0 to 1, 1 at most, rising and falling where it did; or zero, which stands for even thinning."""
    got = shifted(curves, spread, shift)
    assert ((got >= 0) & (got <= 1)).all()
    if shift != 0:
        assert np.isin(got.max(axis=1), [0.0, 1.0]).all()
    else:
        assert got is curves
    assert (np.diff(got, axis=1) * np.diff(curves, axis=1) >= 0).all()
    np.testing.assert_array_equal(got[(curves == 0).all(axis=1)], 0.0)


def test_functions_move_by_their_own_spread_where_they_have_one():
    """G1 has a function of its own, 0 at the top and 1 at the terminus; the others go by the default."""
    glaciers, own = small.glaciers(), small.delta_h()
    plain, up = functions_for(glaciers, own), functions_for(glaciers, own, shift=1.0)
    at = plain["rgi_id"].values.tolist().index("G1")
    assert up["delta_h"].values[at, :2].tolist() == [DEFAULT_SPREAD, 1.0] and np.isnan(up["delta_h"][at, 2:]).all()
    others = np.delete(np.arange(4), at)
    want = np.clip(plain["delta_h"].values[others] + DEFAULT_SPREAD, 0, 1)
    np.testing.assert_array_equal(up["delta_h"].values[others], want)
    own["delta_h_spread"] = (("glacier", "node"), np.array([[0.3, np.nan, np.nan]]))
    assert functions_for(glaciers, own, shift=1.0)["delta_h"].values[at, :2].tolist() == [0.3, 1.0]
    down = functions_for(glaciers, own, shift=-2.0)["delta_h"].values[at, :2]
    assert down.tolist() == [0.0, 1.0]  # 1 - 2 x 0.1, which is the largest value
    for name in plain.variables:
        np.testing.assert_array_equal(functions_for(glaciers, own, shift=0.0)[name], plain[name])
    assert functions_for(glaciers, own, shift=1.0)["n_nodes"].values.tolist() == plain["n_nodes"].values.tolist()
