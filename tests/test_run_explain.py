"""``alpgm explain`` on the demo region: tables, figures, and the curvature that a Lasso cannot have."""

import pandas as pd
import pytest

from alpgm_dask.config import load_config
from alpgm_dask.explain import explain
from alpgm_dask.schema import InputError

RUN = """
title = "explained"
catalog = "{catalog}"
output = "run"
[period]
start = 2016
end = 2017
[smb]
model = "{model}"
{more}
"""
FORCED = """recipe = "standard-seasonal-regional"
settings = {max_iterations = 15, n_members = 4}
[forcing]
kind = "climate"
history = "climate"
projection = "projections"
"""


def config(tmp_path, catalog, model, more):
    path = tmp_path / "run.toml"
    path.write_text(RUN.format(catalog=catalog, model=model, more=more))
    return load_config(path)


@pytest.mark.slow
def test_importance_and_response_of_the_demo(tmp_path, demo_catalog):
    folder = explain(config(tmp_path, demo_catalog, "gaussian_process", FORCED), say=lambda line: None)
    importance = pd.read_csv(folder / "importance.csv").groupby("feature_group")["rmse_increase"].mean()
    assert importance["all climate"] > importance["all topography"] > 0
    slopes = pd.read_csv(folder / "sensitivity.csv").set_index(["model", "predictor", "range"])["slope"]
    law = slopes["gaussian_process", "cpdd", "negative"] / slopes["gaussian_process", "cpdd", "positive"]
    assert law > 1.1  # melt per degree-day falls as it gets warmer
    assert slopes["lasso", "cpdd", "negative"] == pytest.approx(slopes["lasso", "cpdd", "positive"])
    assert (folder / "importance.png").exists() and (folder / "response.png").exists()


def test_a_prescribed_balance_has_nothing_to_explain(tmp_path, demo_catalog):
    with pytest.raises(InputError, match="is not fitted here"):
        explain(config(tmp_path, demo_catalog, "prescribed", "prescribed = -1.0"))
