"""Memory: what there is, what was used, and the tile that fits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WANTED_EDGE = 256  # fine pixels: larger tiles waste less on overlap, smaller ones stay in the processor's cache
_WANTED_OVERLAPS = 5  # that a tile holds at least where memory allows
_CUBES_OUT = 6  # fused tiles that exist at once: computed, waiting, two in the queue, blended, and one to spare
_CUBES_IN = 6  # HSI tiles likewise, as read and with their holes filled
_FIXED_BYTES = 700 * 2**20  # libraries, GDAL's cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # man 3 mallopt
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_KEPT_BYTES, _USUAL_BYTES = 2**30, 2**25  # glibc's own thresholds rise to the latter as a program runs


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Let the allocator keep what a block frees until its end, for itself (glibc; elsewhere nothing happens).

    glibc asks the system for every large array and hands it back at once, and the system clears each page again when
    it is touched: four tenths of the time of a network on the CPU. Thresholds that the environment sets are left.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        yield
        return
    _set_thresholds(_KEPT_BYTES)
    try:
        yield
    finally:
        _set_thresholds(_USUAL_BYTES)
        give_back()


def give_back() -> None:
    """Hand free memory of the heap back to the system (glibc; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set_thresholds(size: int) -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_MMAP_THRESHOLD, size)
        allocator.mallopt(_TRIM_THRESHOLD, size)


def available_bytes() -> int:
    """Memory that can be had without swapping, within what the container, the batch system and `ulimit` allow."""
    return max(min(_free_bytes(), *_control_group_bytes(), *_limit_bytes()), 0)


def _free_bytes() -> int:
    found = _fields(Path("/proc/meminfo")).get("MemAvailable:")
    if found is not None:
        return found * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _control_group_bytes(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What each control group above this process leaves, version 2 and 1; caches that can be dropped count as free."""
    try:
        lines = own.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        top, names = (root, _V2) if not controllers else (root / "memory", _V1)
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            if top not in (group, *group.parents):
                break
            limit, used = (_number(group / name) for name in names[:2])
            if limit is not None and used is not None:
                left.append(limit - used + _fields(group / "memory.stat").get(names[2], 0))
    return left


def _limit_bytes() -> list[int]:
    """What `ulimit -v` and `ulimit -d` leave."""
    sizes = _fields(Path("/proc/self/status"))
    left = []
    for kind, name in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            left.append(soft - sizes.get(name, 0) * 1024)
    return left


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() else None


def peak_megabytes() -> float:
    """Largest resident size of this process so far."""
    own = _fields(Path("/proc/self/status")).get("VmHWM:")
    if own is not None:  # what `getrusage` has counts the process that started this one, too
        return own / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def least_tile(overlap: int) -> int:
    """The smallest edge of a tile that is chosen, in HSI pixels: no pixel then lies in more than two along an axis."""
    return max(3 * overlap, 8)


def fitting_tile(bands: int, area: tuple[int, int], ratio: int, overlap: int, budget: int, working_bytes: int) -> int:
    """Edge of a tile in HSI pixels, never more than the area has.

    Args:
        bands: C, of the output.
        area: Width and height of what is fused in HSI pixels: a row of tiles is blended at full width.
        ratio: HSI pixel over fine pixel.
        overlap: What tiles share, in HSI pixels.
        budget: Bytes of resident memory.
        working_bytes: By fine pixel, that the method needs.

    Raises:
        RequestError: Not even the smallest tile fits.
    """
    width, most = area[0], max(area)
    least = min(least_tile(overlap), most)
    tile = min(max(_WANTED_EDGE // ratio, _WANTED_OVERLAPS * overlap), most)
    while _needed(bands, width, ratio, tile, working_bytes) > budget and tile > least:
        tile -= 1
    if _needed(bands, width, ratio, tile, working_bytes) > budget:
        raise RequestError(
            f"{budget / 2**30:.2f} GB of memory do not hold a tile of {tile} HSI pixels with {bands} bands: "
            f"{_needed(bands, width, ratio, tile, working_bytes) / 2**30:.2f} GB would (`memory`), or fuse a part "
            "(`window`)",
        )
    return tile


def _needed(bands: int, width: int, ratio: int, tile: int, working_bytes: int) -> int:
    edge = tile * ratio
    # strips of 256 rows that a row of tiles touches, and the rows of overviews that wait for their blocks to fill
    rows = (edge + 2 * 256 + 256) * width * ratio * bands * 4
    cubes = _CUBES_OUT + _CUBES_IN / ratio**2
    return _FIXED_BYTES + rows + edge * edge * (working_bytes + int(bands * 4 * cubes))
