"""What the runtime counts, in a Prometheus registry of its own. No label has an unbounded set of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SOURCE_STATES = ("connecting", "live", "stale", "lost")


class Metrics:
    """Counters are also readable as plain numbers (`received`, `dropped`, ...) for summaries and tests."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._received = Counter("values_received_total", "Values handed over by sources", registry=registry)
        self._applied = Counter("values_applied_total", "Values folded into the hot graph", registry=registry)
        self._dropped = Counter("values_dropped_total", "Values not applied, by reason", ["reason"], registry=registry)
        self._lost = Counter("values_lost_total", "Values known to be lost, by reason", ["reason"], registry=registry)
        self._predictions = Counter(
            "predictions_total", "RUL estimates, by method and model health", ["fidelity", "status"], registry=registry
        )
        self.interval_coverage = Gauge(
            "prediction_interval_coverage",
            "Share of confirmed failures inside the 90 % interval that was given",
            ["model"],
            registry=registry,
        )
        self._drift = Counter(
            "drift_detected_total", "Changes that ADWIN found in a model's inputs", ["channel"], registry=registry
        )
        self.prediction_latency = Histogram(
            "prediction_latency_seconds",
            "One run of the estimator over all due components",
            registry=registry,
            buckets=_SECONDS,
        )
        self._fallbacks = Counter(
            "prediction_fallbacks_total",
            "Estimates that came from a fallback, by reason",
            ["reason"],
            registry=registry,
        )
        self._alerts = Counter("alerts_total", "Alerts, by what happened", ["event"], registry=registry)
        self.alerts_standing = Gauge("alerts_standing", "Alerts that are not cleared", registry=registry)
        self.alerts_deferred = Counter(
            "alerts_deferred_total", "Alert changes put off because the queue to the store was full", registry=registry
        )
        self._work_orders = Counter("work_orders_total", "Work orders, by what happened", ["event"], registry=registry)
        self.work_orders_open = Gauge("work_orders_open", "Work orders that are not closed", registry=registry)
        self.commit_seconds = Histogram(
            "commit_latency_seconds", "Structural commits to the graph store", registry=registry, buckets=_SECONDS
        )
        self.commits_given_up = Counter(
            "commits_given_up_total", "Changes of the server's own that the store refused for good", registry=registry
        )
        self.history_seconds = Histogram(
            "history_commit_seconds", "Group commits to the history", registry=registry, buckets=_SECONDS
        )
        self.batch_seconds = Histogram(
            "micro_batch_seconds", "One micro-batch through the pipeline", registry=registry, buckets=_SECONDS
        )
        self.subscribers = Gauge("feed_subscribers", "Open subscriptions of the feed", registry=registry)
        self._depth = Gauge("queue_depth", "Entries that wait, by queue", ["queue"], registry=registry)
        self._source_state = Gauge(
            "source_state", "1 for the state a source is in", ["source", "state"], registry=registry
        )
        self._gaps = Counter("gaps_total", "Gaps in the data, by source", ["source"], registry=registry)
        self.restarts = Counter(
            "task_restarts_total", "Sources started again after an error", ["source"], registry=registry
        )
        self.received = 0
        self.applied = 0
        self.gaps = 0
        self.dropped: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        self.predictions: dict[str, int] = {}
        self.fallbacks: dict[str, int] = {}
        self.alerts: dict[str, int] = {}
        self.work_orders: dict[str, int] = {}

    def count_received(self, values: int) -> None:
        self.received += values
        self._received.inc(values)

    def count_applied(self, values: int) -> None:
        self.applied += values
        self._applied.inc(values)

    def count_dropped(self, by_reason: Mapping[str, int]) -> None:
        _add(self.dropped, self._dropped, by_reason)

    def count_lost(self, by_reason: Mapping[str, int]) -> None:
        _add(self.lost, self._lost, by_reason)

    def count_predictions(self, fidelity: str, status: str, count: int) -> None:
        self.predictions[status] = self.predictions.get(status, 0) + count
        self._predictions.labels(fidelity, status).inc(count)

    def count_drift(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._drift.labels(channel).inc()

    def count_fallbacks(self, by_reason: Mapping[str, int]) -> None:
        _add(self.fallbacks, self._fallbacks, by_reason)

    def count_alert(self, event: str) -> None:
        _add(self.alerts, self._alerts, {event: 1})

    def count_work_order(self, event: str) -> None:
        _add(self.work_orders, self._work_orders, {event: 1})

    def count_gap(self, source: str) -> None:
        self.gaps += 1
        self._gaps.labels(source).inc()

    def queue(self, name: str, depth: int) -> None:
        self._depth.labels(name).set(depth)

    def source(self, name: str, state: str) -> None:
        for known in SOURCE_STATES:
            self._source_state.labels(name, known).set(known == state)

    def text(self) -> bytes:
        """The exposition format, as `/metrics` serves it."""
        return generate_latest(self.registry)


def _add(plain: dict[str, int], counter: Counter, counts: Mapping[str, int]) -> None:
    for label, count in counts.items():
        if count:
            plain[label] = plain.get(label, 0) + count
            counter.labels(label).inc(count)
