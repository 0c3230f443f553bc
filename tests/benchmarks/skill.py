"""How well the SMB models predict glaciers and years that they have not seen, on the real table of the French Alps.

    python tests/benchmarks/skill.py                                       # the default model, three schemes
    python tests/benchmarks/skill.py --model lasso --model tree_ensemble   # others
    python tests/benchmarks/skill.py --model neural_network --protocol published --architecture published

Nested: whatever a model chooses it chooses on folds inside the training part. The years tested are 1984 to 2015 (LOGO:
all); LSYGO are 64 random folds of 4 glaciers x 3 years. Folds are tasks on a local cluster.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_table import training_matrix

from alpgm_dask import connect, smb
from alpgm_dask.smb import scoring, validation

RECIPES = {"gaussian_process": "alpgm-1.2-regional"}


def models(arguments: argparse.Namespace) -> dict[str, object]:
    """The models asked for, by name."""
    out = {}
    for name in arguments.model or ["gaussian_process"]:
        recipe = arguments.recipe or RECIPES.get(name, "alpgm-1.2")
        settings = {"architecture": arguments.architecture} if name == "neural_network" else {}
        out[f"{name}, {recipe}"] = smb.make_model(name, recipe, settings)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--model", action="append", help="default: gaussian_process")
    parser.add_argument("--recipe", help="default: alpgm-1.2, with the regional climate for gaussian_process")
    parser.add_argument("--architecture", default="default", help="of neural_network")
    parser.add_argument("--scheme", action="append", help="default: logo, loyo, lsygo")
    parser.add_argument("--protocol", default="nested")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with connect(workers=arguments.workers, memory="4GB") as client:
        for name, model in models(arguments).items():
            for scheme in arguments.scheme or ["logo", "loyo", "lsygo"]:
                years = None if scheme == "logo" else (1984, 2015)
                plan = validation.Plan(scheme, years=years, protocol=arguments.protocol, weights=arguments.weights)
                table = training_matrix(arguments.shared, model.recipe)
                began = time.perf_counter()
                parts = client.gather(client.compute(validation.fold_tasks(model, table, plan)))
                found = validation.assemble(table, parts)
                print(
                    f"\n{name}, {scheme}: {len(parts)} folds, {time.perf_counter() - began:.0f} s {found.attrs['note']}"
                )
                print(scoring.as_text(scoring.score_table(found)), flush=True)


if __name__ == "__main__":
    main()
