"""Run files: every field documented, used and checked; paths relative to the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import alpgm_dask
from alpgm_dask import config
from alpgm_dask.config import Config, load_config
from alpgm_dask.schema import InputError

HERE = Path(__file__).resolve().parent
PACKAGE = Path(alpgm_dask.__file__).parent
RUN_FILES = sorted((HERE.parent / "catalogs").glob("*.toml"))

HEAD = """
title = "test"
catalog = "data/catalog.yaml"
output = "run"
[period]
start = 2004
end = 2006
"""

PRESCRIBED = f"""{HEAD}
[smb]
model = "prescribed"
prescribed = -1.0
"""

LEARNED = f"""{HEAD}
[forcing]
kind = "climate"
history = "climate"
"""

LASSO = f'{LEARNED}[smb]\nmodel = "lasso"\n'
STORED = f'{LEARNED}[smb]\nmodel = "stored"\npath = "m"\n'

SECTIONS = [value for value in vars(config).values() if isinstance(value, type) and issubclass(value, BaseModel)]
FIELDS = [(s, name) for s in SECTIONS if not s.__name__.startswith(("_", "Base")) for name in s.model_fields]


def load(tmp_path, text: str, **overrides) -> Config:
    (tmp_path / "run.toml").write_text(text)
    return load_config(tmp_path / "run.toml", **overrides)


def refusal(tmp_path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    return str(caught.value)


# -- what a run file may say --------------------------------------------------------------------------------


def test_defaults(tmp_path):
    found = load(tmp_path, PRESCRIBED)
    assert list(found.years) == [2004, 2005, 2006]
    assert found.glaciers.entry == "glaciers" and found.glaciers.ids == () and found.glaciers.bounding_box is None
    assert found.delta_h.entry is None and found.delta_h.fallback == "huss2010"
    assert found.geometry.mass_conserving and found.geometry.flat_below_area == 0.5
    assert found.geometry.thickness_years == ()
    assert found.ensemble.thickness_factors == (1.0,) and found.ensemble.delta_h_shifts == (0.0,)
    assert found.cluster.kind == "local" and found.cluster.workers is None and found.cluster.options == {}
    assert found.forcing is None
    learned = load(tmp_path, LEARNED)
    assert learned.smb.model == "gaussian_process" and learned.smb.recipe == "standard-seasonal-regional"
    assert learned.smb.settings == {} and learned.smb.sample_weight == "none" and learned.smb.seed == 0
    assert learned.smb.path == () and not learned.smb.keep_members and learned.smb.geodetic is None
    assert learned.validation.schemes == ("logo", "loyo", "lsygo") and learned.validation.models == ()
    assert learned.validation.years is None and learned.validation.inner_splits == 10 and learned.validation.seed == 0
    assert learned.forcing.reference_period == (1967, 2015)
    assert learned.forcing.elevation_feedback and learned.forcing.max_distance == 20.0


def test_paths_are_relative_to_the_run_file_and_overrides_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = load(tmp_path, PRESCRIBED)
    assert found.catalog == str(tmp_path / "data/catalog.yaml") and found.output == str(tmp_path / "run")
    found = load(tmp_path, PRESCRIBED, catalog="other.yaml", output=None)
    assert found.catalog == str(tmp_path / "elsewhere/other.yaml") and found.output == str(tmp_path / "run")
    assert load(tmp_path, PRESCRIBED, output="../there").output == str(tmp_path / "there")


def test_another_cluster_replaces_the_section(tmp_path):
    text = PRESCRIBED + '[cluster]\nworkers = 4\nmemory = "3GB"\n'
    assert load(tmp_path, text, cluster=None).cluster.workers == 4
    found = load(tmp_path, text, cluster="gateway").cluster
    assert (found.kind, found.workers, found.memory) == ("gateway", None, None)
    with pytest.raises(InputError, match=r"cluster\.kind: allowed: .*given 'cloud'"):
        load(tmp_path, text, cluster="cloud")


def test_urls_stay_as_they_are(tmp_path):
    found = load(tmp_path, PRESCRIBED.replace("data/catalog.yaml", "s3://bucket/catalog.yaml"))
    assert found.catalog == "s3://bucket/catalog.yaml"
    assert load(tmp_path, PRESCRIBED, catalog="s3://other/c.yaml").catalog == "s3://other/c.yaml"


def test_the_output_is_a_folder(tmp_path):
    """Stages, model and pictures are files: a URL would become a folder named "s3:"."""
    message = r"run\.toml: output 's3://bucket/run' is no folder; allowed: one that this process and workers see"
    with pytest.raises(InputError, match=message):
        load(tmp_path, PRESCRIBED, output="s3://bucket/run")
    assert re.search(message, refusal(tmp_path, PRESCRIBED.replace('output = "run"', 'output = "s3://bucket/run"')))


def test_paths_of_a_stored_model_are_relative_to_the_run_file(tmp_path):
    one = load(tmp_path, LEARNED + '[smb]\nmodel = "stored"\npath = "model"\n')
    assert one.smb.path == (str(tmp_path / "model"),)
    two = load(tmp_path, LEARNED + '[smb]\nmodel = "stored"\npath = ["a.h5", "/b.h5"]\n')
    assert two.smb.path == (str(tmp_path / "a.h5"), "/b.h5")


def test_settings_of_a_model(tmp_path):
    text = LEARNED + '[smb]\nmodel = "lasso"\nsettings = {alphas = 20, n_splits = 4}\n'
    assert load(tmp_path, text).smb.settings == {"alphas": 20, "n_splits": 4}
    text = LEARNED + '[smb]\nmodel = "ensemble"\n[smb.settings]\nmembers = ["lasso", {kind = "lasso", alphas = 5}]\n'
    assert len(load(tmp_path, text).smb.settings["members"]) == 2


def test_a_config_cannot_be_changed(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, PRESCRIBED).period.start = 1


def test_one_balance_for_each_year(tmp_path):
    assert load(tmp_path, PRESCRIBED.replace("-1.0", "[-1, 0.5, -2]")).smb.prescribed == (-1.0, 0.5, -2.0)


# -- every field is documented and used ---------------------------------------------------------------------


@pytest.mark.parametrize(("section", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_is_documented(section, name):
    field = section.model_fields[name]
    documented = field.description or any(
        isinstance(t, type) and issubclass(t, BaseModel) for t in (field.annotation, *_args(field.annotation))
    )
    plain = {"title", "start", "end", "model"}  # a section's docstring says what these are
    assert documented or (name in plain and section.__doc__), f"what is {section.__name__}.{name}?"


def _args(annotation) -> tuple:
    return getattr(annotation, "__args__", ())


@pytest.mark.parametrize(("section", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_is_used(section, name):
    """Read as an attribute somewhere outside of config.py: a field that nothing reads would be a lie in a run file."""
    names = ("pipeline.py", "learning.py", "validate.py", "outputs.py", "cluster.py", "ingest.py")
    users = [p for p in PACKAGE.rglob("*.py") if p.name in names or p.parent.name == "inputs"]
    source = "\n".join(p.read_text() for p in users)
    if section is config.Config and name == "period":
        assert "config.years" in source
        return
    if section is config.Downscaling:  # read as a whole, for the science layer
        assert "config.downscaling.settings(" in source
        return
    if section is config.Cluster:  # handed on as a whole
        assert "connect(**config.cluster.model_dump()" in source
        return
    if section is config.Forcing and name == "adjustment_period":
        assert ".common_period" in source
        return
    if section is config.Period:
        source += "config.period.start config.period.end" if "config.years" in source else ""
    if section is config.Glaciers and name in ("massifs", "subregions"):
        assert f'("{name}", ' in source
        return
    if section is config.Smb and name == "model":
        return  # decides, by the rules below, whether there is [forcing] or a prescribed balance
    assert re.search(rf"\.{name}\b", source), f"{section.__name__}.{name} is not used"


# -- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PRESCRIBED + '[glacers]\nids = ["a"]\n', r"unknown field 'glacers' \(did you mean 'glaciers'\?\)"),
        (PRESCRIBED + '[glaciers]\nmasifs = ["a"]\n', r"unknown field 'glaciers.masifs' \(did you mean 'massifs'\?\)"),
        (LEARNED + "max_distanse = 3\n", r"unknown field 'forcing.max_distanse' \(did you mean 'max_distance'\?\)"),
        (
            PRESCRIBED + "[delta_h]\nzzz = 3\n",
            r"unknown field 'delta_h.zzz' \(allowed: entry, elevation_models, ",
        ),
        ('zzz = "x"\n' + PRESCRIBED, r"unknown field 'zzz' \(allowed: title, catalog, "),
    ],
)
def test_a_typo_gives_the_nearest_name(tmp_path, text, message):
    assert re.search(rf"run\.toml: {message}", refusal(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PRESCRIBED.replace("2006", '"soon"'), r"period.end: .*integer.* \(given 'soon'\)"),
        (PRESCRIBED.replace("2004", "2004.5"), r"period.start: .*integer.* \(given 2004.5\)"),
        (PRESCRIBED.replace("-1.0", '"much"'), r"smb.prescribed.* \(given 'much'\)"),
        (PRESCRIBED.replace("-1.0", "nan"), r"smb.prescribed.*finite number \(given nan\)"),
        (PRESCRIBED.replace('title = "test"', ""), r"field 'title' is missing"),
        (PRESCRIBED.replace("start = 2004", ""), r"field 'period.start' is missing"),
        (PRESCRIBED.replace('"prescribed"', '"neural"'), r"smb.model: .*'lasso'.* or 'prescribed' \(given 'neural'\)"),
        (LEARNED.replace('"climate"', '"hourly"'), r"forcing.kind: .*'predictors' or 'climate' \(given 'hourly'\)"),
        (LEARNED + "max_distance = 0\n", r"forcing.max_distance: .*greater than 0 \(given 0\)"),
        (PRESCRIBED + "[cluster]\nworkers = 0\n", r"cluster.workers: allowed: a number from 1 on.*; given 0"),
        (
            PRESCRIBED + '[cluster]\nkind = "slurm"\nworkers = [3, 2]\n',
            r"cluster.workers: allowed: .*the least and the mo",
        ),
        (PRESCRIBED + "[geometry]\nflat_below_area = -1\n", r"geometry.flat_below_area: .* \(given -1\)"),
        (PRESCRIBED + '[delta_h]\nfallback = "linear"\n', r"delta_h.fallback: .*'huss2010' or 'flat'"),
        (
            PRESCRIBED + '[cluster]\nkind = "pbs"\n',
            r'cluster.kind: allowed: "local", "gateway", "slurm", or an addr.*pbs',
        ),
        (LEARNED + '[smb]\nsample_weight = "some"\n', r"smb.sample_weight: .*'none' or 'balanced' \(given 'some'\)"),
        (LEARNED + "[validation]\nschemes = []\n", r"validation.schemes: .*at least 1"),
        (LEARNED + "[validation]\ninner_splits = 1\n", r"validation.inner_splits: .*greater than or equal to 2"),
        (LEARNED + "[validation]\nyears = [1984]\n", r"field 'validation.years.1' is missing"),
        (PRESCRIBED + "[ensemble]\nthickness_factors = []\n", r"ensemble.thickness_factors: .*at least 1"),
        (PRESCRIBED + "[ensemble]\nthickness_factors = [1, 0]\n", r"ensemble.thickness_factors: .*above 0 .*\[1, 0\]"),
        (PRESCRIBED + "[ensemble]\nthickness_factors = [inf]\n", r"ensemble.thickness_factors.0: .*finite number"),
        (
            PRESCRIBED + "[ensemble]\ndelta_h_shifts = [1, 0, 1.0]\n",
            r"ensemble.delta_h_shifts: .*each value once",
        ),
        (PRESCRIBED + "[ensemble]\ndelta_h_shift = [1]\n", r"unknown field 'ensemble.delta_h_shift' \(did you mean"),
        (PRESCRIBED + '[cluster]\nmemory = "much"\n', r"cluster.memory: allowed: a number and its unit.*'much'"),
    ],
)
def test_wrong_types_and_values(tmp_path, text, message):
    assert re.search(rf"run\.toml: {message}", refusal(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PRESCRIBED.replace("2006", "2003"), "end 2003 is before start 2004"),
        (PRESCRIBED.replace("prescribed = -1.0", ""), 'model = "prescribed" and a value for prescribed go together'),
        (PRESCRIBED.replace('model = "prescribed"', ""), 'model = "prescribed" and a value for prescribed go together'),
        (PRESCRIBED.replace("-1.0", "[-1.0, -2.0]"), "smb.prescribed has 2 values; allowed: one, or 3"),
        (PRESCRIBED + 'recipe = "standard"\n', "recipe is not used with model"),
        (PRESCRIBED + '[forcing]\nkind = "climate"\nhistory = "c"\n', r"\[forcing\] is not used with smb.model"),
        (LEARNED[: LEARNED.index("[forcing]")], r'\[forcing\] is missing; smb.model = "gaussian_process" needs it'),
        (LEARNED + '[smb]\nmodel = "stored"\n', 'model = "stored" and a value for path go together'),
        (LEARNED + '[smb]\npath = "model"\n', 'model = "stored" and a value for path go together'),
        (
            LEARNED + '[smb]\nmodel = "stored"\npath = "m"\nrecipe = "standard"\n',
            'recipe is not used with model = "stored"',
        ),
        (STORED + "seed = 1\n", 'seed is not used with model = "stored"'),
        (PRESCRIBED + 'geodetic = "geodetic"\n', 'geodetic is not used with model = "prescribed"'),
        (PRESCRIBED + "keep_members = true\n", 'keep_members is not used with model = "prescribed"'),
        (
            LEARNED + '[smb]\nmodel = "lasso"\nsettings = {alpha = 3}\n',
            r"a lasso has no setting 'alpha' \(did you mean 'alphas'",
        ),
        (
            LEARNED + '[smb]\nmodel = "lasso"\nsettings = {zzz = 3}\n',
            r"a lasso has no setting 'zzz' \(allowed: alphas, ",
        ),
        (
            LEARNED + '[smb]\nmodel = "lasso"\nsettings = {seed = 3}\n',
            r"settings.seed: it is a field of \[smb\] itself",
        ),
        (LEARNED + '[smb]\nmodel = "ensemble"\n', r'model = "ensemble" needs settings.members'),
        (LEARNED + '[smb]\nmodel = "ensemble"\nsettings = {members = ["oak"]}\n', "oak"),
        (LEARNED + 'members = ["m0"]\n', "members are those of a projection"),
        (LEARNED + 'projection = "p"\nmembers = ["m0", "m0"]\n', "name one twice"),
        (LEARNED + "reference_period = [2015, 1967]\n", "allowed: first year, last year"),
        (PRESCRIBED + "[geometry]\nthickness_years = [2003, 2004]\n", r"\[2003\] are outside .*allowed: 2004 to 2006"),
        (PRESCRIBED + "[geometry]\nthickness_years = [2005, 2005]\n", "allowed: rising years, each once"),
        (PRESCRIBED + "[glaciers]\nbounding_box = [8.0, 45.0, 7.0, 46.0]\n", "allowed: west < east and south < north"),
    ],
)
def test_rules_between_fields(tmp_path, text, message):
    assert re.search(rf"run\.toml: .*{message}", refusal(tmp_path, text))


def test_all_mistakes_are_said_at_once(tmp_path):
    said = refusal(tmp_path, PRESCRIBED.replace("2006", '"x"') + '[glaciers]\nid = ["a"]\n').splitlines()
    assert len(said) == 2 and all(line.startswith(str(tmp_path / "run.toml")) for line in said)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"nothing.toml: there is no such run file"):
        load_config(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="there is no such run file"):
        load_config(tmp_path)
    assert "not TOML" in refusal(tmp_path, "title = ")
    (tmp_path / "latin.toml").write_bytes('title = "Écrins"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.toml: not TOML"):
        load_config(tmp_path / "latin.toml")


# -- the run files of the project ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", RUN_FILES, ids=lambda path: path.stem)
def test_run_files_of_the_project_load(path):
    assert load_config(path).title


def test_there_are_run_files():
    assert len(RUN_FILES) >= 3
