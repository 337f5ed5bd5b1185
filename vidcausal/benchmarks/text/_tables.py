"""CSV files as rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from vidcausal.errors import DataError


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header.

    Raises:
        DataError: missing, not UTF-8, empty, without one of ``columns``, or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give the path of a .csv file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found = reader.fieldnames or ()
    if missing := [column for column in columns if column not in found]:
        raise DataError(f"{path} needs the columns {', '.join(columns)}; {', '.join(missing)} missing of {list(found)}")
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}, line {reader.line_num}: {len(found)} columns are needed")
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    return rows
