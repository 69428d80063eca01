"""Plot a few curves side by side as SVG. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 320, 220, 44, 40, 40, 16


@dataclass(frozen=True, slots=True)
class Curve:
    """At least one point (x, y), sorted by x; both axes start at 0."""

    title: str
    x_title: str
    points: Sequence[tuple[float, float]]


def figure(curves: Sequence[Curve]) -> str:
    """Render the curves in a row."""
    panels = "".join(_panel(curve, i * _WIDTH) for i, curve in enumerate(curves))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH * len(curves)} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/>{panels}</svg>\n'
    )


def _panel(curve: Curve, left: float) -> str:
    most_x = max(x for x, _ in curve.points) or 1.0
    most_y = max(y for _, y in curve.points) * 1.15 or 1.0
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    x0, y0 = left + _LEFT, _TOP + down

    def place(x: float, y: float) -> tuple[float, float]:
        return round(x0 + x / most_x * across, 1), round(y0 - y / most_y * down, 1)

    places = [place(*point) for point in curve.points]
    line = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="#0072b2"/>' for x, y in places)
    ticks = ""
    for share in (0.0, 0.5, 1.0):
        _, y = place(0, most_y * share)
        x, _ = place(most_x * share, 0)
        ticks += (
            f'<line x1="{x0}" x2="{x0 + across}" y1="{y}" y2="{y}" stroke="#ddd"/>'
            f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end">{most_y * share:.3g}</text>'
            f'<text x="{x}" y="{y0 + 15}" text-anchor="middle">{most_x * share:.3g}</text>'
        )
    return (
        f'{ticks}<polyline points="{line}" fill="none" stroke="#0072b2" stroke-width="1.5"/>{dots}'
        f'<text x="{x0}" y="22" font-size="12">{escape(curve.title)}</text>'
        f'<text x="{x0 + across / 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(curve.x_title)}</text>"
    )
