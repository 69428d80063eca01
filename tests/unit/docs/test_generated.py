"""Generated pages match the code."""

from __future__ import annotations

import pytest

from tools import make_docs


@pytest.mark.parametrize("page", ["configuration", "metrics"])
def test_the_reference_pages_are_current(page: str) -> None:
    committed = (make_docs.DOCS / f"{page}.md").read_text()
    assert committed == getattr(make_docs, page)(), "run make docs"


def test_every_metric_of_every_service_is_described() -> None:
    text = make_docs.metrics()
    for metrics_class in make_docs.METRICS:
        assert f"`facestream_{metrics_class.service}_" in text


def test_every_setting_is_described() -> None:
    text = make_docs.configuration()
    for settings in make_docs.SETTINGS:
        for name in settings.model_fields:
            assert f"`FACESTREAM_{settings.section}_{name}`".upper() in text.upper()
