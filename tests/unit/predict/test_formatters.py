"""Tests of predictions as text."""

import csv
import json

from facestream.predict.formatters import (
    COLUMNS,
    PERSON_COLUMNS,
    csv_header,
    csv_lines,
    json_lines,
    person_csv_lines,
    person_json_lines,
    person_table_lines,
    table_header,
    table_lines,
)
from facestream.predict.person_tracker import PersonPrediction
from facestream.predict.predictor import FacePrediction

FACE = FacePrediction((10.04, 20, 30, 40), 0.91234, 34.2, 28.04, 40.0, 0.97)


def test_json_line_describes_a_face() -> None:
    assert json.loads(json_lines("a.jpg", [FACE])[0]) == {
        "path": "a.jpg",
        "box": [10.0, 20, 30, 40],
        "score": 0.912,
        "age": 34.2,
        "age_low": 28.0,
        "age_high": 40.0,
        "female": 0.97,
    }


def test_image_without_a_face_gives_one_line() -> None:
    assert json.loads(json_lines("a.jpg", [])[0])["box"] is None
    commas = "," * (len(COLUMNS) + len(PERSON_COLUMNS) - 1)
    assert csv_lines("a.jpg", []) == ["a.jpg" + commas]
    assert "no face" in table_lines("a.jpg", [])[0]


def test_csv_with_special_characters_in_the_name_is_read_back() -> None:
    name = 'odd, "name".jpg'
    rows = list(csv.DictReader([csv_header(), *csv_lines(name, [FACE])]))
    assert rows[0]["path"] == name
    assert float(rows[0]["age"]) == 34.2


def test_table_is_aligned_and_marks_unknown_values() -> None:
    partial = FacePrediction((0, 0, 9, 9), 0.9, 34.2, None, None, None)
    row = table_lines("p" * 60, [partial])[0]
    assert row.index("34") == table_header().index("age (")
    assert row.endswith("-")
    assert "female 97%" in table_lines("a.jpg", [FACE])[0]


def test_person_is_one_line_in_every_format() -> None:
    person = PersonPrediction(
        2, 1.0, 4.5, 3.2, (1.0, 2.0, 30.0, 40.0), 0.9, 34.2, 28.0, 40.0, 0.97, 17
    )
    record = json.loads(person_json_lines("a.mp4", [person])[0])
    assert (record["path"], record["person"], record["dwell_s"]) == ("a.mp4", 2, 3.5)
    assert (record["best_frame_s"], record["observations"]) == (3.2, 17)
    (row,) = csv.DictReader([csv_header(), *person_csv_lines("a.mp4", [person])])
    assert {key: row[key] for key in PERSON_COLUMNS} == {
        key: str(record[key]) for key in PERSON_COLUMNS
    }
    assert "a.mp4 #2 1.0–4.5 s" in person_table_lines("a.mp4", [person])[0]
    assert json.loads(person_json_lines("a.mp4", [])[0])["person"] is None


def test_file_name_that_is_a_formula_is_neutralized_in_csv() -> None:
    assert csv_lines("=HYPERLINK(1).jpg", [])[0].startswith("'=HYPERLINK")
    assert csv_lines("-", [])[0].startswith("'-,")
