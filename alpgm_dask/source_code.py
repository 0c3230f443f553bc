"""The source of this package as a fingerprint: what tells results, or a client and its workers, apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

#: Parts of the package that no number of a run goes through.
_NOT_IN_NUMBERS = ("plots", "convert", "demo", "cli", "report.py", "ingest", "cluster")


def code_fingerprint(part: str = "") -> str:
    """Hash of the source that makes the numbers of a run, or of one part of the package: other code, other results."""
    here = Path(__file__).parent
    whole = here / part
    names = {p.relative_to(here): p for p in ([whole] if whole.is_file() else sorted(whole.rglob("*.py")))}
    kept = {n.as_posix(): p.read_text() for n, p in names.items() if part or n.parts[0] not in _NOT_IN_NUMBERS}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16).hexdigest()
