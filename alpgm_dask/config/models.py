"""The sections of a run file about the mass balance: the model, and how it is proved."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from alpgm_dask.config.sections import Section

RecipeName = Literal[
    "standard",
    "alpgm-1.2",
    "standard-seasonal",
    "alpgm-1.2-seasonal",
    "standard-regional",
    "alpgm-1.2-regional",
    "standard-seasonal-regional",
    "alpgm-1.2-seasonal-regional",
]


class Smb(Section):
    """Where the mass balance comes from: learned from observations and climate, a stored model, or prescribed."""

    model: Literal[
        "gaussian_process", "lasso", "neural_network", "tree_ensemble", "ensemble", "stored", "prescribed"
    ] = "gaussian_process"
    recipe: RecipeName = Field("standard-seasonal-regional", description="features of a model that is fitted")
    settings: dict[str, Any] = Field({}, description="settings of the model that is fitted, by name")
    sample_weight: Literal["none", "balanced"] = Field(
        "none", description='"balanced": extreme mass balances, which are rare, count more in the fit'
    )
    seed: int = Field(0, description="of whatever is random in the fit")
    observations: str = Field("smb_observations", description="entry with observed mass balance")
    path: tuple[str, ...] = Field((), description="folder or files of a stored or published model")
    keep_members: bool = Field(False, description="store what every model of an ensemble says")
    geodetic: str | None = Field(None, description="entry with corrections to geodetic balances; none: none is made")
    prescribed: float | tuple[float, ...] | None = Field(
        None, description="m w.e. per year: one number, or one for each year of the period"
    )

    @field_validator("path", mode="before")
    @classmethod
    def _one_path(cls, path: Any) -> Any:
        return (path,) if isinstance(path, str) else path

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Smb:
        of_model = {"prescribed": self.prescribed is not None, "stored": bool(self.path)}
        for field, model in (("prescribed", "prescribed"), ("path", "stored")):
            if (self.model == model) != of_model[model]:
                raise ValueError(f'model = "{model}" and a value for {field} go together')
        of_a_fit = ("recipe", "settings", "sample_weight", "seed")
        unused = {"stored": of_a_fit, "prescribed": (*of_a_fit, "observations", "keep_members", "geodetic")}
        for name in unused.get(self.model, ()):
            if name in self.model_fields_set:
                raise ValueError(f'{name} is not used with model = "{self.model}"; leave it out')
        self._check_settings()
        return self

    def _check_settings(self) -> None:
        """Refuse settings that the model does not have, and an ensemble of nothing."""
        if self.model == "ensemble" and "members" not in self.settings:
            raise ValueError('model = "ensemble" needs settings.members: names of models, or tables with a kind')
        if not self.settings:
            return
        from alpgm_dask.smb.model_store import class_of, make_model

        own = set(inspect.signature(class_of(self.model)).parameters) - {"recipe", "seed"}
        for name in self.settings:
            if name in ("recipe", "seed"):
                raise ValueError(f"settings.{name}: it is a field of [smb] itself; leave it out of settings")
            if name not in own:
                near = difflib.get_close_matches(name, own, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(sorted(own)) or 'none'}"
                raise ValueError(f"a {self.model} has no setting {name!r} ({hint})")
        make_model(self.model, self.recipe, self.settings, self.seed)


class Validation(Section):
    """How ``alpgm validate`` proves the model of a run."""

    schemes: tuple[str, ...] = Field(
        ("logo", "loyo", "lsygo"), min_length=1, description='what is held out; also "years-N", or a label as "massif"'
    )
    models: tuple[str, ...] = Field((), description="further models, by name, to be compared with that of [smb]")
    years: tuple[int, int] | None = Field(None, description="first and last year that is tested; none: all")
    inner_splits: int = Field(10, ge=2, description="at most so many folds that settings are chosen on")
    seed: int = Field(0, description="of random folds")
