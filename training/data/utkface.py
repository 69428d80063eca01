"""UTKFace as a table: which pictures there are, their labels, folds, faults and duplicates.

A folder or a tar of UTKFace goes in; a list of `Picture` and a `DataReport` come out. The fold of a
picture depends on its bytes alone, so identical pictures share a fold whoever holds the data.
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
class LabelledImage:
    """One labelled face picture: `female` is 0 or 1, `age` in years, `digest` its bytes' MD5."""

    name: str
    digest: str
    age: int
    female: int
    ethnicity: int
    data: bytes = field(repr=False)

    @property
    def fold(self) -> int:
        """0–9 by content: `int(md5(bytes)[:8], 16) % 10`."""
        return fold_of(self.digest)

    @property
    def share(self) -> float:
        """0–1 by content, independent of the fold: splits a fold without a random number."""
        return int(self.digest[8:16], 16) / 16**8


@dataclass(slots=True)
class DataReport:
    """What was found in a data set and what was left out, and why."""

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
        """The report for a person, a line a fact."""
        return [
            f"files {self.files}, used {self.used}",
            f"faulty names {len(self.invalid_names)} (left out): "
            + (", ".join(sorted(self.invalid_names)) or "none"),
            f"identical pictures: {self.duplicate_groups} groups, "
            f"{self.duplicates_merged} copies merged, "
            f"{self.conflicting_groups} groups with conflicting labels "
            f"({self.conflicts_dropped} pictures of them dropped)",
            "folds " + ", ".join(f"{k}: {v}" for k, v in sorted(self.per_fold.items())),
            f"folds' digest {self.digest}",
        ]


def fold_of(digest: str) -> int:
    """The fold, 0–9, of a picture with this MD5 (hexadecimal)."""
    return int(digest[:8], 16) % FOLDS


def parse_name(name: str) -> tuple[int, int, int] | None:
    """Age, gender (1 = female) and ethnicity of a UTKFace file name, or None if faulty."""
    match = _NAME.match(name)
    if match is None or int(match[1]) > MAX_AGE:
        return None
    return int(match[1]), int(match[2]), int(match[3])


def load(source: Path) -> tuple[list[LabelledImage], DataReport]:
    """Read the pictures of a UTKFace folder or tar that can be believed.

    Identical pictures are merged into one. Where their labels conflict, the gender must agree and
    the ages lie within 5 years: then the copies become one picture with the median age, of two the
    higher. Otherwise none of them can be believed and all are dropped.

    Raises:
        DataError: the source is missing, empty, or holds no UTKFace names.
    """
    raw, report = load_raw(source)
    return clean(raw, report), report


def clean(raw: Sequence[LabelledImage], report: DataReport) -> list[LabelledImage]:
    """Those that `load` gives of what `load_raw` gave; its report learns of the rest."""
    groups: dict[str, list[LabelledImage]] = defaultdict(list)
    for picture in raw:
        groups[picture.digest].append(picture)
    pictures = [p for group in groups.values() if (p := _merge(group, report)) is not None]
    pictures.sort(key=lambda p: p.digest)
    report.used = len(pictures)
    report.per_fold = dict(Counter(p.fold for p in pictures))
    report.digest = folds_digest(pictures)
    return pictures


def load_raw(source: Path) -> tuple[list[LabelledImage], DataReport]:
    """Read every validly named picture as it stands, copies and contradictions included.

    Raises:
        DataError: as `load`.
    """
    report = DataReport()
    pictures = []
    for name, data in _files(source):
        report.files += 1
        label = parse_name(name)
        if label is None:
            report.invalid_names.append(name)
            continue
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        pictures.append(LabelledImage(name, digest, *label, data))
    if report.files == 0:
        raise DataError(f"{source}: no pictures found; give UTKFace's folder or tar")
    if not pictures:
        raise DataError(
            f"{source}: none of {report.files} pictures has a UTKFace name "
            "(age_gender_race_date.jpg)"
        )
    pictures.sort(key=lambda p: (p.digest, p.name))
    return pictures, report


def folds_digest(pictures: Sequence[LabelledImage]) -> str:
    """SHA-256 over `digest fold age gender` of every picture: equal means the same data."""
    text = "\n".join(
        f"{p.digest} {p.fold} {p.age} {p.female}" for p in sorted(pictures, key=lambda p: p.digest)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def parse_folds(text: str) -> tuple[int, ...]:
    """`"1-6,8"` → `(1, 2, 3, 4, 5, 6, 8)`.

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


def _merge(group: list[LabelledImage], report: DataReport) -> LabelledImage | None:
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
    return LabelledImage(
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
            raise DataError(f"{source}: the tar is cut short or damaged: {error}") from None
    else:
        raise DataError(f"{source}: not a folder or tar; give UTKFace's folder or tar with --data")
