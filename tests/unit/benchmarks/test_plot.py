"""Curves as SVG."""

from xml.etree import ElementTree

from benchmarks.plot import Curve, figure

SVG = "{http://www.w3.org/2000/svg}"


def test_each_point_is_where_it_belongs() -> None:
    root = ElementTree.fromstring(
        figure([Curve("a < b", "cameras", [(1, 2.0), (2, 2.0), (4, 4.0)])])
    )
    dots = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter(f"{SVG}circle")]
    assert len(dots) == 3
    (x1, y1), (x2, y2), (x3, y3) = dots
    assert (x3 - x1) == 3 * (x2 - x1) > 0 or abs((x3 - x1) - 3 * (x2 - x1)) < 0.2
    assert y1 == y2 > y3
    assert "a < b" in [text.text for text in root.iter(f"{SVG}text")]


def test_curves_stand_side_by_side() -> None:
    root = ElementTree.fromstring(figure([Curve("a", "x", [(0, 0)]), Curve("b", "x", [(1, 1)])]))
    first, second = (float(c.get("cx", 0)) for c in root.iter(f"{SVG}circle"))
    assert second - first > 300
