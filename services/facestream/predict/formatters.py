"""Format predictions as text: a table for people, JSON lines or CSV for programs. No I/O."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from facestream.common.core.csv_cells import neutralize_formula
from facestream.predict.person_tracker import PersonPrediction
from facestream.predict.predictor import FacePrediction

COLUMNS = ("path", "x", "y", "w", "h", "score", "age", "age_low", "age_high", "female")
PERSON_COLUMNS = ("person", "first_s", "last_s", "dwell_s", "best_frame_s", "observations")
_JSON_KEYS = ("box", "score", "age", "age_low", "age_high", "female")
_WIDTHS = (30, 22, 5, 14, 12)


def json_lines(name: str, faces: Sequence[FacePrediction]) -> list[str]:
    """Return one JSON object per face; an image without a face gives one with `"box": null`."""
    if not faces:
        empty = dict.fromkeys(_JSON_KEYS)
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


def person_json_lines(name: str, people: Sequence[PersonPrediction]) -> list[str]:
    """Return one JSON object per person of a video; without a person one with `"box": null`."""
    if not people:
        empty = dict.fromkeys((*_JSON_KEYS, *PERSON_COLUMNS))
        return [json.dumps({"path": name, **empty}, ensure_ascii=False)]
    return [
        json.dumps(
            {
                **json.loads(json_lines(name, [_face(person)])[0]),
                "person": person.person,
                "first_s": round(person.first_s, 3),
                "last_s": round(person.last_s, 3),
                "dwell_s": round(person.dwell_s, 3),
                "best_frame_s": round(person.best_s, 3),
                "observations": person.observations,
            },
            ensure_ascii=False,
        )
        for person in people
    ]


def person_csv_lines(name: str, people: Sequence[PersonPrediction]) -> list[str]:
    """Return one CSV line per person of a video; without a person one with empty cells."""
    return [_csv_line(json.loads(line)) for line in person_json_lines(name, people)]


def person_table_lines(name: str, people: Sequence[PersonPrediction]) -> list[str]:
    """Return one table row per person: number and seconds follow the name of the video."""
    if not people:
        return table_lines(name, [])
    return [
        line
        for person in people
        for line in table_lines(
            f"{name} #{person.person} {person.first_s:.1f}–{person.last_s:.1f} s", [_face(person)]
        )
    ]


def csv_header() -> str:
    """Return the first line of the CSV."""
    return ",".join((*COLUMNS, *PERSON_COLUMNS))


def csv_lines(name: str, faces: Sequence[FacePrediction]) -> list[str]:
    """Return one CSV line per face; an image without a face gives one with empty cells."""
    return [_csv_line(json.loads(line)) for line in json_lines(name, faces)]


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


def _csv_line(record: dict[str, Any]) -> str:
    """Return one CSV line; cells that a still image does not have are empty."""
    box = record["box"] or [None] * 4
    keys = (*COLUMNS[5:], *PERSON_COLUMNS)
    cells = [neutralize_formula(record["path"]), *box, *(record.get(key) for key in keys)]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow("" if c is None else c for c in cells)
    return text.getvalue()


def _face(person: PersonPrediction) -> FacePrediction:
    return FacePrediction(
        person.box, person.score, person.age, person.age_low, person.age_high, person.female
    )


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
