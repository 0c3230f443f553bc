"""One glacier's delta-h function from pixels: ALPGM's to its last digit, ours against what is known and left out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from real_clips import CLOUDED, OVERWRITTEN, clips
from scipy.optimize import lsq_linear

from alpgm_dask.delta_h import NODES, fit, monotone
from alpgm_dask.delta_h.curve import Curve
from alpgm_dask.delta_h.folds import spatial_folds, tiles
from alpgm_dask.delta_h.screening import screen
from alpgm_dask.schema import InputError


def slope(n: int = 600, *, low: float = 2400.0, high: float = 3400.0) -> tuple[np.ndarray, np.ndarray]:
    """Elevations of n pixels, and where they lie between top (0) and terminus (1)."""
    z = np.random.default_rng(3).permutation(np.linspace(low, high, n))
    return z, (high - z) / (high - low)


def noisy(place: np.ndarray, exponent: float = 2.0, terminus: float = -60.0, spread: float = 5.0) -> np.ndarray:
    return terminus * place**exponent + spread * np.random.default_rng(5).standard_normal(place.size)


@pytest.fixture(scope="module")
def real(shared):
    return clips(shared / "data/alpgm/glacier_data")


# -- ALPGM's method -----------------------------------------------------------------------------------------


def test_published_functions_follow_to_the_last_printed_digit(real, shared):
    folder, same = shared / "data/alpgm/glacier_data/delta_h_param", 0
    for clip in real:
        if clip.name in (*CLOUDED, *OVERWRITTEN):
            continue
        nodes, values = (np.loadtxt(folder / f"{clip.glims_id}_{kind}.csv") for kind in ("DEM", "dh"))
        found = fit(clip.surface_elevation, clip.change, method="published")
        np.testing.assert_allclose(found["normalized_elevation"], nodes, atol=5.1e-8, rtol=0, err_msg=clip.name)
        np.testing.assert_allclose(found["delta_h"], values, atol=5.1e-8, rtol=0, err_msg=clip.name)
        same += 1
    assert same == 78


def test_published_sets_clouded_glaciers_aside(real):
    for clip in real:
        if clip.name in CLOUDED:
            with pytest.raises(InputError, match=r"cloud.*seem to have thickened"):
                fit(clip.surface_elevation, clip.change, method="published")


# -- the default --------------------------------------------------------------------------------------------


def test_a_known_function_is_found():
    z, place = slope()
    found = fit(z, noisy(place))
    np.testing.assert_allclose(found["delta_h"], NODES**2, atol=0.06)
    assert float(found["greatest_change"]) == pytest.approx(-60.0, abs=3.0)
    assert float(found["residual_spread"]) == pytest.approx(5.0, rel=0.15)
    assert float(found["held_out_error"]) == pytest.approx(5.0, rel=0.2)
    assert (int(found["pixels"]), float(found["lowest_elevation"])) == (600, 2400.0)


def test_clouds_artefacts_and_voids_are_not_believed():
    z, place = slope()
    clean = noisy(place)
    change, rng = clean.copy(), np.random.default_rng(7)
    cloud, artefact, void = np.split(rng.permutation(600)[:180], 3)
    change[cloud], change[artefact], change[void] = 80.0 + 10 * rng.standard_normal(60), -300.0, np.nan
    found = fit(z, change)
    assert 400 <= int(found["pixels_used"]) <= 425
    assert float(found["share_covered"]) == pytest.approx(0.69, abs=0.03)
    np.testing.assert_allclose(found["delta_h"], fit(z, clean)["delta_h"], atol=0.03)
    assert not screen(z, change)[np.concatenate([cloud, artefact, void])].any()


def test_a_stray_elevation_where_one_survey_is_void_changes_nothing():
    z, place = slope()
    change = noisy(place)
    plain = fit(z, change)
    one = fit(np.append(z, 0.0), np.append(change, np.nan))
    np.testing.assert_array_equal(one["delta_h"], plain["delta_h"])
    assert float(one["lowest_elevation"]) == 2400.0


def test_a_cloud_or_void_over_the_top_does_not_shorten_the_glacier():
    z, place = slope()
    change, top = noisy(place, spread=2.0), place < 0.3
    void = fit(z, np.where(top, np.nan, change))
    # a cloud of 600 m in the second survey lifts the mean surface by half of it
    cloud = fit(np.where(top, z + 300.0, z), np.where(top, change + 600.0, change))
    for found in (void, cloud):
        assert float(found["highest_elevation"]) == pytest.approx(3400.0, abs=10.0)
        np.testing.assert_allclose(found["delta_h"], NODES**2, atol=0.12)


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 400), st.floats(0.3, 5.0), st.floats(-140.0, -5.0), st.integers(0, 2**32 - 1))
def test_whatever_the_pixels_a_function_rises_from_0_to_1(n, exponent, terminus, seed):
    rng = np.random.default_rng(seed)
    z = rng.uniform(2000.0, 3500.0, n)
    place = (z.max() - z) / np.ptp(z)
    change = terminus * place**exponent + 4.0 * rng.standard_normal(n)
    try:
        found = fit(z, change, x=rng.uniform(0, 3e3, n), y=rng.uniform(0, 3e3, n), area=2e6)
    except InputError as error:
        assert "no function can be fitted" in str(error)
        return
    values = found["delta_h"].values
    assert ((values >= 0) & (values <= 1)).all() and values.max() == 1.0
    assert (np.diff(values) >= -1e-12).all()
    assert not (found["delta_h_spread"].values < 0).any()  # NaN where fewer than two folds can be left out
    assert found["normalized_elevation"].values.tolist() == NODES.tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(30, 200), st.sampled_from(monotone.STIFFNESS), st.integers(0, 2**32 - 1))
def test_the_spline_is_the_bounded_least_squares_of_all_pixels(n, stiffness, seed):
    """Against the same sum of squares written out row by row, and minimised by another method."""
    rng = np.random.default_rng(seed)
    place, thinning, weights = rng.random(n), 20 * rng.random(n), rng.random(n) + 0.1
    problem = monotone._Problem(monotone._rises(place), thinning, weights)
    rows = [np.sqrt(weights)[:, None] * problem.basis]
    right = [np.sqrt(weights) * thinning]
    scale = np.sqrt(weights.sum())
    for j in range(2, problem.basis.shape[1] - 1):  # neighbouring rises, without the two constants
        difference = np.zeros(problem.basis.shape[1])
        difference[j], difference[j + 1] = -1.0, 1.0
        rows.append(scale * np.sqrt(stiffness) * difference[None])
    rows.append(scale * 1e-4 * np.eye(problem.basis.shape[1]))
    right.append(np.zeros(sum(len(r) for r in rows[1:])))
    slow = lsq_linear(np.vstack(rows), np.concatenate(right), bounds=(0, np.inf), tol=1e-14, max_iter=2000).x
    fast = problem.solve(stiffness)
    np.testing.assert_allclose(problem.basis @ fast, problem.basis @ slow, atol=2e-3)


def test_the_order_of_pixels_does_not_matter():
    z, place = slope()
    change, rng = noisy(place), np.random.default_rng(1)
    x, y, order = rng.uniform(0, 4e3, 600), rng.uniform(0, 4e3, 600), rng.permutation(600)
    one, other = fit(z, change, x=x, y=y), fit(z[order], change[order], x=x[order], y=y[order])
    np.testing.assert_allclose(one["delta_h"], other["delta_h"], atol=1e-9)
    assert float(one["held_out_error"]) == pytest.approx(float(other["held_out_error"]), rel=1e-9)


def test_metres_more_of_thinning_everywhere_change_metres_and_not_the_shape():
    z, place = slope()
    one, twice = fit(z, noisy(place)), fit(z, 2 * noisy(place))
    np.testing.assert_allclose(one["delta_h"], twice["delta_h"], atol=0.01)
    assert float(twice["greatest_change"]) == pytest.approx(2 * float(one["greatest_change"]), rel=0.02)


def test_neighbours_are_left_out_together():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 5e3, 2000), rng.uniform(0, 5e3, 2000)
    tile = tiles(x, y, x.size)
    fold = spatial_folds(tile)
    for t in np.unique(tile):
        inside = tile == t
        assert max(np.ptp(x[inside]), np.ptp(y[inside])) <= 500 and np.unique(fold[inside]).size == 1
    assert np.unique(fold).size == 5


def test_a_left_out_glacier_part_is_predicted_better_than_by_either_alternative(real):
    """Root mean square error over the held-out pixels of the 88 glaciers, at least a tenth below both others."""
    rows = []
    for clip in real:
        if clip.name in CLOUDED:
            continue
        where = {"x": clip.x, "y": clip.y, "area": clip.area}
        own, published = (
            fit(clip.surface_elevation, clip.change, method=method, **where) for method in ("monotone", "published")
        )
        errors = (own["held_out_error"], published["held_out_error"], own["class_error"])
        rows.append([float(own["pixels_used"]), *map(float, errors)])
    weight, *errors = np.array(rows).T
    assert weight.size == 88
    monotone, published, size_class = (np.sqrt(np.average(e**2, weights=weight)) for e in errors)
    assert monotone <= 0.9 * published
    assert monotone <= 0.9 * size_class


# -- what is refused ----------------------------------------------------------------------------------------


def test_what_makes_no_function_is_refused_with_its_reason():
    z, place = slope()
    cases = {
        "cloud": (z, 60.0 + noisy(place, spread=2.0, terminus=-1.0)),
        "few_pixels": (z[:1], np.array([-3.0])),
        "little_range": (np.full(600, 2900.0) + place, noisy(place)),
        "no_thinning": (z, 6.0 + 3.0 * place),
    }
    for reason, (surface, change) in cases.items():
        with pytest.raises(InputError, match=rf"dh: no function can be fitted \({reason}\)"):
            fit(surface, change)
    with pytest.raises(InputError, match=r"few_pixels.*0 of 600 pixels are believed; needed: 30"):
        fit(z, np.full(600, np.nan))


def test_what_does_not_fit_together_is_refused():
    z, place = slope()
    change = noisy(place)
    with pytest.raises(InputError, match=r"dh: shape \(3,\); allowed: that of surface_elevation"):
        fit(z, change[:3])
    with pytest.raises(InputError, match=r"dh: units 'ft'; allowed: m"):
        fit(z, xr.DataArray(change, dims="pixel", attrs={"units": "ft"}))
    with pytest.raises(InputError, match=r"method: 'huss' is unknown; allowed: monotone, published"):
        fit(z, change, method="huss")
    with pytest.raises(InputError, match="x, y: one of both"):
        fit(z, change, x=z)
    with pytest.raises(InputError, match=r"surface_elevation: shape \(20, 30\); allowed: one dimension"):
        fit(z.reshape(20, 30), change.reshape(20, 30))
    with pytest.raises(InputError, match=r"plausible: \(5, 20\); allowed: a negative and a positive"):
        fit(z, change, plausible=(5, 20))
    for wrong in (20, (20, -160), (np.nan, 3), (-1, 2, 3)):
        with pytest.raises(InputError, match=r"plausible: .*; allowed: a negative and a positive number"):
            fit(z, change, plausible=wrong)
    with pytest.raises(InputError, match=r"x, y: the glacier is .* m long; allowed: more than 5 m"):
        fit(z, change, x=7 + z / 1e6, y=45 + z / 1e6)
    with pytest.raises(InputError, match="x: not finite at 600 pixels"):
        fit(z, change, x=z * np.nan, y=z)
    with pytest.raises(InputError, match=r"few_pixels\): no pixel was seen in both surveys"):
        fit(z, change * np.nan, method="published")
    with pytest.raises(InputError, match=r"y: shape \(2,\)"):
        fit(z, change, x=z, y=z[:2])


def test_lists_integers_and_masks_are_taken_as_numpy_takes_them():
    z, place = slope()
    z, change = z.round(), noisy(place).round()
    plain = fit(z, change)
    xr.testing.assert_identical(fit(z.astype(int).tolist(), change.astype(int)), plain)
    places = fit(z, change, x=z.tolist(), y=z.tolist())
    xr.testing.assert_identical(places, fit(z, change, x=z, y=z))
    hidden = np.ma.masked_array(np.where(place < 0.1, 1e20, change), mask=place < 0.1)
    xr.testing.assert_identical(fit(z, hidden), fit(z, np.where(place < 0.1, np.nan, change)))


def test_a_curve_is_level_beyond_its_ends():
    curve = Curve(np.array([1.0, 0.0]), np.array([1.0, 0.2]), (2000.0, 3000.0), np.ones(1, dtype=bool))
    np.testing.assert_allclose(curve.at(np.array([1900.0, 2000.0, 2500.0, 3100.0])), [1.0, 1.0, 0.6, 0.2])
