"""Work that is kept: a stage is skipped while the fingerprint of its settings, inputs and code is unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpgm_dask.source_code import code_fingerprint
from alpgm_dask.store import digest, fingerprint

#: Stages of a run, in their order.
STAGES = ("training", "smb", "adjustment", "forcing", "delta_h", "evolution", "figures")

#: The results store in the folder of a run.
RESULTS = "results.zarr"


@dataclass
class Stages:
    """The stages of one run, and what is known of them from the last time (``stages.json`` in the run's folder).

    Attributes
    ----------
    folder
        of the run.
    force
        stages to do again whatever their fingerprint says.
    say
        where progress goes.
    planned
        the stages that this run has, in their order.
    """

    folder: Path
    force: Collection[str] = ()
    say: Callable[[str], None] = print
    planned: tuple[str, ...] = STAGES
    _code: str = field(default_factory=code_fingerprint)

    @property
    def _ledger(self) -> Path:
        return self.folder / "stages.json"

    def known(self) -> dict[str, str]:
        """Fingerprint of every stage that was finished."""
        return json.loads(self._ledger.read_text()) if self._ledger.exists() else {}

    def key(self, *what: Any) -> str:
        """Fingerprint of settings and of upstream fingerprints, and of the code."""
        return digest([self._code, *what])

    def do(self, name: str, key: str, product: Path, make: Callable[[], str]) -> None:
        """Do a stage, or skip it if its product is there and was made under the same fingerprint.

        Parameters
        ----------
        name
            of the stage.
        key
            from :meth:`key`.
        product
            file or folder that the stage makes.
        make
            makes it and returns a line that says what came out.
        """
        number = f"[{self.planned.index(name) + 1}/{len(self.planned)}] {name}"
        if name not in self.force and product.exists() and self.known().get(name) == key:
            self.say(f"{number}: unchanged, skipped")
            return
        began = time.perf_counter()
        self.say(f"{number} ...")
        self.forget(name)
        outcome = make()
        self._remember(name, key)
        self.say(f"{number}: {outcome} ({time.perf_counter() - began:.1f} s)")

    def forget(self, name: str) -> None:
        """A stage that is being made again is not finished until it is."""
        known = self.known()
        if known.pop(name, None) is not None:
            self._write(known)

    def _remember(self, name: str, key: str) -> None:
        self._write({**self.known(), name: key})

    def _write(self, known: dict[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self._ledger.with_suffix(".tmp")
        temporary.write_text(json.dumps(known, indent=1))
        temporary.replace(self._ledger)


def inputs_fingerprint(urls: dict[str, str]) -> dict[str, str]:
    """Fingerprint of the data behind every entry that a run reads."""
    return {name: fingerprint(url) for name, url in sorted(urls.items())}
