"""Format predictions as text: a table for people, JSON lines or CSV for programs. No I/O."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from facestream.predict.predictor import FacePrediction

COLUMNS = ("path", "x", "y", "w", "h", "score", "age", "age_low", "age_high", "female")
_WIDTHS = (30, 22, 5, 14, 12)


def json_lines(name: str, faces: Sequence[FacePrediction]) -> list[str]:
    """Return one JSON object per face; an image without a face gives one with `"box": null`."""
    if not faces:
        empty = dict.fromkeys(("box", "score", "age", "age_low", "age_high", "female"))
        return [json.dumps({"path": name, **empty}, ensure_ascii=False)]
    return [
        json.dumps(
            {
                "path": name,
                "box": [round(v, 1) for v in face.box],
                "score": round(face.score, 3),
                "age": _rounded(face.age, 1),
                "age_low": _rounded(face.age_low, 1),
                "age_high": _rounded(face.age_high, 1),
                "female": _rounded(face.female, 4),
            },
            ensure_ascii=False,
        )
        for face in faces
    ]


def csv_header() -> str:
    """Return the first line of the CSV."""
    return ",".join(COLUMNS)


def csv_lines(name: str, faces: Sequence[FacePrediction]) -> list[str]:
    """Return one CSV line per face; an image without a face gives one with empty cells."""
    lines = []
    for line in json_lines(name, faces):
        record = json.loads(line)
        box = record.pop("box") or [None] * 4
        cells = [name, *box, *(record[key] for key in COLUMNS[5:])]
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow("" if c is None else c for c in cells)
        lines.append(text.getvalue())
    return lines


def table_header() -> str:
    """Return the first line of the table."""
    return _row("image", "box (x y w h)", "score", "age (80 %)", "gender")


def table_lines(name: str, faces: Sequence[FacePrediction]) -> list[str]:
    """Return one table row per face; long names keep their end."""
    short_name = name if len(name) <= _WIDTHS[0] else "…" + name[1 - _WIDTHS[0] :]
    if not faces:
        return [_row(short_name, "no face", "", "", "")]
    return [
        _row(
            short_name,
            " ".join(f"{v:.0f}" for v in face.box),
            f"{face.score:.2f}",
            _age(face),
            _gender(face),
        )
        for face in faces
    ]


def _row(*cells: str) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, _WIDTHS, strict=True)).rstrip()


def _age(face: FacePrediction) -> str:
    if face.age is None:
        return "-"
    if face.age_low is None or face.age_high is None:
        return f"{face.age:.0f}"
    return f"{face.age:.0f} ({face.age_low:.0f}–{face.age_high:.0f})"


def _gender(face: FacePrediction) -> str:
    if face.female is None:
        return "-"
    probability = max(face.female, 1 - face.female)
    return f"{'female' if face.female >= 0.5 else 'male'} {probability:.0%}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
