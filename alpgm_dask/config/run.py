"""One run file: its sections together, read and checked, and what is said of one that is wrong."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from alpgm_dask.config.models import Smb, Validation
from alpgm_dask.config.sections import (
    Cluster,
    DeltaH,
    Downscaling,
    Ensemble,
    Forcing,
    Geometry,
    Glaciers,
    Period,
    Section,
)
from alpgm_dask.schema import InputError


class Config(Section):
    """One run: what a run file says."""

    title: str
    catalog: str = Field(description="catalog file, relative to the run file")
    catalog_parameters: dict[str, str] = Field({}, description="values of the catalog's parameters")
    output: str = Field(description="folder of the run, relative to the run file")
    glaciers: Glaciers = Glaciers()
    period: Period
    smb: Smb = Smb()
    validation: Validation = Validation()
    forcing: Forcing | None = None
    downscaling: Downscaling = Downscaling()
    delta_h: DeltaH = DeltaH()
    geometry: Geometry = Geometry()
    ensemble: Ensemble = Ensemble()
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _whole(self) -> Config:
        if self.smb.model != "prescribed" and self.forcing is None:
            raise ValueError(f'[forcing] is missing; smb.model = "{self.smb.model}" needs it')
        if self.smb.model == "prescribed" and self.forcing is not None:
            raise ValueError('[forcing] is not used with smb.model = "prescribed"; leave it out')
        at_points = self.forcing is not None and self.forcing.kind == "climate"
        if "downscaling" in self.model_fields_set and not at_points:
            raise ValueError('[downscaling] goes with [forcing] kind = "climate"; leave it out')
        n = self.period.end - self.period.start + 1
        if isinstance(self.smb.prescribed, tuple) and len(self.smb.prescribed) != n:
            raise ValueError(f"smb.prescribed has {len(self.smb.prescribed)} values; allowed: one, or {n}")
        outside = [y for y in self.geometry.thickness_years if not self.period.start <= y <= self.period.end]
        if outside:
            years = f"{self.period.start} to {self.period.end}"
            raise ValueError(f"geometry.thickness_years {outside} are outside of the period; allowed: {years}")
        return self

    @property
    def years(self) -> range:
        """The hydrological years of the run."""
        return range(self.period.start, self.period.end + 1)


def load_config(path: str | Path, **overrides: str) -> Config:
    """Read and check a run file.

    Parameters
    ----------
    path
        a TOML file.
    **overrides
        values for ``catalog`` or ``output`` that replace the file's, relative to the working directory; a kind of
        ``cluster`` that replaces the whole section.

    Raises
    ------
    InputError
        naming file, field, value and what is allowed.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: there is no such run file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    if overrides.get("cluster"):
        given["cluster"] = {"kind": overrides["cluster"]}
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_say(e)}" for e in error.errors())) from None
    resolved = {
        key: _resolve(Path(), overrides[key]) if overrides.get(key) else _resolve(path.parent, getattr(config, key))
        for key in ("catalog", "output")
    }
    if "://" in resolved["output"]:
        raise InputError(
            f"{path}: output {resolved['output']!r} is no folder; allowed: one that this process and workers see under "
            "the same path"
        )
    resolved["smb"] = config.smb.model_copy(update={"path": tuple(_resolve(path.parent, p) for p in config.smb.path)})
    return config.model_copy(update=resolved)


def _resolve(folder: Path, location: str) -> str:
    return location if "://" in location else str((folder / location).resolve())


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names that a section of the run file may have."""
    model: Any = Config
    for part in location:
        annotation = model.model_fields[part].annotation
        model = next(
            (t for t in (annotation, *getattr(annotation, "__args__", ())) if hasattr(t, "model_fields")), None
        )
        if model is None:
            return []
    return list(model.model_fields)


def _say(error: Any) -> str:
    """One validation error in the words of the project."""
    *section, name = error["loc"] or ("",)
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(tuple(section))
        near = difflib.get_close_matches(str(name), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
        return f"unknown field {where!r} ({hint})"
    if error["type"] == "missing":
        return f"field {where!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    given = f" (given {error['input']!r})" if where and not isinstance(error["input"], dict) else ""
    return f"{where}: {message}{given}" if where else message
