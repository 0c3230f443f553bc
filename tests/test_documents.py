"""The documents say what the code says: glossary, layers, fields of a run file, version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from alpgm_dask.config import Config
from alpgm_dask.schema import describe

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_glossary_is_the_registry():
    glossary = _text("CONTRIBUTING.md").split("<!-- words -->")[1].split("<!-- end of words -->")[0]
    assert glossary.strip() == describe(), "put the output of `alpgm words` into CONTRIBUTING.md"


def test_layers_are_those_that_are_checked():
    (contract,) = (c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    assert "```\n" + "\n".join(contract["layers"]) + "\n```" in _text("CONTRIBUTING.md")


def _sections() -> dict[str, list[str]]:
    """Section of a run file -> its fields; top-level fields under the empty name."""
    out: dict[str, list[str]] = {"": []}
    for name, field in Config.model_fields.items():
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        model = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
        if model is None:
            out[""].append(name)
        else:
            out[name] = list(model.model_fields)
    return out


@pytest.mark.parametrize(("section", "fields"), _sections().items(), ids=lambda v: v if isinstance(v, str) else "")
def test_readme_names_every_field_of_a_run_file(section, fields):
    (row,) = re.findall(rf"^\| {re.escape(f'`[{section}]`') if section else 'top'} \|.*$", _text("README.md"), re.M)
    missing = [name for name in fields if f"`{name}`" not in row]
    assert not missing


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load(_text("CITATION.cff"))
    assert str(citation["version"]) == PROJECT["project"]["version"]
    assert f"## [{citation['version']}]" in _text("CHANGELOG.md")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "deploy/README.md"])
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#:]+)\)", _text(name)):
        assert (ROOT / name).parent.joinpath(target).exists(), target
