"""Limit the nesting of JSON before pyarrow parses it: deep nesting crashes its parser."""

import io
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

MAX_DEPTH = 200
_BLOCK_BYTES = 4 << 20
_ESCAPED = re.compile(rb"\\[^\r\n]")


class DepthLimitedStream(io.RawIOBase):
    """A stream of JSON lines that raises before it returns too deeply nested values."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._n_lines = 0
        # The state at the end of the last block: depth, within a string, after a backslash.
        self._depth, self._quoted, self._escaped = 0, 0, False

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, and check them."""
        block = self._stream.read(size)
        if block:
            self._check(block)
        return block

    def _check(self, block: bytes) -> None:
        if self._escaped:
            block = b" " + block[1:]
        block = _ESCAPED.sub(b"  ", block)
        self._escaped = block.endswith(b"\\")
        data = np.frombuffer(block, np.uint8)
        quoted = (np.cumsum(data == ord('"'), dtype=np.uint8) + np.uint8(self._quoted)) & 1
        breaks = np.flatnonzero((data == ord("\n")) | (data == ord("\r")))
        if quoted[breaks].any():
            # Beyond it, pyarrow's blocks and these would disagree about what is within a string.
            position = breaks[quoted[breaks].argmax()]
            raise pa.ArrowInvalid(f"{self._line(block, position)}: a string is not closed")
        lower = data | 0x20  # maps brackets to braces
        places = np.flatnonzero(((lower == ord("{")) | (lower == ord("}"))) & (quoted == 0))
        if len(places):
            depths = self._depth + np.cumsum(np.where(lower[places] == ord("{"), 1, -1))
            # Relative to the lowest depth so far, so that surplus closing braces hide no nesting.
            depths -= np.minimum(np.minimum.accumulate(depths), 0)
            if depths.max() > MAX_DEPTH:
                line = self._line(block, places[depths.argmax()])
                raise pa.ArrowInvalid(f"{line}: values are nested more than {MAX_DEPTH} deep")
            self._depth = int(depths[-1])
        self._quoted = int(quoted[-1])
        self._n_lines += block.count(b"\n")

    def _line(self, block: bytes, position: int) -> str:
        return f"line {self._n_lines + block[:position].count(10) + 1}"


def check_nesting(dataset: ds.Dataset) -> None:
    """Raise if a pyarrow Dataset has JSON files with values that are nested too deeply."""
    for child in getattr(dataset, "children", ()):
        check_nesting(child)
    if not isinstance(getattr(dataset, "format", None), ds.JsonFileFormat):
        return
    for file in dataset.files:
        with dataset.filesystem.open_input_stream(file, compression="detect") as stream:
            checked = DepthLimitedStream(stream)
            try:
                while checked.read(_BLOCK_BYTES):
                    pass
            except pa.ArrowInvalid as error:
                raise ValueError(f"{file} cannot be read: {error}") from error
