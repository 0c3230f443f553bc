"""The notebooks run from top to bottom, in an empty folder, and are stored without outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

#: One needs a hub; test_hub.py runs it there.
NEEDS_A_HUB = "01_gateway"
FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(path for path in FOLDER.glob("*.ipynb") if path.stem != NEEDS_A_HUB)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    nbclient.NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path)}}).execute()
    # what is shown at the end of a cell, pictures among it
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
