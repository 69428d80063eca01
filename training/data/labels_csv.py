"""Reader of `labels.csv`: labels of the face images in a folder or tar, with age ranges.

For training on collections whose ages are known exactly or as ranges.

Columns of `labels.csv` (UTF-8, with a header row; the order does not matter):

- `path`: the image file, relative to the folder or tar;
- `age` in years, or `age_low` and `age_high`: an inclusive range of whole years;
- `gender`: `male` or `female` (`m`, `f`);
- `race` or `ethnicity`, optional: a free text by which an evaluation is grouped.

Other columns are ignored. The fold of an image depends on its bytes alone (see `fold_of`), so
identical images share a fold. Identical images with contradicting labels are left out. The whole
collection is held in memory.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from facestream.common.core.errors import DataError

from training.data.utkface import MAX_AGE, fold_of

LABELS_FILE = "labels.csv"
_SUFFIXES = (".jpg", ".jpeg", ".png")
_FEMALE_OF = {"male": 0, "m": 0, "female": 1, "f": 1}
_GROUP_COLUMNS = ("race", "ethnicity")
_LISTED = 5  # at most this number of faulty rows is named in a report


@dataclass(frozen=True, slots=True)
class RangeLabeledImage:
    """Face image with an age range.

    name: path within the collection; digest: MD5 of the bytes, hexadecimal; age_low, age_high:
    inclusive range in years, equal where the age is known exactly; female: 0 or 1; group: race or
    ethnicity as the collection names it, empty if it does not.
    """

    name: str
    digest: str
    age_low: int
    age_high: int
    female: int
    group: str
    data: bytes = field(repr=False)

    @property
    def fold(self) -> int:
        """Return the fold, 0–9, by content: `int(md5(bytes)[:8], 16) % 10`."""
        return fold_of(self.digest)

    @property
    def share(self) -> float:
        """Return a number from 0 to 1 by content, independent of the fold, to split a fold."""
        return int(self.digest[8:16], 16) / 16**8


@dataclass(slots=True)
class LabelsReport:
    """Counts of used and excluded rows of a collection, with the reason of each exclusion."""

    rows: int = 0
    used: int = 0
    faulty_rows: list[str] = field(default_factory=list)
    missing_images: list[str] = field(default_factory=list)
    duplicates_merged: int = 0
    conflicts_dropped: int = 0
    per_fold: dict[int, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the report as text, one line per fact."""
        return [
            f"rows {self.rows}, used {self.used}",
            f"faulty rows {len(self.faulty_rows)} (left out): {_listed(self.faulty_rows)}",
            f"images missing {len(self.missing_images)}: {_listed(self.missing_images)}",
            f"identical images: {self.duplicates_merged} copies merged, "
            f"{self.conflicts_dropped} with contradicting labels dropped",
            "folds " + ", ".join(f"{k}: {v}" for k, v in sorted(self.per_fold.items())),
        ]


def has_labels(source: Path) -> bool:
    """Report whether the folder or tar has a `labels.csv` at its top."""
    if source.is_dir():
        return (source / LABELS_FILE).is_file()
    return any(name == LABELS_FILE for name, _ in _tar_files(source, (LABELS_FILE,)))


def load_labels(source: Path) -> tuple[list[RangeLabeledImage], LabelsReport]:
    """Read a collection; sort the images by digest.

    Raises:
        DataError: the source or its `labels.csv` is missing, unreadable, or has no usable row.
    """
    files = dict(_files(source))
    if LABELS_FILE not in files:
        raise DataError(
            f"{source}: no {LABELS_FILE}; it lists path, age or age_low and age_high,"
            " and gender of every image"
        )
    report = LabelsReport()
    images = list(_read(files, report, source))
    if not images:
        raise DataError(
            f"{source}: none of {report.rows} rows of {LABELS_FILE} is usable; "
            + " | ".join(report.lines()[1:3])
        )
    groups: dict[str, list[RangeLabeledImage]] = defaultdict(list)
    for image in images:
        groups[image.digest].append(image)
    merged = [one for group in groups.values() if (one := _merge(group, report)) is not None]
    merged.sort(key=lambda image: image.digest)
    report.used = len(merged)
    report.per_fold = dict(Counter(image.fold for image in merged))
    return merged, report


def labels_digest(images: Sequence[RangeLabeledImage]) -> str:
    """Return the SHA-256 over digest and labels of every image; equal means the same data."""
    rows = (f"{i.digest} {i.age_low} {i.age_high} {i.female}" for i in images)
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _read(
    files: Mapping[str, bytes], report: LabelsReport, source: Path
) -> Iterator[RangeLabeledImage]:
    try:
        text = files[LABELS_FILE].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: {LABELS_FILE} is not UTF-8: {error}") from None
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        report.rows += 1
        labels = _labels_of(row)
        if labels is None:
            report.faulty_rows.append(f"line {line}")
            continue
        name = str(PurePosixPath((row.get("path") or "").strip()))
        data = files.get(name)
        if data is None:
            report.missing_images.append(name)
            continue
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        yield RangeLabeledImage(name, digest, *labels, data)


def _labels_of(row: Mapping[str, str | None]) -> tuple[int, int, int, str] | None:
    """Return lowest age, highest age, female and group of a row; None if the row is faulty."""
    female = _FEMALE_OF.get((row.get("gender") or "").strip().lower())
    exact = (row.get("age") or "").strip()
    try:
        low = int(exact or row.get("age_low") or "")
        high = int(exact or row.get("age_high") or "")
    except ValueError:
        return None
    if female is None or not 0 <= low <= high <= MAX_AGE:
        return None
    group = next((value for key in _GROUP_COLUMNS if (value := row.get(key))), "")
    return low, high, female, group.strip()


def _merge(group: list[RangeLabeledImage], report: LabelsReport) -> RangeLabeledImage | None:
    """Merge identical images into one with the intersection of their ranges, None if empty."""
    first = min(group, key=lambda image: image.name)
    low, high = max(i.age_low for i in group), min(i.age_high for i in group)
    if low > high or len({i.female for i in group}) > 1:
        report.conflicts_dropped += len(group)
        return None
    report.duplicates_merged += len(group) - 1
    return replace(first, age_low=low, age_high=high)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    wanted = (*_SUFFIXES, LABELS_FILE)
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.name.lower().endswith(wanted):
                yield path.relative_to(source).as_posix(), path.read_bytes()
    elif source.is_file() and tarfile.is_tarfile(source):
        yield from _tar_files(source, wanted)
    else:
        raise DataError(f"{source}: not a folder or tar")


def _tar_files(source: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                if not member.name.lower().endswith(wanted):
                    continue
                stream = archive.extractfile(member)
                if stream is not None:
                    yield str(PurePosixPath(member.name)), stream.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{source}: the tar is cut short or damaged: {error}") from None


def _listed(names: Sequence[str]) -> str:
    more = f", … {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(sorted(names)[:_LISTED]) + more or "none"
