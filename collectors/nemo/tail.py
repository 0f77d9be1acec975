"""Following a file that another program appends lines to: what is new, over rotation and truncation."""

import os
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
"""Read of one run; what was appended before the newest of it is passed over, and said."""

MAX_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewLines:
    """Whole lines that are new, and sentences about what was not as usual."""

    lines: tuple[bytes, ...] = ()
    notes: tuple[str, ...] = ()


class FileTail:
    """Reads what is appended to a file from when it is first looked at; one that appears later from its start.

    What a rotated file got since the last look is lost: nobody knows its new name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._looked = False
        self._rest = b""
        self._amid = False
        """Whether the next bytes belong to a line whose beginning was not read."""

    def read(self) -> NewLines:
        """Return the new whole lines.

        Raises:
            OSError: the file is not there, or cannot be read.

        """
        first, self._looked = not self._looked, True
        with self._path.open("rb") as file:
            told = os.fstat(file.fileno())
            which, size, notes = (told.st_dev, told.st_ino), told.st_size, []
            if first:
                self._file, self._offset = which, size
                self._amid = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
                return NewLines()
            if which != self._file or size < self._offset:
                if self._file is not None:
                    notes.append(
                        f"the file was {'truncated' if which == self._file else 'rotated'}; read from its start"
                    )
                self._file, self._offset, self._rest, self._amid = which, 0, b"", False
            if size - self._offset > MAX_BYTES:
                notes.append(f"{(size - self._offset) // 2**20} MB were appended at once; the newest 4 are read")
                self._offset, self._rest, self._amid = size - MAX_BYTES, b"", True
            file.seek(self._offset)
            data = file.read(size - self._offset)
        self._offset += len(data)
        return NewLines(self._whole(data), tuple(notes))

    def _whole(self, data: bytes) -> tuple[bytes, ...]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._amid and lines:
            del lines[0]
            self._amid = False
        if len(self._rest) > MAX_LINE:
            self._rest, self._amid = b"", True
        return tuple(line for line in lines if line.strip())
