"""Base class of all Prometheus metrics; every service has its own subclass in `metrics.py`.

Naming rule: `facestream_<service>_<what>_<unit>`; counters end in `_total`. Label values are
bounded: `camera` by the limit of the registry (and removed with the camera), `reason` and `stage`
by literals, `model` by the models folder.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10,
)  # fmt: skip


class ServiceMetrics:
    """Counters, gauges and histograms of one service on one registry, and its CPU and memory.

    Every metric is an attribute of a subclass, so that `forget_camera` finds it.
    """

    service = ""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)  # process_*; on Linux only

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"facestream_{self.service}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"facestream_{self.service}_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(
            f"facestream_{self.service}_{name}_seconds",
            text,
            labels,
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    def forget_camera(self, camera: str) -> None:
        """Drop all series of one camera, so that removed cameras do not accumulate."""
        for metric in vars(self).values():
            names = getattr(metric, "_labelnames", ())
            if names == ("camera",):
                remove_series(metric, (camera,))
            elif "camera" in names:
                for labels in list(getattr(metric, "_metrics", {})):
                    if labels[names.index("camera")] == camera:
                        remove_series(metric, labels)


def remove_series(metric: object, labels: tuple[str, ...]) -> None:
    """Drop one series of a metric; a series that does not exist is no error."""
    try:
        metric.remove(*labels)  # type: ignore[attr-defined]
    except KeyError:
        pass
