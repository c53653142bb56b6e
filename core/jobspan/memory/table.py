"""Entries as a table, for people and for frames.

Invariant: a table is a list of rows, and stays as it was made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from jobspan.memory.entry import Entry, decode
from jobspan.memory.limits import Kept, list_entries
from jobspan.memory.signing import Signer
from jobspan.memory.store import Store

_COLUMNS = ("function", "arguments", "written", "duration", "nbytes", "key")


class Row(NamedTuple):
    """An entry.

    Attributes
    ----------
    function : str
        The name of its function's folder.
    arguments : dict of str
        What it says of the arguments, by their names.
    written, used : float
        When it was made, and last used as far as is known, in seconds since the epoch.
    duration : float
        Seconds that the call took.
    nbytes : int
        Bytes of the entry with its value.
    code : str
        The digest of the function's code.
    key : str
        Its key.
    """

    function: str
    arguments: dict[str, str]
    written: float
    used: float
    duration: float
    nbytes: int
    code: str
    key: str


class Table(list[Row]):
    """Entries, the newest first. A list that shows itself as a table."""

    def to_frame(self) -> Any:
        """The same as a `pandas.DataFrame`, which has to be installed."""
        import pandas as pd

        frame = pd.DataFrame(self, columns=list(Row._fields))
        for name in ("written", "used"):
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        return frame

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for row in self:
            arguments = ", ".join(f"{name}={text}" for name, text in row.arguments.items())
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.written))
            yield row.function, arguments, at, f"{row.duration:.3g} s", f"{row.nbytes}", row.key[:8]

    def __str__(self) -> str:
        cells = [_COLUMNS, *((*row[:1], _clip(row[1]), *row[2:]) for row in self._cells())]
        widths = [max(len(row[place]) for row in cells) for place in range(len(_COLUMNS))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """For notebooks."""
        from html import escape

        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in self._cells())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _clip(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def list_rows(store: Store, signer: Signer, folder: str = "") -> Table:
    """The entries of a function, or of all; those that cannot be read are left out."""
    rows = [_row(store, signer, kept) for kept in list_entries(store, folder)]
    return Table(sorted(filter(None, rows), key=lambda row: row.written, reverse=True))


def _row(store: Store, signer: Signer, kept: Kept) -> Row | None:
    data = store.read(f"{kept.folder}/{kept.key[0]}/{kept.key}")
    entry = None if data is None else decode(kept.key, data, signer)
    if not isinstance(entry, Entry):
        return None
    facts = entry.read_facts()
    arguments = {name: text for name, _, _, text, *_ in facts["arguments"]}
    return Row(kept.folder, arguments, entry.written, kept.used, entry.duration, kept.nbytes, facts["code"], kept.key)
