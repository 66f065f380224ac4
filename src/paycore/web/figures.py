"""/metrics: what was counted elsewhere, in the families that dashboards for gRPC already know."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from paycore.rpc.limits import Limits
from paycore.rpc.metrics import BOUNDS, Meter
from paycore.rpc.pipeline import Method


def exposition(
    methods: Sequence[Method], limits: Limits, figures: Callable[[], Mapping[str, float]]
) -> Callable[[], tuple[str, bytes]]:
    """What /metrics answers with: content type and page. `figures` are the engine's, by the names of metrics;
    those that end in `_total` only grow.
    """

    def page() -> tuple[str, bytes]:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector([method.meter for method in methods], limits, figures))
        return CONTENT_TYPE_LATEST, generate_latest(registry)

    return page


class _Collector:
    def __init__(self, meters: list[Meter], limits: Limits, figures: Callable[[], Mapping[str, float]]) -> None:
        self._meters = meters
        self._limits = limits
        self._figures = figures

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield from _calls(self._meters)
        here = {"paycore_calls_open": self._limits.calls, "paycore_streams_open": self._limits.streams}
        for name, value in {**here, **self._figures()}.items():
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
