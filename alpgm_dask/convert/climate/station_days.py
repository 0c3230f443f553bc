"""Steps of any length that divides a day, spread over many files -> days, as one lazy pass in bounded memory.

A task reads the steps of some whole days (from one file, or from two where a day begins in one and ends in the next)
and reduces them to days at once: what is larger than a day's values never becomes a chunk of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr

from alpgm_dask.convert.climate.station_files import TARGETS, Index, StationFile, conversion, steps_of
from alpgm_dask.forcing.calendar import calendar_of
from alpgm_dask.schema import InputError

#: Bytes that the values of one task take as float64; decoding takes two or three times as much for a moment.
TASK_BYTES = 32 * 2**20

_DAY = np.timedelta64(86_400_000_000_000, "ns")


@dataclass(frozen=True)
class Segment:
    """Consecutive steps of one file as it was when last modified (ns): a changed file makes other tasks."""

    path: str
    modified: int
    time_dim: str
    point_dim: str
    variable: str
    start: int
    stop: int


@dataclass(frozen=True)
class Series:
    """Files one after the other, without a gap.

    Attributes
    ----------
    sources
        files in order of time.
    start
        first row of each that counts: those before it are in the file before.
    time
        (step,) dates of all rows that count.
    step
        time between two of them.
    repeated
        rows that were in two files and count once.
    """

    sources: tuple[StationFile, ...]
    start: tuple[int, ...]
    time: Index
    step: np.timedelta64
    repeated: int

    @property
    def ends(self) -> np.ndarray:
        """(file + 1,) position in `time` of the first row of each file, and one past the last."""
        return np.cumsum([0, *(len(s.time) - first for s, first in zip(self.sources, self.start, strict=True))])

    @property
    def steps_per_day(self) -> int:
        """Steps of a day."""
        return int(_DAY / self.step)


def in_order(sources: Sequence[StationFile]) -> Series:
    """Files in the order of their dates; what two of them share (the last stamp is the next one's first) counts once.

    Raises
    ------
    InputError
        for a gap or another step, naming the dates and the files; two files that share more than a day; a step that
        does not divide a day.
    """
    _refuse_calendars(sources)
    sources = sorted(sources, key=lambda s: (s.time[0], s.path))
    step = min((steps_of(s.time).min() for s in sources if len(s.time) > 1), default=_DAY)
    if _DAY % step:
        raise InputError(f"{sources[0].path}: variable 'time' has steps of {_hours(step)} h; allowed: parts of a day")
    start, time = [0], sources[0].time
    for before, source in pairwise(sources):
        first = int(np.searchsorted(source.time, time[-1], side="right"))
        if first == len(source.time) or first * step > _DAY:
            raise InputError(
                f"{source.path}: variable 'time': {source.time[0]} to {source.time[max(first - 1, 0)]} is in "
                f"{before.path} too; allowed: every date in one file (one day at most in two)"
            )
        start.append(first)
        time = type(time)(np.concatenate([time.values, source.time.values[first:]]))
    series = Series(tuple(sources), tuple(start), time, step, sum(start))
    _refuse_gaps(series)
    return series


def _refuse_calendars(sources: Sequence[StationFile]) -> None:
    for source in sources[1:]:
        here, first = calendar_of(source.time), calendar_of(sources[0].time)
        if here != first or type(source.time) is not type(sources[0].time):
            raise InputError(
                f"{source.path}: variable 'time' has calendar {here!r}, in {sources[0].path} it is {first!r}; "
                "allowed: one calendar"
            )


def _refuse_gaps(series: Series) -> None:
    wrong = np.flatnonzero(steps_of(series.time) != series.step)
    if not wrong.size:
        return
    at = int(wrong[0])
    here, there = (series.sources[np.searchsorted(series.ends, i, side="right") - 1].path for i in (at, at + 1))
    files = here if here == there else f"{here} and {there}"
    raise InputError(
        f"{files}: variable 'time': {series.time[at + 1]} follows {series.time[at]} ({wrong.size} such places); "
        f"allowed: steps of {_hours(series.step)} h without gap"
    )


def _hours(step: np.timedelta64) -> str:
    return f"{step / np.timedelta64(3_600_000_000_000, 'ns'):g}"


def whole_days(series: Series, ending: bool = False) -> tuple[int, int]:
    """Position of the first step of the first whole day, and the number of whole days.

    With `ending`, a step also belongs to the day that it ends, so that the last day needs the next one's first step.
    """
    start = series.time[:1]
    late = int(np.asarray(start - start.floor("D"), dtype="timedelta64[ns]")[0] // series.step)
    first = (series.steps_per_day - late) % series.steps_per_day
    return first, max(0, len(series.time) - first - int(ending)) // series.steps_per_day


def daily_array(
    series: Series, word: str, days: tuple[int, int], *, how: str, later: int = 0, step_days: float | None = None
) -> xr.DataArray:
    """One variable, day by day (00 to 24 h UTC); lazy.

    Parameters
    ----------
    series
        the files.
    word
        tas, snowfall or rainfall.
    days
        position of the first day's first step, number of days: see :func:`whole_days`.
    how
        "mean" or "sum" over the steps of a day.
    later
        1 where the value of a step is that of the time before its stamp: the one stamped 00:00 belongs to the day
        before.
    step_days
        days that a rate is taken to last; None: the step.

    Returns
    -------
    DataArray float32 (``time``, ``point``) in K or kg m-2 per day: chunks of some days and all points, or of some
    points if the files are stored in long columns. No task reads more than :data:`TASK_BYTES`.
    """
    import dask.array as da
    from dask import delayed

    (first, n_days), per_day = days, series.steps_per_day
    factor, offset = _conversion(series, word, float(series.step / _DAY) if step_days is None else step_days)
    blocks, read, rows = _point_blocks(series), delayed(read_days, pure=True, traverse=False), []
    for a, b in _windows(series, first, n_days):
        segments = _segments(series, word, first + later + a * per_day, first + later + b * per_day)
        tasks = [(read(segments, *block, per_day, how, factor, offset), block) for block in blocks]
        rows.append([da.from_delayed(task, (b - a, last - at), "float32") for task, (at, last) in tasks])
    stamps = series.time[first : first + n_days * per_day : per_day].floor("D")
    return xr.DataArray(
        da.block(rows), dims=("time", "point"), coords={"time": stamps}, name=word, attrs={"units": TARGETS[word]}
    )


def read_days(
    segments: tuple[Segment, ...], first: int, last: int, per_day: int, how: str, factor: float, offset: float
) -> np.ndarray:
    """(day, point) float32 of the points `first` to `last` (not included): mean or sum of each day's steps."""
    parts = [_read(segment, slice(first, last)) for segment in segments]
    steps = parts[0] if len(parts) == 1 else np.concatenate(parts)
    steps = steps.reshape(-1, per_day, last - first)
    total = steps.sum(axis=1) if how == "sum" else steps.mean(axis=1)
    return (total * factor + (offset * per_day if how == "sum" else offset)).astype("float32")


def _read(segment: Segment, points: slice) -> np.ndarray:
    """(step, point) float64.

    Opened and closed under the lock that xarray itself reads NetCDF under: the library is not thread-safe, not even
    for opening, and other tasks of the process may read files that xarray opened.
    """
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with (
        NETCDF4_PYTHON_LOCK,
        xr.open_dataset(segment.path, engine="netcdf4", cache=False, decode_times=False, lock=False) as ds,
    ):
        part = ds[segment.variable].isel(
            {segment.time_dim: slice(segment.start, segment.stop), segment.point_dim: points}
        )
        return part.transpose(segment.time_dim, segment.point_dim).values.astype("float64", copy=False)


def _conversion(series: Series, word: str, step_days: float) -> tuple[float, float]:
    wanted = conversion(series.sources[0], word, step_days)
    for source in series.sources[1:]:
        if conversion(source, word, step_days) != wanted:
            raise InputError(
                f"{source.path}: variable '{source.names[word]}' has units {source.units[word]!r}, in "
                f"{series.sources[0].path} they are {series.sources[0].units[word]!r}; allowed: the same"
            )
    return wanted


def _windows(series: Series, first: int, n_days: int) -> list[tuple[int, int]]:
    """First and last day (not included) of each chunk: they begin where files do, and fit into a task."""
    block = max(last - at for at, last in _point_blocks(series))
    longest = max(1, TASK_BYTES // (8 * series.steps_per_day * block))
    begins = {int(np.clip((end - first) // series.steps_per_day, 0, n_days)) for end in series.ends[:-1]}
    borders = sorted({0, *begins, n_days})
    out = []
    for a, b in pairwise(borders):
        parts = -(-(b - a) // longest)
        cuts = [a + (b - a) * i // parts for i in range(parts + 1)]
        out += pairwise(cuts)
    return out


def _point_blocks(series: Series) -> list[tuple[int, int]]:
    """All points at once; some, where a stored chunk holds most of a file's steps, or a day is too much."""
    n, longest = series.sources[0].points.sizes["point"], max(len(s.time) for s in series.sources)
    columns = any(2 * s.storage_rows > len(s.time) for s in series.sources)
    rows = longest + series.steps_per_day if columns else series.steps_per_day
    parts = -(-n // max(1, TASK_BYTES // (8 * rows)))
    cuts = [n * i // parts for i in range(parts + 1)]
    return list(pairwise(cuts))


def _segments(series: Series, word: str, start: int, stop: int) -> tuple[Segment, ...]:
    """Rows `start` to `stop` (not included) of the series, file by file."""
    out, ends = [], series.ends
    for i, source in enumerate(series.sources):
        a, b = max(start, int(ends[i])), min(stop, int(ends[i + 1]))
        if a < b:
            shift = series.start[i] - int(ends[i])
            name = source.names[word]
            out.append(
                Segment(source.path, source.modified, source.time_dim, source.point_dim, name, a + shift, b + shift)
            )
    return tuple(out)


def files_within(series: Series, start: int, stop: int) -> list[Path]:
    """The files that have rows `start` to `stop` (not included) of the series, in order of time."""
    ends = series.ends
    inside = [max(start, ends[i]) < min(stop, ends[i + 1]) for i in range(len(series.sources))]
    return [Path(source.path) for source, yes in zip(series.sources, inside, strict=True) if yes]
