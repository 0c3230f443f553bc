"""From the hub: log in, open JupyterLab, run the notebook on a Gateway's workers, data and results on S3."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import hub_server
import nbformat
import pytest
import servers

pytestmark = [pytest.mark.hub, pytest.mark.slow]

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks/01_gateway.ipynb"
BUCKET = "s3://alps/alice"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub with the notebook in its user's home; a folder of screenshots may be named in ALPGM_SCREENSHOTS."""
    for package in ("selenium", "jupyterhub", "jupyterlab", "dask_gateway", "dask_gateway_server", "s3fs", "moto"):
        pytest.importorskip(package)
    if hub_server.missing():
        pytest.skip(f"not on this machine: {', '.join(hub_server.missing())}")
    folder = tmp_path_factory.mktemp("hub")
    with (
        servers.s3_server(folder) as environment,
        hub_server.hub_server(folder, {**environment, "ALPGM_BUCKET": BUCKET}) as found,
    ):
        shutil.copy(NOTEBOOK, found.home)
        yield found, environment


@contextmanager
def browser():
    """Headless Chromium with a profile of its own."""
    from selenium import webdriver

    flags = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
    flags += ("disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,3000")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*flags, f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def _log_in(driver, hub) -> None:
    """Log in, have the user's server started, open the notebook."""
    driver.get(f"{hub.url}/hub/login?next=/hub/spawn")
    _one(driver, "#username_input").send_keys(hub_server.USER)
    _one(driver, "#password_input").send_keys(hub_server.PASSWORD)
    _one(driver, "#login_submit").click()
    servers.wait_until(lambda: "/lab" in driver.current_url, 60, "JupyterLab")
    driver.get(f"{hub.url}/user/{hub_server.USER}/lab/tree/{NOTEBOOK.name}")


def _one(driver, selector: str, seconds: float = 60):
    found = []
    servers.wait_until(lambda: found or found.extend(_shown(driver, selector)) or found, seconds, selector)
    return found[0]


def _shown(driver, selector: str) -> list:
    return [element for element in driver.find_elements("css selector", selector) if element.is_displayed()]


def _kernel_is_idle(driver) -> bool:
    """Run All clicked before that opens a dialog that asks for a kernel."""
    idle = driver.find_elements("css selector", ".jp-Notebook-ExecutionIndicator[data-status='idle']")
    return bool(idle) and not driver.find_elements("css selector", ".jp-Dialog")


def _run_all(driver) -> None:
    """Run All, until cells run: a kernel that has just connected loses what it is sent first."""
    _one(driver, ".jp-NotebookPanel .jp-Cell")
    servers.wait_until(lambda: _kernel_is_idle(driver), 90, "an idle kernel")
    servers.wait_until(lambda: _runs_once_clicked(driver), 90, "cells that run")


def _runs_once_clicked(driver) -> bool:
    next(item for item in _shown(driver, ".lm-MenuBar-item") if item.text == "Run").click()
    _one(driver, "li.lm-Menu-item[data-command='runmenu:run-all']").click()
    for _ in range(50):
        prompts = [element.text for element in driver.find_elements("css selector", ".jp-InputPrompt")]
        if any(text.strip("[]: ") for text in prompts):  # [*] waits or runs, [1] has run
            return True
        time.sleep(0.2)
    return False


def _save(driver) -> None:
    from selenium.webdriver import ActionChains, Keys

    ActionChains(driver).key_down(Keys.CONTROL).send_keys("s").key_up(Keys.CONTROL).perform()


def _code(path: Path) -> list:
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.reader.NotJSONError):  # it is being written
        return []
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _ended(driver, path: Path) -> bool:
    """Whether the saved notebook has run to its end, or has an error in it."""
    _save(driver)
    time.sleep(1)
    cells = _code(path)
    failed = any(output.output_type == "error" for cell in cells for output in cell.outputs)
    return bool(cells) and (failed or bool(cells[-1].outputs))


def _screenshot(driver, folder: Path) -> Path:
    path = Path(os.environ.get("ALPGM_SCREENSHOTS", folder)) / "hub.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(path))
    return path


def test_a_notebook_of_the_hub_runs_on_the_gateway(hub, tmp_path):
    found, environment = hub
    path = found.home / NOTEBOOK.name
    with browser() as driver:
        try:
            _log_in(driver, found)
            _run_all(driver)
            servers.wait_until(lambda: _ended(driver, path), 150, "the notebook's end")
        finally:
            picture = _screenshot(driver, tmp_path)
    cells = _code(path)
    outputs = [output for cell in cells for output in cell.outputs]
    errors = ["\n".join(output.traceback) for output in outputs if output.output_type == "error"]
    assert not errors, errors[0]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert cells[-1].outputs[0].data["text/plain"] == "'closed'"
    assert picture.stat().st_size > 50_000
    _check_results(environment)
    assert environment["AWS_SECRET_ACCESS_KEY"] not in path.read_text()


def _check_results(environment: dict[str, str]) -> None:
    """What is in the bucket: whole results, and no credentials."""
    import s3fs
    import xarray as xr

    secrets = [environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]]
    options = {"endpoint_url": environment["AWS_ENDPOINT_URL"], "key": secrets[0], "secret": secrets[1]}
    results = xr.open_zarr(f"{BUCKET}/runs/warming.zarr", storage_options=options).isel(member=0)
    assert results.attrs["complete"] == 1 and results.attrs["failed_blocks"] == 0
    assert results.sizes["glacier"] == 119 and results["block_done"].values.all()
    assert set(results["status"].values) <= {1, 2}
    volume = results["volume"].sum("glacier").values
    assert (volume[1:] < volume[:-1]).all() and 0 < volume[-1] < 0.5 * volume[0]
    fs = s3fs.S3FileSystem(**options)
    written = [name for name in fs.find("alps/alice") if name.endswith((".json", ".yaml"))]
    assert any(name.endswith("runs/warming.zarr/zarr.json") for name in written)
    for name in written:
        assert not any(secret in fs.cat(name).decode() for secret in secrets), name


def test_the_notebook_is_kept_without_outputs():
    content = json.loads(NOTEBOOK.read_text())
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
