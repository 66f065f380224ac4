"""/metrics: what was counted elsewhere, in the families that dashboards for gRPC already know."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paycore.rpc.limits import Limits
from paycore.rpc.metrics import BOUNDS, Meter
from paycore.rpc.pipeline import Method


@dataclass(slots=True, eq=False)
class Figures:
    """Everything that this process counts. `engine` gives its figures by the names of metrics; those in `_total` only grow."""

    methods: Sequence[Method]
    limits: Limits
    engine: Callable[[], Mapping[str, float]]
    notices: Counter[int] = field(default_factory=Counter)
    """How many notices over HTTP were answered with each status."""

    def page(self) -> tuple[str, bytes]:
        """What /metrics answers with: content type and page."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return CONTENT_TYPE_LATEST, generate_latest(registry)

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield from _calls([method.meter for method in self.methods])
        notices = CounterMetricFamily("paycore_http_notices", "Notices over HTTP, by status.", labels=["status"])
        for status, count in sorted(self.notices.items()):
            notices.add_metric([str(status)], count)
        yield notices
        here = {"paycore_calls_open": self.limits.calls, "paycore_streams_open": self.limits.streams}
        for name, value in {**here, **self.engine()}.items():
            what = name.removesuffix("_total").replace("_", " ").capitalize()
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield kind(name, f"{what}.", value)


def _calls(meters: list[Meter]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    names = ["grpc_service", "grpc_method"]
    handled = CounterMetricFamily("grpc_server_handled", "Calls that ended, by code.", labels=[*names, "grpc_code"])
    sent = CounterMetricFamily("grpc_server_msg_sent", "Messages of streams.", labels=names)
    seconds = HistogramMetricFamily("grpc_server_handling_seconds", "How long unary calls took.", labels=names)
    for meter in meters:
        whose = [meter.service, meter.method]
        for code, count in sorted(meter.handled.items()):
            handled.add_metric([*whose, code], count)
        if meter.is_stream:
            sent.add_metric(whose, meter.sent)
        else:
            seconds.add_metric(whose, _cumulative(meter.buckets), meter.seconds)
    yield from (handled, sent, seconds)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total, sums = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        total += count
        sums.append((bound, float(total)))
    return sums
