"""Loader for UTKFace: images, labels, folds, invalid names and duplicates.

Reads a folder or a tar into `LabeledImage` objects and a `DataReport`. The fold of an image depends
on its bytes alone, so identical images share a fold in every copy of the data.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facestream.common.core.errors import DataError

# age_gender_race_datetime, then any spelling of the suffix (".jpg.chip.jpg", "jpg.chip.jpg", …).
_NAME = re.compile(r"^(\d{1,3})_([01])_([0-4])_(\d+)\s*\.?(?:jpg|jpeg|png)[^/]*$", re.IGNORECASE)
_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_AGE = 116
GENDERS = ("male", "female")
ETHNICITIES = ("White", "Black", "Asian", "Indian", "other")
FOLDS = 10


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """One labeled face image: `female` is 0 or 1, `age` in years, `digest` the MD5 of its bytes."""

    name: str
    digest: str
    age: int
    female: int
    ethnicity: int
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
class DataReport:
    """Counts of used, merged, invalid and conflicting files of a data set."""

    files: int = 0
    used: int = 0
    invalid_names: list[str] = field(default_factory=list)
    duplicate_groups: int = 0
    duplicates_merged: int = 0
    conflicting_groups: int = 0
    conflicts_dropped: int = 0
    per_fold: dict[int, int] = field(default_factory=dict)
    digest: str = ""

    def lines(self) -> list[str]:
        """Return the report as text, one fact per line."""
        return [
            f"files {self.files}, used {self.used}",
            f"invalid names {len(self.invalid_names)} (left out): "
            + (", ".join(sorted(self.invalid_names)) or "none"),
            f"identical images: {self.duplicate_groups} groups, "
            f"{self.duplicates_merged} copies merged, "
            f"{self.conflicting_groups} groups with conflicting labels "
            f"({self.conflicts_dropped} of their images dropped)",
            "folds " + ", ".join(f"{k}: {v}" for k, v in sorted(self.per_fold.items())),
            f"digest of the folds {self.digest}",
        ]


def fold_of(digest: str) -> int:
    """Return the fold, 0–9, of an image with this MD5 (hexadecimal)."""
    return int(digest[:8], 16) % FOLDS


def parse_name(name: str) -> tuple[int, int, int] | None:
    """Return age, gender (1 = female) and ethnicity of a UTKFace file name, None if invalid."""
    match = _NAME.match(name)
    if match is None or int(match[1]) > MAX_AGE:
        return None
    return int(match[1]), int(match[2]), int(match[3])


def load(source: Path) -> tuple[list[LabeledImage], DataReport]:
    """Read a UTKFace folder or tar; merge duplicates and drop those with conflicting labels.

    Identical images become one image with the median age, the higher one of two, if their genders
    agree and their ages lie within 5 years. Otherwise all copies are dropped.

    Raises:
        DataError: the source is missing, empty, or holds no UTKFace names.
    """
    raw, report = load_raw(source)
    return clean(raw, report), report


def clean(raw: Sequence[LabeledImage], report: DataReport) -> list[LabeledImage]:
    """Merge the duplicates of `load_raw` as `load` does and complete its report."""
    groups: dict[str, list[LabeledImage]] = defaultdict(list)
    for image in raw:
        groups[image.digest].append(image)
    images = [p for group in groups.values() if (p := _merge(group, report)) is not None]
    images.sort(key=lambda p: p.digest)
    report.used = len(images)
    report.per_fold = dict(Counter(p.fold for p in images))
    report.digest = folds_digest(images)
    return images


def load_raw(source: Path) -> tuple[list[LabeledImage], DataReport]:
    """Read every image with a valid name, including duplicates and conflicting labels.

    Raises:
        DataError: as `load`.
    """
    report = DataReport()
    images = []
    for name, data in _files(source):
        report.files += 1
        label = parse_name(name)
        if label is None:
            report.invalid_names.append(name)
            continue
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        images.append(LabeledImage(name, digest, *label, data))
    if report.files == 0:
        raise DataError(f"{source}: no images found; give UTKFace's folder or tar")
    if not images:
        raise DataError(
            f"{source}: none of {report.files} images has a UTKFace name (age_gender_race_date.jpg)"
        )
    images.sort(key=lambda p: (p.digest, p.name))
    return images, report


def folds_digest(images: Sequence[LabeledImage]) -> str:
    """Return the SHA-256 over `digest fold age gender` of every image; equal for equal data."""
    text = "\n".join(
        f"{p.digest} {p.fold} {p.age} {p.female}" for p in sorted(images, key=lambda p: p.digest)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def parse_folds(text: str) -> tuple[int, ...]:
    """Parse a list of folds: `"1-6,8"` to `(1, 2, 3, 4, 5, 6, 8)`.

    Raises:
        DataError: not a list of folds 0–9.
    """
    folds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9])(?:\s*-\s*([0-9]))?\s*", part)
        if match is None:
            raise DataError(f"folds {text!r}: write them like 1-8 or 1,2,9")
        first, last = int(match[1]), int(match[2] or match[1])
        folds.update(range(first, last + 1))
    if not folds:
        raise DataError(f"folds {text!r}: empty")
    return tuple(sorted(folds))


def _merge(group: list[LabeledImage], report: DataReport) -> LabeledImage | None:
    first = min(group, key=lambda p: p.name)
    if len(group) == 1:
        return first
    report.duplicate_groups += 1
    ages = sorted(p.age for p in group)
    same_gender = len({p.female for p in group}) == 1
    if not same_gender or len(set(ages)) > 1:
        report.conflicting_groups += 1
    if not same_gender or ages[-1] - ages[0] > 5:
        report.conflicts_dropped += len(group)
        return None
    report.duplicates_merged += len(group) - 1
    return LabeledImage(
        first.name, first.digest, ages[len(ages) // 2], first.female, first.ethnicity, first.data
    )


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.name.lower().endswith(_SUFFIXES):
                yield path.name, path.read_bytes()
    elif source.is_file() and tarfile.is_tarfile(source):
        try:
            with tarfile.open(source) as archive:
                for member in archive:
                    stream = archive.extractfile(member)
                    if stream is not None and member.name.lower().endswith(_SUFFIXES):
                        yield Path(member.name).name, stream.read()
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(f"{source}: the tar is truncated or damaged: {error}") from None
    else:
        raise DataError(f"{source}: not a folder or tar; give UTKFace's folder or tar with --data")
