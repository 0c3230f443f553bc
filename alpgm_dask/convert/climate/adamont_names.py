"""Which climate member an ADAMONT file is of, and whether it holds daily means or daily sums: told by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from alpgm_dask.convert.climate.station_files import variable_named
from alpgm_dask.schema import InputError

#: What the names of global and of regional climate models have in common (CMIP5, CMIP6; EURO-CORDEX).
GLOBAL_MODELS = (
    *("CNRM-CM", "CNRM-ESM", "EC-EARTH", "IPSL-CM", "HadGEM", "MPI-ESM", "NorESM", "GFDL", "MIROC", "CanESM", "CSIRO"),
    *("CCSM", "CESM", "ACCESS", "MRI-", "CMCC", "INM-CM", "UKESM", "BCC-", "FGOALS", "GISS"),
)
REGIONAL_MODELS = (
    *("ALADIN", "RCA4", "RCA3", "RACMO", "HIRHAM", "WRF", "REMO", "CCLM", "COSMO", "RegCM", "HadREM", "HadRM", "HCLIM"),
    *("ICON-CLM", "CRCM"),
)

#: Global attributes that may say it, in lower case.
_ATTRIBUTES = {
    "gcm": ("driving_model_id", "driving_source_id", "driving_model", "gcm", "gcm_model"),
    "rcm": ("model_id", "source_id", "rcm", "rcm_model"),
    "scenario": ("driving_experiment_name", "driving_experiment_id", "experiment_id", "scenario", "rcp", "experiment"),
}
#: A path before the past: the name of a run that goes on after the past may have both.
_SCENARIOS = (
    re.compile(r"(rcp)[ _-]?(\d)[.-]?(\d)(?!\d)", re.IGNORECASE),
    re.compile(r"(ssp)[ _-]?(\d)[.-]?(\d)[.-]?(\d)(?!\d)", re.IGNORECASE),
    re.compile(r"(historical)|(?<![a-z])(?:hist)(?![a-z])", re.IGNORECASE),
)
_KINDS = {
    "mean": re.compile(r"mean|moy|(?<![a-z])avg", re.IGNORECASE),
    "sum": re.compile(r"sum|cumul|(?<![a-z])tot(?:al)?(?![a-z])", re.IGNORECASE),
}


@dataclass(frozen=True, order=True)
class Member:
    """A climate member: global model, regional model, scenario."""

    gcm: str
    rcm: str
    scenario: str

    @property
    def label(self) -> str:
        """The member's name."""
        return f"{self.gcm}_{self.rcm}_{self.scenario}"


def identify(ds: xr.Dataset, path: Path, pattern: str | None = None) -> tuple[Member, str]:
    """Member and kind ("mean" or "sum") of a file.

    The tokens of its name, cut at ``_``, in any order; what they leave open, its global attributes say (and, of the
    kind, its variables: temperature without precipitation is a mean, precipitation without temperature a sum).

    Parameters
    ----------
    ds
        the file, values unread.
    path
        its name.
    pattern
        regular expression searched for in the name, with groups named gcm, rcm, scenario and kind (each optional),
        for names that are like no others.

    Raises
    ------
    InputError
        for what cannot be told, or not without doubt.
    """
    named = _matched(path, pattern)
    found = {word: named.get(word) or _of_name(path, word) or _of_attributes(ds, word) for word in _ATTRIBUTES}
    unknown = [word for word, value in found.items() if not value]
    if unknown:
        raise InputError(
            f"{path}: neither its name nor its attributes tell the {unknown[0]}; allowed: GCM, RCM and RCP between '_' "
            f"in the name, the attribute '{_ATTRIBUTES[unknown[0]][0]}', or a pattern (--pattern) with a group "
            f"'{unknown[0]}'"
        )
    member = Member(found["gcm"], found["rcm"], scenario_of(found["scenario"]) or found["scenario"].lower())
    return member, _kind(ds, path, named.get("kind"))


def scenario_of(text: str) -> str:
    """A scenario as everyone writes it, in lower case without dots; empty where there is none.

    >>> scenario_of("RCP8.5"), scenario_of("rcp_45"), scenario_of("SSP1-2.6"), scenario_of("ALADIN53")
    ('rcp85', 'rcp45', 'ssp126', '')
    """
    for spelling in _SCENARIOS:
        found = spelling.search(text)
        if found is not None:
            return "".join(part for part in found.groups() if part).lower() or "historical"
    return ""


def _matched(path: Path, pattern: str | None) -> Mapping[str, str | None]:
    if pattern is None:
        return {}
    found = re.search(pattern, path.name)
    if found is None:
        raise InputError(f"{path}: the name does not match the pattern (--pattern) {pattern!r}; allowed: names that do")
    return found.groupdict()


def _of_name(path: Path, word: str) -> str:
    tokens = path.stem.split("_")
    if word == "scenario":
        return scenario_of(path.stem)
    families, others = (GLOBAL_MODELS, REGIONAL_MODELS) if word == "gcm" else (REGIONAL_MODELS, GLOBAL_MODELS)
    fitting = list(dict.fromkeys(token for token in tokens if _has(token, families)))
    if len(fitting) > 1:
        raise InputError(
            f"{path}: the name has more than one {word}: {', '.join(fitting)}; allowed: one, or a pattern (--pattern)"
        )
    if not fitting:
        return ""
    if not _has(fitting[0], others):
        return fitting[0]
    # both models in one token, cut by nothing but hyphens: the part that starts with the family's name
    family = next(f for f in families if f.lower() in fitting[0].lower())
    return re.search(re.escape(family) + r"[A-Za-z0-9]*", fitting[0], re.IGNORECASE)[0]


def _has(token: str, families: Iterable[str]) -> bool:
    return any(family.lower() in token.lower() for family in families)


def _of_attributes(ds: xr.Dataset, word: str) -> str:
    attrs = {str(name).lower(): str(value).strip() for name, value in ds.attrs.items()}
    return next((attrs[name] for name in _ATTRIBUTES[word] if attrs.get(name)), "")


def _kind(ds: xr.Dataset, path: Path, named: str | None) -> str:
    """ "mean" or "sum": the name, else what is in the file."""
    text = named if named is not None else path.stem
    kinds = [kind for kind, spelling in _KINDS.items() if spelling.search(text)]
    if not kinds:
        has_tas = variable_named(ds, ("Tair",)) is not None
        has_amounts = variable_named(ds, ("SNOW", "Snowf", "RAIN", "Rainf")) is not None
        kinds = [kind for kind, there in (("mean", has_tas), ("sum", has_amounts)) if there]
    if len(kinds) != 1:
        raise InputError(
            f"{path}: the name does not tell daily means from daily sums; allowed: 'mean' or 'sum' in the name (such "
            "as daymean, daysum), or a pattern (--pattern) with a group 'kind'"
        )
    return kinds[0]
