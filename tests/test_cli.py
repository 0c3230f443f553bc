"""The command line: what it prints where, and what it says to the shell."""

from __future__ import annotations

import subprocess
import sys

import pytest
import small_region as small

from alpgm_dask import cli, schema
from alpgm_dask.cli import main

RUN = """
title = "four glaciers"
catalog = "catalog.yaml"
output = "run"
[period]
start = 2001
end = 2002
[smb]
model = "prescribed"
prescribed = -1.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    small.write_region(folder, small.everything())
    (folder / "run.toml").write_text(RUN)
    return folder


def test_words_are_the_registry(capsys):
    assert main(["words"]) == 0
    out = capsys.readouterr().out
    assert all(f"| `{name}` |" in out for name in schema.VARIABLES)


def test_check_says_what_would_be_read_and_writes_nothing(folder, capsys):
    before = sorted(folder.iterdir())
    assert main(["check", str(folder / "run.toml")]) == 0
    out, err = capsys.readouterr()
    assert "run.toml: ready, 4 glaciers" in out and "glaciers.zarr" in out and err == ""
    assert sorted(folder.iterdir()) == before


def test_check_takes_another_catalog(folder, capsys, tmp_path):
    assert main(["check", str(folder / "run.toml"), "--catalog", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: there is no such catalog" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[period]", "[perido]"), "unknown field 'perido' (did you mean 'period'?)"),
        (("catalog.yaml", "catalogue.yaml"), "catalogue.yaml: there is no such catalog"),
        (("[smb]", '[glaciers]\nids = ["G9"]\n[smb]'), "unknown glacier 'G9'"),
        (
            ('[smb]\nmodel = "prescribed"\nprescribed = -1.0', '[forcing]\nkind = "climate"\nhistory = "climate"'),
            "reference period: hydrological years 1967 to 2015 are asked for; it covers 2000 to 2004",
        ),
    ],
)
def test_refused_input_is_said_on_stderr_before_any_work(folder, capsys, verb, change, message):
    text = RUN.replace(*change)
    assert text != RUN
    (folder / "bad.toml").write_text(text)
    assert main([verb, str(folder / "bad.toml")]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("alpgm: ") and message in err
    assert out == "" and not (folder / "run").exists()


def test_an_unknown_stage_is_refused(folder, capsys):
    assert main(["run", str(folder / "run.toml"), "--force", "evolve"]) == 2
    assert "--force: unknown stage 'evolve'; allowed: training, smb" in capsys.readouterr().err


def test_a_run_that_is_not_there(tmp_path, capsys):
    assert main(["show", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "nothing.toml")]) == 2
    assert "nothing.toml: there is no such run file" in capsys.readouterr().err


def test_work_that_fails_is_1_and_an_interrupt_130(folder, capsys, monkeypatch):
    from alpgm_dask import outputs, pipeline

    def fail(*args, **options):
        raise outputs.BlocksFailedError({"member 0, block 1": "ValueError: x"})

    monkeypatch.setattr(pipeline, "run", fail)
    assert main(["run", str(folder / "run.toml")]) == 1
    err = capsys.readouterr().err
    assert "1 blocks failed; run again with --resume" in err and "member 0, block 1: ValueError: x" in err

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", interrupt)
    assert main(["run", str(folder / "run.toml")]) == 130
    assert "interrupted; run again with --resume" in capsys.readouterr().err


def test_options_of_a_run_reach_the_pipeline(folder, monkeypatch, tmp_path, capsys):
    from alpgm_dask import pipeline, report

    seen = {}

    def record(config, **options):
        seen.update(options, output=config.output)
        return tmp_path

    monkeypatch.setattr(pipeline, "run", record)
    monkeypatch.setattr(report, "describe", lambda folder: "the report")
    arguments = [
        "run",
        str(folder / "run.toml"),
        "--output",
        str(tmp_path / "o"),
        "--force",
        "smb",
        "--force",
        "figures",
    ]
    assert main([*arguments, "--overwrite"]) == 0
    assert seen == {"resume": False, "overwrite": True, "force": ["smb", "figures"], "output": str(tmp_path / "o")}
    assert main([*arguments, "--resume"]) == 0
    assert seen["resume"] and not seen["overwrite"]
    assert "the report" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run"], ["convert", "shapefile"], ["convert", "alpgm", "x"]])
def test_usage_errors_are_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: alpgm" in capsys.readouterr().err


def test_help_runs_as_a_module_and_lists_every_verb():
    done = subprocess.run(
        [sys.executable, "-m", "alpgm_dask.cli", "--help"], capture_output=True, text=True, check=True
    )
    for verb in ("run", "check", "validate", "convert", "show", "demo", "words"):
        assert f"    {verb} " in done.stdout
    assert cli.main.__doc__
