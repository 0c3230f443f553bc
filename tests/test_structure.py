"""The house: light to import, small files and functions, no shortcuts around the data."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import alpgm_dask

PACKAGE = Path(alpgm_dask.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    *("tensorflow", "keras", "sklearn", "matplotlib", "geopandas", "rasterio", "rioxarray", "distributed", "zarr"),
    *("numba", "intake", "xarray", "dask", "flox", "pandas", "scipy", "shapely", "pydantic"),
}

MAX_LINES, MAX_FUNCTION, MAX_ARGUMENTS = 300, 60, 10
#: Lines up to which a function may do without a docstring.
SELF_EXPLAINING = 15
#: Files and functions that are longer or take more, and why that is right. Think before you add one.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
#: Kernels: Numba takes plain arrays, not objects that hold them.
MANY_ARGUMENTS = re.compile(r"^kernels/")


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def functions() -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((f"{name_of(path)}::{node.name}", node))
    return found


def lines_of(node: ast.FunctionDef) -> int:
    """Lines of a function without its docstring, from ``def``."""
    total = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        total -= node.body[0].end_lineno - node.body[0].lineno + 1
    return total


def arguments_of(node: ast.FunctionDef) -> int:
    return len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])


# -- import -------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, alpgm_dask; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_main_job_needs_no_networks_maps_or_pictures():
    """What a worker imports to evolve a block: neither TensorFlow nor what draws, reads rasters or fits models."""
    code = "import sys, alpgm_dask.evolution, alpgm_dask.store, alpgm_dask.smb; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unwanted = {"tensorflow", "keras", "sklearn", "matplotlib", "geopandas", "rasterio", "intake"}
    assert unwanted & set(done.stdout.split()) == set()


@pytest.mark.parametrize("name", alpgm_dask.__all__)
def test_every_public_name_is_there_and_documented(name):
    found = getattr(alpgm_dask, name)
    assert name in dir(alpgm_dask)
    if name != "__version__":
        assert found.__doc__, f"alpgm_dask.{name} has no docstring"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'alpgm_dask' has no attribute 'evolv'"):
        _ = alpgm_dask.evolv


def test_the_map_of_the_house_is_complete():
    """Every module stands in the docstring of the package."""
    top = {path.stem for path in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    listed = set(re.findall(r"``(\w+)``", alpgm_dask.__doc__))
    assert top - listed - {"__init__", "__main__"} == set()


# -- size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short(path):
    n = len(path.read_text().splitlines())
    assert n <= MAX_LINES or name_of(path) in LONG_FILES, (
        f"{name_of(path)} has {n} lines. Does it do more than one thing? If not, say why in LONG_FILES."
    )


def test_functions_are_short_and_take_few_arguments():
    long = [f"{name}: {lines_of(f)} lines" for name, f in functions() if lines_of(f) > MAX_FUNCTION]
    long = [text for text in long if text.split(":: ")[0].rsplit(":", 1)[0] not in LONG_FUNCTIONS]
    assert not long, f"{long}. Which step of it deserves a name? If none, say why in LONG_FUNCTIONS."
    many = [
        f"{name}: {arguments_of(f)} arguments"
        for name, f in functions()
        if arguments_of(f) > MAX_ARGUMENTS and not MANY_ARGUMENTS.match(name)
    ]
    assert not many, f"{many}. Which of them belong together in one object?"


def test_exceptions_from_the_rules_are_still_needed():
    for name in LONG_FILES:
        assert len((PACKAGE / name).read_text().splitlines()) > MAX_LINES, (
            f"{name} is short now: take it out of LONG_FILES"
        )


def test_modules_and_public_functions_are_documented():
    bare = [name_of(path) for path in FILES if ast.get_docstring(ast.parse(path.read_text())) is None]
    assert bare == []
    top = [(name_of(path), ast.parse(path.read_text()).body) for path in FILES]
    undocumented = [
        f"{name}::{node.name}"
        for name, body in top
        for node in body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
        and lines_of(node) > SELF_EXPLAINING
    ]
    assert undocumented == [], "what does it do, in which units, and what does it refuse?"


# -- shortcuts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_pickles_no_evaluated_text_no_swallowed_errors(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {m.split(".")[0] for m in modules} & {"pickle", "cloudpickle", "joblib", "dill"}, modules
            starred = isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names)
            assert not starred, "star import"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile"), f"line {node.lineno}: {node.func.id}"
        if isinstance(node, ast.Call):
            loads = any(k.arg == "allow_pickle" and getattr(k.value, "value", True) for k in node.keywords)
            assert not loads, f"line {node.lineno}: allow_pickle"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global"


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=name_of)
def test_kernels_know_numpy_and_numba_only(path):
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            known = module.split(".")[0] in ("numpy", "numba", "math", "typing", "collections", "__future__")
            own = module.startswith(("alpgm_dask.kernels", "alpgm_dask.constants"))
            assert known or own, f"{name_of(path)} imports {module}"


def test_nothing_of_this_machine_is_in_the_package():
    for path in FILES:
        assert not re.search(r"/work/|/tmp/|/home/", path.read_text()), name_of(path)


def test_every_import_is_a_dependency():
    """A bare environment has what pyproject.toml says and nothing else."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    text = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    declared = {re.split(r"[\s\[<>=;~]", entry)[0].lower().replace("-", "_") for entry in text}
    names = {"yaml": "pyyaml", "sklearn": "scikit_learn", "affine": "rasterio"}  # its transforms are of that type
    used = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                used.add((node.module or "").split(".")[0])
    foreign = used - set(sys.stdlib_module_names) - {"alpgm_dask"}
    assert {names.get(n, n).lower() for n in foreign} - declared == set()
