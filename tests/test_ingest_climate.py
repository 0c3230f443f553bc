"""Climate archives become stores: block by block, longer when more comes, never half."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from alpgm_dask import forcing, ingest, store
from alpgm_dask.catalog import open_catalog
from alpgm_dask.convert.climate import ClimateArchive
from alpgm_dask.convert.report import ConversionReport
from alpgm_dask.schema import InputError, annotate


def archive(first: int, last: int, *, points: int = 3, salt: str = "", members: tuple[str, ...] = ()) -> ClimateArchive:
    """Days of hydrological years whose values say year and point; a piece for each year, or for each member."""
    time = xr.date_range(f"{first - 1}-10-01", f"{last}-09-30")
    year = forcing.hydro_year(xr.DataArray(time, dims="time", coords={"time": time})).values
    tas = 260.0 + np.add.outer((year - 1990) * 0.1, np.arange(points))
    ds = xr.Dataset({"tas": (("time", "point"), tas)}, coords={"time": time})
    ds["snowfall"], ds["rainfall"] = ds["tas"] * 0 + 1.0, ds["tas"] * 0 + 2.0
    ds = ds.assign_coords(
        elevation=("point", np.linspace(1500.0, 3000.0, points)),
        lon=("point", np.linspace(6.0, 6.1, points)),
        lat=("point", np.full(points, 45.0)),
        massif=("point", np.array(["Alpha"] * points, dtype=object)),
    )
    pieces = tuple((str(y), f"{salt}{y}") for y in range(first, last + 1))
    if members:
        ds = xr.concat([ds.assign(tas=ds["tas"] + k) for k in range(len(members))], "member")
        ds = ds.assign_coords(member=np.array(members, dtype=object), gcm=("member", np.array(members, dtype=object)))
        pieces = tuple((name, f"{salt}{name}") for name in members)
    grows = "member" if members else "time"
    return ClimateArchive(annotate(ds).chunk(time=500), grows, pieces, ConversionReport("made up"))


@pytest.fixture(scope="module")
def client():
    from alpgm_dask.cluster import connect

    with connect(workers=2, memory="1GB") as client:
        yield client


def save(given: ClimateArchive, folder, client, **options) -> list[str]:
    said: list[str] = []
    ingest.save_climate(given, folder / "catalog.yaml", "climate", client, say=said.append, **options)
    return said


def stored(folder) -> xr.Dataset:
    return open_catalog(folder / "catalog.yaml").read("climate")


def chunks_of(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "/c/" in str(p)}


def test_an_archive_becomes_an_entry_that_holds_to_the_contract(tmp_path, client):
    given = archive(1991, 1996, points=70)
    save(given, tmp_path, client)
    found = stored(tmp_path)
    assert found["tas"].dtype == np.float32 and forcing.is_canonical(found)
    assert found["tas"].chunks[0] == (1461, 731) and found["tas"].chunks[1] == (64, 6)
    np.testing.assert_allclose(found["tas"].values, given.climate["tas"].values, rtol=1e-6)
    assert json.loads(found.attrs["value_ranges"])["tas"] == pytest.approx([260.1, 329.6])
    assert "block_done" not in found and found["massif"].values[0] == "Alpha"
    report = json.loads((tmp_path / "climate_report.json").read_text())
    assert report["title"] == "made up"
    mean = given.climate["tas"].values.mean() - 273.15
    assert report["totals"]["mean temperature (degC)"] == pytest.approx(mean, abs=0.01)
    assert report["totals"]["mean precipitation (mm per year)"] == pytest.approx(3 * 365.25, abs=0.1)
    dry = given.climate.assign(rainfall=given.climate["rainfall"] * 0, snowfall=given.climate["snowfall"] * 0.1)
    save(replace(given, climate=dry), tmp_path / "dry", client)
    assert "36.5 mm per year" in json.loads((tmp_path / "dry/climate_report.json").read_text())["notes"][-1]


def test_chunks_begin_with_hydrological_years(tmp_path, client):
    save(archive(1991, 2001), tmp_path, client)
    borders = np.cumsum([0, *stored(tmp_path)["tas"].chunks[0][:-1]])
    time = stored(tmp_path)["time"][borders]
    assert set(zip(time.dt.month.values.tolist(), time.dt.day.values.tolist(), strict=True)) == {(10, 1)}


def test_unchanged_is_skipped_and_more_is_appended_to_the_same_bytes(tmp_path, client):
    for name in ("grown", "whole"):
        (tmp_path / name).mkdir()
    save(archive(1991, 1995), tmp_path / "grown", client)
    assert "unchanged, skipped" in save(archive(1991, 1995), tmp_path / "grown", client)[0]
    assert "1996 to 2000 are new" in save(archive(1991, 2000), tmp_path / "grown", client)[0]
    save(archive(1991, 2000), tmp_path / "whole", client)
    xr.testing.assert_identical(
        stored(tmp_path / "grown").drop_attrs().compute(), stored(tmp_path / "whole").drop_attrs().compute()
    )
    values = [{k: v for k, v in chunks_of(tmp_path / n).items() if "/tas/" in k} for n in ("grown", "whole")]
    assert values[0] == values[1]
    ranges = [stored(tmp_path / name).attrs["value_ranges"] for name in ("grown", "whole")]
    assert json.loads(ranges[0])["tas"] == pytest.approx(json.loads(ranges[1])["tas"])


def test_a_new_member_is_appended(tmp_path, client):
    def shuffled(*order: str) -> ClimateArchive:
        """As a folder is listed: a new member may stand anywhere."""
        given = archive(1991, 1992, members=("a", "b", "c"))
        pieces = tuple(dict(given.pieces)[name] for name in order)
        place = [("a", "b", "c").index(name) for name in order]
        return replace(given, climate=given.climate.isel(member=place), pieces=tuple(zip(order, pieces, strict=True)))

    save(shuffled("a", "b"), tmp_path, client)
    before = chunks_of(tmp_path / "climate.zarr" / "tas")
    said = save(shuffled("c", "a", "b"), tmp_path, client)
    assert "c to c are new" in said[0]
    found, after = stored(tmp_path), chunks_of(tmp_path / "climate.zarr" / "tas")
    assert found["member"].values.tolist() == ["a", "b", "c"]
    assert {name: after[name] for name in before} == before
    np.testing.assert_allclose(found["tas"].values[2], archive(1991, 1992, members=("a", "b", "c")).climate["tas"][2])


def test_other_sources_are_refused_unless_told(tmp_path, client):
    save(archive(1991, 1992), tmp_path, client)
    with pytest.raises(
        InputError,
        match=r"'1991' is not in the files given \(give all of them again\) or has changed; allowed: another --name",
    ):
        save(archive(1991, 1993, salt="other"), tmp_path, client)
    moved = archive(1991, 1993)
    moved = ClimateArchive(
        moved.climate.assign_coords(lon=moved.climate["lon"] + 1), "time", moved.pieces, moved.report
    )
    with pytest.raises(InputError, match="variable 'lon' of the points differs"):
        save(moved, tmp_path, client)
    save(archive(1991, 1993, salt="other"), tmp_path, client, overwrite=True)
    assert stored(tmp_path).sizes["time"] == 365 * 3 + 1


def test_values_that_cannot_be_leave_no_finished_store(tmp_path, client):
    cold = archive(1991, 1992)
    cold = ClimateArchive(cold.climate.assign(tas=cold.climate["tas"] - 273.15), "time", cold.pieces, cold.report)
    with pytest.raises(InputError, match=r"variable 'tas' is -1\S+ K on 1990-10-01"):
        save(cold, tmp_path, client)
    assert not store.is_complete(str(tmp_path / "climate.zarr"))
    assert not (tmp_path / "catalog.yaml").exists()


def test_values_that_cannot_be_are_not_appended(tmp_path, client):
    save(archive(1991, 1993), tmp_path, client)
    before = stored(tmp_path).compute()
    warm = archive(1991, 1996)
    late = warm.climate["time"].dt.year > 1994
    warm = ClimateArchive(warm.climate.assign(tas=warm.climate["tas"] + 500 * late), "time", warm.pieces, warm.report)
    with pytest.raises(InputError, match=r"variable 'tas' is 76\S+ K on 1995-01-01"):
        save(warm, tmp_path, client)
    xr.testing.assert_identical(stored(tmp_path).compute(), before)
    save(archive(1991, 1996), tmp_path, client)
    assert stored(tmp_path).sizes["time"] == 365 * 6 + 2


@pytest.mark.parametrize("grown", [False, True])
def test_a_conversion_that_is_killed_goes_on_to_the_same_bytes(tmp_path, client, grown):
    """Killed after a block: what is there is kept (new store) or begun again from the old end (longer store)."""
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
        if grown:
            save(archive(1991, 1994), tmp_path / name, client)
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from pathlib import Path
        import test_ingest_climate as t
        from alpgm_dask import store
        from alpgm_dask.cluster import connect
        from alpgm_dask.ingest import blocks, climate

        def die_after_one(given, url, start, client):
            region = next(blocks.blocks_of(given.climate, start))
            part = given.climate[["tas", "snowfall", "rainfall"]].isel(region).astype("float32")
            part = part.drop_vars(list(part.coords)).assign_coords(time=part["time"]).compute()
            blocks.write_block(part, url, region, None if start else (0,), "daily")
            os.kill(os.getpid(), signal.SIGKILL)

        climate.write_blocks = die_after_one
        t.save(t.archive(1991, 1999), Path({str(tmp_path / "killed")!r}), None)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not store.is_complete(str(tmp_path / "killed/climate.zarr"))
    for name in ("killed", "whole"):
        save(archive(1991, 1999), tmp_path / name, client)
    killed, whole = (chunks_of(tmp_path / name / "climate.zarr") for name in ("killed", "whole"))
    assert killed == whole


def test_small_negative_amounts_are_set_to_zero_and_counted(tmp_path, client):
    noisy = archive(1991, 1992)
    fourth = noisy.climate["time"].dt.day == 4
    dry = noisy.climate.assign(rainfall=noisy.climate["rainfall"] - 2.5 * fourth)
    save(replace(noisy, climate=dry), tmp_path, client)
    report = json.loads((tmp_path / "climate_report.json").read_text())
    assert {f["name"]: f["count"] for f in report["faults"]}["negative amounts of precipitation"] == 24 * 3
    assert stored(tmp_path)["rainfall"].values.min() == 0.0


def test_half_written_climate_is_not_opened(tmp_path, client):
    save(archive(1991, 1994), tmp_path, client)
    more = archive(1991, 1996).climate
    store.extend(more.isel(time=slice(365 * 4 + 1, None)).astype("float32"), str(tmp_path / "climate.zarr"), "time")
    with pytest.raises(InputError, match="was not finished"):
        stored(tmp_path)
