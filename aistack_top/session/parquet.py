"""A look at a Parquet file before a library allocates what the file claims to need.

Only lengths and counts are read: those of the footer and of each page header, in Thrift's compact protocol
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, and thrift-compact-protocol.md
of the Thrift project). A page of 60 kB that claims to unpack to 2 GB is refused here, and so is a negative count,
for which Polars 2.1 asks the system for 2^61 bytes and ends the process (seen when fuzzing it).
"""

from typing import Any

from aistack_top.session.errors import SessionError
from aistack_top.text.sanitize import sanitize

MAX_UNPACKED = 1 * 2**30
"""Bytes that all pages of a file may unpack to: 20 million readings are 0.4 GB."""

_DEPTH = 12
_MAGIC = b"PAR1"

# numbers of the fields in parquet.thrift
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_ROWS, _COLUMN_META = 1, 3, 3
_META_VALUES, _META_PACKED, _META_DATA_PAGE, _META_DICTIONARY_PAGE = 5, 7, 9, 11
_PAGE_UNPACKED, _PAGE_PACKED, _PAGE_DATA, _PAGE_DICTIONARY, _PAGE_DATA_2 = 2, 3, 5, 7, 8
_DATA_VALUES, _DATA_2_NULLS, _DATA_2_ROWS, _DATA_2_LEVELS = 1, 2, 3, (5, 6)


def check(data: bytes, table: str, rows: int) -> None:
    """Return if the lengths inside a file agree with each other and with the rows it must have.

    Raises:
        SessionError: they do not.

    """
    try:
        problem = _problem(data, rows)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        problem = sanitize(str(error)) or "it is no Parquet"
    if problem:
        raise SessionError("damaged", f"{table}.parquet: {problem}")


def _problem(data: bytes, rows: int) -> str:
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        return "it is no Parquet"
    length = int.from_bytes(data[-8:-4], "little")
    if length > len(data) - 12:
        return "its footer is longer than the file"
    footer = _Thrift(data, len(data) - 8 - length, len(data) - 8).struct(0)
    if footer[_FILE_ROWS] != rows:
        return f"it claims {footer[_FILE_ROWS]} rows instead of {rows}"
    unpacked = 0
    groups = footer.get(_FILE_GROUPS, ())
    if sum(group[_GROUP_ROWS] for group in groups) != rows or any(group[_GROUP_ROWS] < 0 for group in groups):
        return "its parts have other rows than the whole"
    for group in groups:
        for column in group[_GROUP_COLUMNS]:
            unpacked += _unpacked(data, column[_COLUMN_META], group[_GROUP_ROWS])
            if unpacked > MAX_UNPACKED:
                return "it unpacks to more than any block has"
    return ""


def _unpacked(data: bytes, meta: dict[int, Any], rows: int) -> int:
    """Return the bytes that the pages of a column claim to unpack to."""
    starts = [meta[_META_DATA_PAGE]]
    if meta.get(_META_DICTIONARY_PAGE):
        starts.append(meta[_META_DICTIONARY_PAGE])
    place = min(starts)
    end = place + meta[_META_PACKED]
    if not 4 <= place <= end <= len(data):
        raise ValueError("a column lies outside the file")
    total = values = 0
    while place < end:
        thrift = _Thrift(data, place, end)
        header = thrift.struct(0)
        packed, unpacked = header[_PAGE_PACKED], header[_PAGE_UNPACKED]
        if packed < 0 or unpacked < 0 or thrift.place + packed > end:
            raise ValueError("a page has an impossible length")
        values += _values(header, unpacked, rows)
        total += unpacked
        place = thrift.place + packed
    if values != rows or meta[_META_VALUES] != rows:
        raise ValueError("a column has other rows than the table")
    return total


def _values(header: dict[int, Any], unpacked: int, rows: int) -> int:
    """Return the rows of a page; its counts must fit into its part of the file."""
    if _PAGE_DICTIONARY in header:
        if not 0 <= header[_PAGE_DICTIONARY][_DATA_VALUES] <= rows:
            raise ValueError("a dictionary has an impossible length")
        return 0
    page = header.get(_PAGE_DATA) or header[_PAGE_DATA_2]
    values = page[_DATA_VALUES]
    if _PAGE_DATA_2 in header:
        levels = [page[number] for number in _DATA_2_LEVELS]
        if min(levels) < 0 or sum(levels) > unpacked:
            raise ValueError("a page has levels of an impossible length")
        if page[_DATA_2_ROWS] != values or not 0 <= page[_DATA_2_NULLS] <= values:
            raise ValueError("a page has an impossible number of nulls")
    if not 0 <= values <= rows:
        raise ValueError("a page has an impossible number of rows")
    return int(values)


class _Thrift:
    """Reads Thrift's compact protocol between two places, into dictionaries by field number."""

    def __init__(self, data: bytes, place: int, end: int) -> None:
        self.data, self.place, self.end = data, place, end

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _DEPTH:
            raise ValueError("it is nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._zigzag()
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - a Thrift value is of any type
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._varint())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("its footer is damaged")

    def _list(self, depth: int) -> list[Any]:
        if depth > _DEPTH:
            raise ValueError("it is nested too deep")
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self._varint()
        if size > self.end - self.place:
            raise ValueError("a list is longer than the file")
        if kind in (1, 2):
            return [self._byte() == 1 for _ in range(size)]
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        if self.place >= self.end:
            raise ValueError("it ends too early")
        self.place += 1
        return self.data[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, length: int) -> None:
        if length > self.end - self.place:
            raise ValueError("a text is longer than the file")
        self.place += length
