"""A cloud-optimised GeoTIFF put together from blocks that GDAL has compressed already: none is unpacked again.

A COG is a TIFF whose directories stand before all data and whose overviews' data stand before the image's, so it can
be laid out only when all blocks are known. GDAL's own way there packs every block a second time. Here GDAL writes the
blocks and the directories, into files of their own, and this module moves their bytes (TIFF 6.0, BigTIFF, and what
GDAL's COG driver documents of the layout). Blocks lie tile by tile, all bands of a tile together.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_OFFSETS, _BYTE_COUNTS, _SUBFILE = 324, 325, 254
_SHORT, _LONG, _LONG8 = 3, 4, 16
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_REDUCED = 1

_CLASSIC_END = 2**32 - 2**16

_STRUCTURE = b"LAYOUT=IFDS_BEFORE_DATA\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
"""As GDAL writes it behind the header; an editor turns the NO into a YES, for which the space makes room."""


@dataclass(frozen=True)
class Level:
    """The image or one of its overviews, to be laid out."""

    head: Path
    """A TIFF of its size, whose directory says all but where blocks are."""

    parts: tuple[Path, ...]
    """TIFFs of its width that hold its rows from top to bottom, each a whole number of blocks high but the last."""


class BrokenTiffError(OSError):
    """A file that GDAL has just written is none, or was cut off."""


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    content: bytes


class _Tiff:
    """The first directory of a little-endian TIFF."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(16)
            if start[:2] != b"II" or start[2:4] not in (b"\x2a\0", b"\x2b\0"):
                raise BrokenTiffError(f"{path.name} is no little-endian TIFF")
            self._big = start[2:4] == b"\x2b\0"
            place = struct.unpack("<Q", start[8:16])[0] if self._big else struct.unpack("<L", start[4:8])[0]
            self.entries = dict(self._entry(file, raw) for raw in self._directory(file, place))
        if self.numbers(_OFFSETS).size and int((self.numbers(_OFFSETS) + self.numbers(_BYTE_COUNTS)).max()) > size:
            raise BrokenTiffError(f"{path.name} ends before its last block")

    def _directory(self, file: IO[bytes], place: int) -> list[bytes]:
        counted, each = (8, 20) if self._big else (2, 12)
        file.seek(place)
        number = int.from_bytes(file.read(counted), "little")
        raw = file.read(number * each)
        if not number or len(raw) < number * each:
            raise BrokenTiffError(f"{self.path.name} has no directory")
        return [raw[first : first + each] for first in range(0, len(raw), each)]

    def _entry(self, file: IO[bytes], raw: bytes) -> tuple[int, _Entry]:
        tag, kind, count = struct.unpack("<HHQ" if self._big else "<HHL", raw[:-8] if self._big else raw[:-4])
        inside = raw[-8:] if self._big else raw[-4:]
        length = _TYPE_BYTES[kind] * count
        if length > len(inside):
            file.seek(int.from_bytes(inside, "little"))
            inside = file.read(length)
            if len(inside) < length:
                raise BrokenTiffError(f"{self.path.name} ends within its directory")
        return tag, _Entry(kind, count, inside[:length])

    def numbers(self, tag: int) -> NDArray[np.uint64]:
        """The unsigned integers of a tag; none if it is not there."""
        entry = self.entries.get(tag)
        if entry is None:
            return np.zeros(0, np.uint64)
        return np.frombuffer(entry.content, f"<u{_TYPE_BYTES[entry.kind]}").astype(np.uint64)

    def number(self, tag: int) -> int:
        """The one integer of a tag."""
        return int(self.numbers(tag)[0])

    def blocks_across(self) -> int:
        """How many blocks a row of blocks has, of each band."""
        return -(-self.number(256) // self.number(322))

    def blocks_down(self) -> int:
        """How many rows of blocks there are."""
        return -(-self.number(257) // self.number(323))

    def by_place(self, tag: int) -> NDArray[np.uint64]:
        """Offsets or sizes of the blocks, shape (rows of blocks, blocks across, bands)."""
        bands = self.number(277) if self.number(284) == 2 else 1  # planes that stand apart
        shape = bands, self.blocks_down(), self.blocks_across()
        found = self.numbers(tag)
        if not found.size:  # GDAL leaves the arrays out where no block was written
            found = np.zeros(shape, np.uint64)
        return found.reshape(shape).transpose(1, 2, 0)


class _LaidOut:
    """A level with the blocks that its parts hold."""

    def __init__(self, level: Level) -> None:
        self.head = _Tiff(level.head)
        self.parts = [_Tiff(path) for path in level.parts]
        self.sizes = np.concatenate([part.by_place(_BYTE_COUNTS) for part in self.parts])
        wanted = self.head.blocks_down(), self.head.blocks_across()
        if self.sizes.shape[:2] != wanted:
            raise BrokenTiffError(f"{self.sizes.shape[:2]} blocks came where {wanted} were due")

    @property
    def size(self) -> int:
        """Bytes of all blocks together."""
        return int(self.sizes.sum())

    def directory(self, first: int, *, reduced: bool, big: bool) -> dict[int, _Entry]:
        """Its directory where its first block is to lie at a byte of the file."""
        flat = self.sizes.reshape(-1)
        ends = np.cumsum(flat)
        offsets = np.where(flat > 0, ends - flat + np.uint64(first), np.uint64(0)).reshape(self.sizes.shape)
        by_band = [array.transpose(2, 0, 1).reshape(-1) for array in (offsets, self.sizes)]
        kind, letter = (_LONG8, "<u8") if big else (_LONG, "<u4")
        entries = self.head.entries | {
            _OFFSETS: _Entry(kind, len(by_band[0]), by_band[0].astype(letter).tobytes()),
            _BYTE_COUNTS: _Entry(_LONG, len(by_band[1]), by_band[1].astype("<u4").tobytes()),
        }
        if reduced:
            entries[_SUBFILE] = _Entry(_LONG, 1, struct.pack("<L", _REDUCED))
        return dict(sorted(entries.items()))

    def copy(self, target: IO[bytes]) -> None:
        """Append all blocks, tile by tile."""
        for part in self.parts:
            offsets, sizes = part.by_place(_OFFSETS).reshape(-1), part.by_place(_BYTE_COUNTS).reshape(-1)
            with part.path.open("rb", buffering=0) as source:
                for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
                    block = os.pread(source.fileno(), size, offset)
                    if len(block) < size:
                        raise BrokenTiffError(f"{part.path.name} ends before its last block")
                    target.write(block)


def lay_out(
    image: Level, overviews: Sequence[Level], target: Path, *, bigtiff: str = "IF_SAFER", sparse: bool = False
) -> None:
    """Write a COG.

    Args:
        image: At full size.
        overviews: Each about half as large as the one before.
        target: A new file.
        bigtiff: As of GDAL's creation option `BIGTIFF`: `YES`, `NO`, or otherwise where 4 GB do not suffice.
        sparse: Whether blocks may be missing, which read as nodata.

    Raises:
        OSError: The disk is full or fails, a file is broken (`BrokenTiffError`), or 4 GB must suffice and do not.
    """
    if sys.byteorder != "little":
        raise BrokenTiffError("GDAL writes big-endian TIFFs here, which are not put together")
    levels = [_LaidOut(level) for level in (image, *overviews)]
    if not sparse and any(not level.sizes.all() for level in levels):
        raise BrokenTiffError("a block was not written")
    big = bigtiff.upper() == "YES"
    if not big and _start(levels, big=False)[1] + sum(level.size for level in levels) > _CLASSIC_END:
        if bigtiff.upper() == "NO":
            raise OSError("it takes more than 4 GB, and BIGTIFF=NO rules that out")
        big = True
    start, _ = _start(levels, big=big)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(target.open("xb", buffering=2**22))
        file.write(start)
        for level in reversed(levels):
            level.copy(file)


def _start(levels: Sequence[_LaidOut], *, big: bool) -> tuple[bytes, int]:
    """All that stands before the data, and how many bytes that is."""
    ghost = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_STRUCTURE) + _STRUCTURE
    first = (16 if big else 8) + len(ghost)
    first += first % 2
    lengths = [_length(level.directory(0, reduced=number > 0, big=big), big=big) for number, level in enumerate(levels)]
    place = end = first + sum(lengths)
    begins: list[int] = []
    for level in reversed(levels):
        begins.insert(0, place)
        place += level.size
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if big else struct.pack("<2sHL", b"II", 42, first)
    written = bytearray((header + ghost).ljust(first, b"\0"))
    if place > _CLASSIC_END and not big:  # only asked whether it would do
        return bytes(written), end
    for number, (level, begin, length) in enumerate(zip(levels, begins, lengths, strict=True)):
        following = len(written) + length if number + 1 < len(levels) else 0
        entries = level.directory(begin, reduced=number > 0, big=big)
        written += _directory(entries, len(written), following, big=big)
    return bytes(written), end


def _length(entries: dict[int, _Entry], *, big: bool) -> int:
    """Bytes of a directory with what stands behind it."""
    inline = 8 if big else 4
    outside = sum(_even(len(entry.content)) for entry in entries.values() if len(entry.content) > inline)
    return _even((16 if big else 6) + len(entries) * (20 if big else 12)) + outside


def _directory(entries: dict[int, _Entry], place: int, following: int, *, big: bool) -> bytes:
    """A directory that stands at a byte of the file, with what stands behind it."""
    inline = 8 if big else 4
    own = _even((16 if big else 6) + len(entries) * (20 if big else 12))
    raw, outside = bytearray(struct.pack("<Q" if big else "<H", len(entries))), bytearray()
    for tag, entry in entries.items():
        raw += struct.pack("<HHQ" if big else "<HHL", tag, entry.kind, entry.count)
        if len(entry.content) <= inline:
            raw += entry.content.ljust(inline, b"\0")
        else:
            raw += struct.pack("<Q" if big else "<L", place + own + len(outside))
            outside += entry.content.ljust(_even(len(entry.content)), b"\0")
    raw += struct.pack("<Q" if big else "<L", following)
    return bytes(raw.ljust(own, b"\0") + outside)


def _even(length: int) -> int:
    return length + length % 2
