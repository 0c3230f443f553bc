"""Thinning and retreat: against a plain reference, against what ALPGM gives, and what must hold always."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from alpgm_dask import InputError
from alpgm_dask.constants import CONVERSION_DENSITY
from alpgm_dask.evolution import evolve_geometry
from alpgm_dask.kernels.delta_h import huss2010, nearest_node
from alpgm_dask.kernels.topography import tongue_slopes

NODES = np.linspace(1.0, 0.0, 21)
SQUARE = NODES**2


@st.composite
def glaciers(draw):
    """Thickness, surface, mass balances, delta-h values and pixel area of a small glacier."""
    n = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    h = rng.gamma(1.2, draw(st.sampled_from([2.0, 20.0, 80.0])), n)
    e = np.round(rng.uniform(2400, 3400, n), draw(st.sampled_from([0, 3])))
    smb = rng.normal(draw(st.sampled_from([-2.0, -0.7, 0.3])), 0.8, draw(st.integers(1, 30)))
    values = draw(st.sampled_from([SQUARE, np.ones(21), np.where(NODES > 0.6, NODES, 0.0), np.zeros(21)]))
    pixel_area = draw(st.sampled_from([625.0, 40_000.0]))
    return h, e, smb, values, pixel_area


@settings(deadline=None, max_examples=150)
@given(glaciers(), st.booleans())
def test_kernel_equals_the_plain_reference(glacier, conserving):
    h, e, smb, values, pixel_area = glacier
    got = evolve_geometry(h, e, smb, NODES, values, pixel_area, mass_conserving=conserving)
    rows, final = reference.evolve(h, e, smb, NODES, values, pixel_area, mass_conserving=conserving)
    np.testing.assert_allclose(got["ice_thickness"], final, atol=1e-6)
    np.testing.assert_allclose(got["volume"], rows[:, 1], atol=1e-6 * pixel_area * h.size)
    np.testing.assert_allclose(got["max_thickness"], rows[:, 3], atol=1e-6)
    same = np.isclose(got["area"], rows[:, 0])
    np.testing.assert_allclose(got["mean_elevation"].values[same], rows[same, 2], atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(glaciers())
def test_the_vectorised_reference_of_the_benchmark_is_the_same_model(glacier):
    h, e, smb, values, pixel_area = glacier
    got = evolve_geometry(h, e, smb, NODES, values, pixel_area, mass_conserving=False)
    for balance in smb:
        h, e = reference.alpgm_year(h, e, balance, NODES, values, pixel_area)
    np.testing.assert_allclose(got["ice_thickness"], h, atol=1e-6)


@settings(deadline=None, max_examples=150)
@given(glaciers())
def test_mass_is_conserved_until_the_glacier_vanishes(glacier):
    h, e, smb, values, pixel_area = glacier
    got = evolve_geometry(h, e, smb, NODES, values, pixel_area)
    area = np.concatenate([[h.size * pixel_area], got["area"].values[:-1]])
    volume = np.concatenate([[h.sum() * pixel_area], got["volume"].values])
    asked = smb * area * 1000.0
    alive = got["area"].values > 0
    residual = got["mass_residual"].values
    assert (np.abs(residual[alive]) <= 1e-9 * np.abs(asked[alive])).all()
    gained = np.diff(volume) * CONVERSION_DENSITY
    np.testing.assert_allclose(gained, asked + residual, rtol=1e-9, atol=1e-6 * pixel_area)


@settings(deadline=None, max_examples=100)
@given(glaciers(), st.booleans())
def test_thickness_is_never_negative_and_area_never_grows(glacier, conserving):
    h, e, smb, values, pixel_area = glacier
    got = evolve_geometry(h, e, smb, NODES, values, pixel_area, mass_conserving=conserving)
    assert (got["ice_thickness"] >= 0).all()
    assert (np.diff(got["area"].values, prepend=h.size * pixel_area) <= 0).all()
    assert (got["volume"] >= 0).all()
    if conserving:  # never takes more than was asked for
        asked = np.abs(smb) * h.size * pixel_area * 1000.0
        assert (got["mass_residual"] >= -1e-9 * asked).all()


@settings(deadline=None, max_examples=50)
@given(glaciers(), st.randoms())
def test_order_of_pixels_does_not_matter(glacier, random):
    h, e, smb, values, pixel_area = glacier
    order = list(range(h.size))
    random.shuffle(order)
    a = evolve_geometry(h, e, smb, NODES, values, pixel_area)
    b = evolve_geometry(h[order], e[order], smb, NODES, values, pixel_area)
    # sums of floating-point numbers in another order differ in the last digits
    np.testing.assert_allclose(a["ice_thickness"].values[order], b["ice_thickness"], atol=1e-7)


def test_oracle_all_87_runs(geometry_oracle):
    assert len(geometry_oracle) == 87
    for path in geometry_oracle:
        z = np.load(path)
        ice = ~z["thk0_mask"] & (z["thk0_data"] > 0)
        pixel_area = float(z["pixel_area"]) * 1e6
        h, e = z["thk0_data"][ice], z["dem0"][ice]
        got = evolve_geometry(h, e, z["smb"], z["dh_dem"], z["dh_dh"], pixel_area, mass_conserving=False)
        assert_equals_oracle(z, ice, pixel_area, got, path.name)


def assert_equals_oracle(z, ice, pixel_area, got, name):
    """The oracle's stated tolerances: pixels and area exact, volume 1e-9 relative, elevation and thickness 1e-6 m."""
    n = z["area"].size
    np.testing.assert_array_equal(np.rint(got["area"].values[:n] / pixel_area), z["npix"], err_msg=name)
    np.testing.assert_allclose(got["area"].values[:n] / 1e6, z["area"], rtol=1e-14, atol=0, err_msg=name)
    there = np.isfinite(z["volume"])
    np.testing.assert_allclose(got["volume"].values[:n][there] / 1e6, z["volume"][there], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(got["mean_elevation"].values[:n][there], z["zmean"][there], atol=1e-6, err_msg=name)
    final = np.zeros(ice.shape)
    final[ice] = np.nan_to_num(got["ice_thickness"].values)
    expected = np.where(z["final_mask"], 0.0, z["final_thk"])
    np.testing.assert_allclose(final, expected, atol=1e-6, err_msg=name)


def test_oracle_conserving_leaves_nothing_over(geometry_oracle):
    for path in geometry_oracle:
        z = np.load(path)
        ice = ~z["thk0_mask"] & (z["thk0_data"] > 0)
        pixel_area = float(z["pixel_area"]) * 1e6
        got = evolve_geometry(z["thk0_data"][ice], z["dem0"][ice], z["smb"], z["dh_dem"], z["dh_dh"], pixel_area)
        area = np.concatenate([[ice.sum() * pixel_area], got["area"].values[:-1]])
        alive = got["area"].values > 0
        asked = np.abs(z["smb"]) * area * 1000.0
        assert (np.abs(got["mass_residual"].values[alive]) <= 1e-9 * asked[alive]).all(), path.name


def test_ice_that_weights_spare_gives_the_rest():
    """10 m asked of two pixels; the one with weight has 4 m, the other gives 6 of its 20."""
    got = evolve_geometry(
        [4.0, 20.0], [2500.0, 2600.0], [-5.0 * 0.85], [0.0, 1.0], [0.0, 1.0], 100.0, flat_below_area=0.0
    )
    assert got["ice_thickness"].values.round(9).tolist() == [0.0, 14.0]
    assert float(got["area"][0]) == 100.0


def test_glacier_vanishes_and_says_what_it_could_not_give():
    got = evolve_geometry(np.full(4, 1.0), np.arange(4.0), [-1.7, -1.0], [0.0, 1.0], [1.0, 1.0], 100.0)
    assert got["volume"].values.tolist() == [0.0, 0.0]
    assert got["mass_residual"].values.round(6).tolist() == [4 * 100 * 850.0, 0.0]
    assert np.isnan(got["mean_elevation"].values).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ice_thickness": [np.nan, 1.0]}, "not finite inside ice"),
        ({"ice_thickness": [0.0, 0.0]}, "no ice"),
        ({"surface_elevation": [1.0]}, "surface_elevation: shape"),
        ({"smb": [-1.0, np.nan]}, "smb: not finite in year 2"),
        ({"smb": []}, "smb: empty"),
        ({"delta_h": [0.0, np.nan]}, "not finite; allowed: 0 to 1"),
        ({"delta_h": [0.0, 1.5]}, "allowed: 0 to 1"),
        ({"normalized_elevation": [0.0, 1.0, 0.5], "delta_h": [0.0, 1.0, 1.0]}, "neither rise nor fall"),
        ({"pixel_area": 0.0}, "pixel_area"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {
        "ice_thickness": [5.0, 6.0],
        "surface_elevation": [2500.0, 2600.0],
        "smb": [-1.0],
        "normalized_elevation": [0.0, 1.0],
        "delta_h": [0.0, 1.0],
        "pixel_area": 625.0,
    }
    with pytest.raises(InputError, match=message):
        evolve_geometry(**{**good, **change})


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30, unique=True), st.integers(-10, 1010), st.booleans())
def test_nearest_node_is_the_first_of_the_nearest(nodes, at, falling):
    nodes = np.array(sorted(nodes, reverse=falling)) / 1000.0
    assert nearest_node(nodes, nodes.size, at / 1000.0) == np.argmin(np.abs(nodes - at / 1000.0))


def test_huss_size_classes():
    z = np.array([0.0, 0.5, 1.0])
    large, medium, border, small = huss2010(z, np.array([20.1e6, 20.0e6, 5.0e6, 4.9e6]))
    np.testing.assert_allclose(large, [0.0, 0.48**6 + 0.12 * 0.48, 0.98**6 + 0.12 * 0.98], atol=4e-3)
    np.testing.assert_array_equal(medium, border)
    np.testing.assert_allclose(small, z**2, atol=1e-12)


def tongue(e, slope, along):
    table = np.zeros((1, 7))
    table[0, 3], table[0, 4] = e.max(), e.min()
    out = np.empty(1)
    tongue_slopes(e, np.arange(e.size), slope, along, np.array([0]), np.array([e.size]), table, out)
    return out[0]


def test_tongue_slope_along_the_flowline():
    """A line that falls 1 m on 2 m in the lowest fifth and is steeper above: the lowest fifth counts."""
    e = np.concatenate([np.linspace(100, 110, 11), np.linspace(120, 150, 4)])
    along = np.concatenate([100.0 - 2.0 * np.arange(11), 50.0 - np.arange(4)])
    assert tongue(e, np.full(e.size, 45.0), along) == pytest.approx(np.degrees(np.arctan(0.5)))


def test_tongue_slope_from_pixels_where_there_is_no_flowline():
    e = np.array([100.0, 104.0, 110.0, 111.0, 150.0])
    slope = np.array([10.0, 20.0, 30.0, 80.0, 80.0])
    assert tongue(e, slope, np.full(5, np.nan)) == pytest.approx(20.0)
    assert tongue(e, slope, np.array([5.0, 4.0, np.nan, np.nan, np.nan])) == pytest.approx(20.0)


def test_elevation_off_the_ice_may_be_missing():
    got = evolve_geometry([10.0, 20.0, 0.0], [2500.0, 2600.0, np.nan], [-0.85], [0.0, 1.0], [1.0, 1.0], 100.0)
    assert got["ice_thickness"].values.tolist() == [9.0, 19.0, 0.0]
