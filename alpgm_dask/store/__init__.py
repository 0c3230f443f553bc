"""The only package that writes Zarr: prime, region writes, appending, encoding, provenance, ledger of blocks.

A store is primed (metadata, coordinates, the attribute ``complete = 0``), filled block by block by whoever made
the block, and finished (``complete = 1``). A store that is not finished is refused by :func:`open_store`, so a
half-written one never looks like a result; nor does one that is being appended to. The ledger is a variable of the
store itself, ``block_done``; a block's entry is written after its data, each in a chunk of its own.
"""

from alpgm_dask.store.appending import aligned_sizes, append, extend, undo_append, unfinished_append
from alpgm_dask.store.fingerprints import digest, fingerprint
from alpgm_dask.store.group import attributes, exists, is_complete, is_ours, remove
from alpgm_dask.store.lock import lock
from alpgm_dask.store.opening import open_direct, open_store, open_unfinished
from alpgm_dask.store.origin import code_revision, provenance
from alpgm_dask.store.writing import LEDGER, finish, pending, prime, write, write_block

__all__ = [
    "LEDGER",
    "aligned_sizes",
    "append",
    "attributes",
    "code_revision",
    "digest",
    "exists",
    "extend",
    "fingerprint",
    "finish",
    "is_complete",
    "is_ours",
    "lock",
    "open_direct",
    "open_store",
    "open_unfinished",
    "pending",
    "prime",
    "provenance",
    "remove",
    "undo_append",
    "unfinished_append",
    "write",
    "write_block",
]
