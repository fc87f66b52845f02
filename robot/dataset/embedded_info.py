"""What meta/info.json says of a dataset's columns, kept in each file of rows too: `repair` needs it
where info.json is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from .dataset_info import DatasetInfo

_KEY = b"holdfast.info"
_KEPT = ("codebase_version", "fps", "robot_type", "features", "chunks_size")


def embed(table: pa.Table, info: DatasetInfo) -> pa.Table:
    """The table with it, in the file's own metadata, which readers of columns do not see."""
    kept = {key: info.raw[key] for key in _KEPT if key in info.raw}
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), _KEY: msgspec.json.encode(kept)}
    )


def embedded(path: Path) -> dict[str, Any] | None:
    """What `embed` has kept in a file; None for a file without. Raises OSError, or ArrowException
    for a damaged file."""
    said = (pq.read_schema(path).metadata or {}).get(_KEY)
    try:
        return None if said is None else msgspec.json.decode(said, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
