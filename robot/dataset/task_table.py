"""`task_table`: the table of meta/tasks.parquet."""

from __future__ import annotations

import json

import pyarrow as pa


def task_table(tasks: list[str]) -> pa.Table:
    """As pandas writes a table whose index is the sentences: LeRobot reads it so."""
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks)}
    )
    columns = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy,
            "metadata": None,
        }
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    described = {"index_columns": ["task"], "column_indexes": [], "columns": columns}
    return table.replace_schema_metadata({"pandas": json.dumps(described)})
