"""The files of a product, in a folder or still in the zip or tar that it came in."""

from __future__ import annotations

import math
import os
import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING
from xml.etree import ElementTree as ET

from hsfuse.errors import SceneError
from hsfuse.scenes.siblings import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEPTH = 6
_MOST_FILES = 20_000
_LARGEST_TEXT = 64 * 2**20
_GZIP = b"\x1f\x8b"
_RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".img", ".dat", ".bsq", ".bil", ".bip", ".vrt")


@dataclass(frozen=True)
class ProductFiles:
    """The files of one folder or archive."""

    root: str
    """What the user named; messages begin with it."""
    place: Path = field(repr=False)
    """The folder or archive itself."""
    paths: Mapping[str, str] = field(repr=False)
    """Names inside of it, with `/` between folders, in natural order → paths for GDAL."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in natural order."""
        return tuple(self.paths)

    def matching(self, pattern: str) -> list[str]:
        """Names whose end (after some `/`) matches a regular expression in any letter case."""
        expression = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        return [name for name in self.paths if expression.fullmatch(name)]

    def named(self, name: str) -> str | None:
        """The file of a name that metadata give, in any letter case and any folder."""
        return next(iter(self.matching(re.escape(name))), None)

    @property
    def rasters(self) -> list[str]:
        """Names that end as rasters do, and those without a suffix that have an ENVI header."""
        return [
            name
            for name in self.paths
            if name.lower().endswith(_RASTER_SUFFIXES) or ("." not in _last(name) and self.header_of(name))
        ]

    def header_of(self, name: str) -> str | None:
        """The ENVI header of a file: `a.hdr` or `a.img.hdr` of `a.img`."""
        stem = name.removesuffix(_last(name)) + _last(name).split(".")[0]
        candidates = (f"{name}.hdr", f"{stem}.hdr", f"{name}.HDR", f"{stem}.HDR")
        return next((header for header in candidates if header in self.paths), None)

    def under(self, start: str) -> ProductFiles:
        """Those whose names begin so, in any letter case: a folder with its `/`, or what a product's files share."""
        kept = {name: path for name, path in self.paths.items() if name.lower().startswith(start.lower())}
        return replace(self, paths=kept)

    def read(self, name: str) -> bytes:
        """The bytes of a small file.

        Raises:
            SceneError: It cannot be read, or is too large to be metadata.
        """
        try:
            return _read(self.place, name)
        except (OSError, KeyError, tarfile.TarError, zipfile.BadZipFile, RuntimeError, EOFError, zlib.error) as error:
            raise SceneError(f"{self.root}: {name} cannot be read ({error}): fetch the product again") from error

    def text(self, name: str) -> str:
        """The text of a small file, in UTF-8 or else Latin-1."""
        return decode(self.read(name))

    def xml(self, name: str) -> ET.Element:
        """The root element of an XML file.

        Raises:
            SceneError: It is not XML.
        """
        return parse_xml(self.read(name), f"{self.root}: {name}")


def files_of(path: str) -> ProductFiles | None:
    """The files of a folder, a zip or a tar (told by its first bytes); None for any other file.

    Raises:
        SceneError: The archive is damaged or of a kind that GDAL cannot read inside.
    """
    place = Path(path)
    if place.is_dir():
        return ProductFiles(path, place, _in_order({name: str(place.absolute() / name) for name in _walk(place)}))
    kind = _kind(place)
    if kind is None:
        return None
    try:
        paths = dict(_zip_paths(place) if kind == "zip" else _tar_paths(place))
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise SceneError(f"{path}: the archive cannot be read ({error}): fetch it again") from error
    return ProductFiles(path, place, _in_order(paths))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `B2` before `B10`, and `B8` before `B8A`."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def parse_xml(content: bytes, name: str) -> ET.Element:
    """The root element of an XML text that may declare an encoding, or wrongly none.

    Raises:
        SceneError: It is not XML.
    """
    try:
        # The file is one of the user's own, and expat itself refuses entity bombs.
        return ET.fromstring(content)  # noqa: S314
    except ET.ParseError:
        without_declaration = re.sub(r"^\s*<\?xml.*?\?>", "", decode(content), flags=re.DOTALL)
    try:
        return ET.fromstring(without_declaration)  # noqa: S314
    except ET.ParseError as error:
        raise SceneError(f"{name} is not whole XML ({error}): fetch the product again") from error


def elements(root: ET.Element, name: str) -> Iterator[ET.Element]:
    """All elements of a name at any depth, whatever their namespace and letter case."""
    wanted = name.lower()
    return (element for element in root.iter() if _local(element) == wanted)


def text_of(root: ET.Element, name: str) -> str | None:
    """The text of the first element of a name; None where there is none."""
    element = next(elements(root, name), None)
    return None if element is None or element.text is None else element.text.strip()


def number_of(root: ET.Element, name: str, shown: str) -> float | None:
    """The number in the first element of a name; None where there is none or an empty one.

    Raises:
        SceneError: It holds something else; `shown` is the file.
    """
    text = text_of(root, name)
    return number_in(text, name, shown) if text else None


def number_in(text: str | None, name: str, shown: str) -> float:
    """The finite number that a text of metadata must be.

    Raises:
        SceneError: It is none.
    """
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SceneError(f"{shown}: {name} is {text!r} in its metadata, not a number: fetch the product again")
    return number


def _local(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1].lower() if isinstance(element.tag, str) else ""


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _in_order(paths: dict[str, str]) -> dict[str, str]:
    return {name: paths[name] for name in sorted(paths, key=natural)}


def _walk(folder: Path) -> Iterator[str]:
    found = 0
    for place, folders, names in os.walk(folder):
        relative = Path(place).relative_to(folder)
        if len(relative.parts) >= _DEPTH:
            folders.clear()
        for name in names:
            found += 1
            if found > _MOST_FILES:
                raise SceneError(f"{folder}: the folder holds more than {_MOST_FILES} files: name the product's own")
            if (Path(place) / name).is_file():
                yield (relative / name).as_posix()


def _kind(path: Path) -> str | None:
    """`zip` or `tar` by the first bytes of a file."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return None
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(_GZIP) or head[257:262] == b"ustar":
        return "tar"
    if head.startswith((b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf", b"Rar!")):
        raise SceneError(f"{path}: rasters cannot be read inside an archive of this kind: unpack it first")
    return None


def _zip_paths(place: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(place) as archive:
        for name in _zip_names(archive):
            yield name, f"/vsizip/{{{place.absolute()}}}/{name}"


def _tar_paths(place: Path) -> Iterator[tuple[str, str]]:
    """By the place of each file in the archive: GDAL's own reader of tar misses long names and odd suffixes."""
    with place.open("rb") as file:
        stream = f"/vsigzip/{place.absolute()}" if file.read(2) == _GZIP else f"{place.absolute()}"
    with tarfile.open(place) as tar:
        for member in tar:
            if not member.isfile():
                continue
            name = member.name.removeprefix("./")
            part = f"/vsisubfile/{member.offset_data}_{member.size},{stream}"
            if not name.lower().endswith(".zip"):
                yield name, part
                continue
            with _opened(tar, member) as content, zipfile.ZipFile(content) as archive:
                for inner in _zip_names(archive):
                    yield f"{name}!/{inner}", f"/vsizip/{{{part}}}/{inner}"


def _zip_names(archive: zipfile.ZipFile) -> list[str]:
    return [member.filename for member in archive.infolist() if not member.is_dir()]


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} is no file")
    return file


def _read(place: Path, name: str) -> bytes:
    if place.is_dir():
        file = place / name
        if file.stat().st_size > _LARGEST_TEXT:
            raise OSError("too large for metadata")
        return file.read_bytes()
    if _kind(place) == "zip":
        with zipfile.ZipFile(place) as archive:
            return archive.read(name)
    outer, bang, inner = name.partition("!/")
    with tarfile.open(place) as tar:
        members = {member.name.removeprefix("./"): member for member in tar}
        with _opened(tar, members[outer]) as content:
            if not bang:
                return content.read()
            with zipfile.ZipFile(content) as archive:
                return archive.read(inner)
