"""The demo's figures and its one-screen summary."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from twinloom.runtime.service import Service
from twinloom.twin.assessments import AlertState, Severity

STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
FRAME_LINES, FRAME_COLUMNS = 2, 4
HEAD_LINES = 6  # the address and the panel of the figures


@dataclass(slots=True)
class Figures:
    """Totals since start; `latency_ms` source timestamp to WebSocket receipt; `lost` None until it was counted."""

    url: str = ""
    started: float = field(default_factory=time.monotonic)
    first_value_s: float | None = None
    received: int = 0
    applied: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    values_per_s: float = 0.0
    latency_ms: dict[str, float] = field(default_factory=dict)
    predictions: int = 0
    alerts: int = 0
    work_orders: int = 0
    gaps: int = 0
    lost: int | None = None
    subscribers: int = 0
    deliveries: int = 0
    _before: tuple[float, int] = (0.0, 0)

    def take(self, service: Service) -> None:
        """Reads the service's counters."""
        metrics = service.metrics
        self.take_values(service)
        self.gaps = metrics.gaps
        self.predictions = sum(metrics.predictions.values())
        self.alerts = metrics.alerts.get("raised", 0)
        self.work_orders = metrics.work_orders.get("opened", 0)
        now = time.monotonic()
        since = self.started + (self.first_value_s or 0.0)
        self.values_per_s = self.applied / max(now - since, 1e-9)

    def take_values(self, service: Service) -> None:
        """Reads only what was received, applied and dropped; once nothing is under way, they add up."""
        metrics = service.metrics
        self.received, self.applied, self.dropped = metrics.received, metrics.applied, dict(metrics.dropped)

    def report(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        return {
            "received": self.received,
            "applied": self.applied,
            "dropped": self.dropped,
            "values_per_s": round(self.values_per_s, 1),
            "latency_ms": {name: self.latency_ms.get(name) for name in ("p50", "p95", "p99")},
            "predictions": self.predictions,
            "alerts": self.alerts,
            "work_orders": self.work_orders,
            "gaps": self.gaps,
            "lost": self.lost,
            "rss_mib": round(peak_rss_mib(), 1),
            "subscribers": self.subscribers,
            "deliveries": self.deliveries,
            "first_value_s": round(self.first_value_s, 2) if self.first_value_s is not None else None,
        }


def peak_rss_mib() -> float:
    """Peak resident memory of this process, MiB."""
    # Not ru_maxrss on Linux: it carries over what the process was before exec, its parent's memory.
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def picture(figures: Figures, service: Service | None = None, size: tuple[int, int] = (80, 40)) -> RenderableType:
    """One screen of `size` (columns, lines): address, figures, sources, the worst components, the standing alerts.

    A low screen shows fewer components and alerts, never half a panel.
    """
    head = Text.assemble(("twinloom demo  ", "bold"), (figures.url, "underline cyan"), ("   Ctrl-C ends it", "dim"))
    parts: list[RenderableType] = [head, _numbers(figures)]
    if service is not None:
        width, height = size
        sources = _sources(service)
        lines = len(sources.wrap(Console(width=width), width - FRAME_COLUMNS))
        left = height - HEAD_LINES - (lines + FRAME_LINES) - 2 * FRAME_LINES
        components = max(1, min(5, left // 2))
        parts += [
            _panel(sources, "OPC UA"),
            _panel(_worst(service, components), "least remaining life (90 % interval)"),
            _panel(_alerts(service, max(1, left - components)), "alerts"),
        ]
    return Group(*parts)


def _panel(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="dim")


def _numbers(figures: Figures) -> RenderableType:
    latency = figures.latency_ms
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(justify="right", style="bold")
        table.add_column(style="dim")
    table.add_row(
        f"{figures.values_per_s:,.0f}", "values/s", f"{figures.applied:,}", "applied",
        f"{sum(figures.dropped.values()):,}", "dropped", "?" if figures.lost is None else f"{figures.lost:,}", "lost",
    )  # fmt: skip
    table.add_row(
        _ms(latency.get("p50")), "ms p50", _ms(latency.get("p95")), "ms p95",
        _ms(latency.get("p99")), "ms p99", f"{peak_rss_mib():,.0f}", "MiB",
    )  # fmt: skip
    table.add_row(
        f"{figures.predictions:,}", "predictions", f"{figures.alerts:,}", "alerts",
        f"{figures.work_orders:,}", "work orders", f"{figures.gaps:,}", "gaps",
    )  # fmt: skip
    return _panel(table, "figures")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _sources(service: Service) -> Text:
    text = Text()
    for status in service.sources():
        style = {"live": "green", "connecting": "cyan", "stale": "yellow"}.get(status.state, "red")
        text.append("● ", style=style)
        text.append(f"{status.name} ")
        text.append(f"{status.state}{': ' + status.reason if status.reason else ''}   ", style="dim")
    text.rstrip()
    return text


def _worst(service: Service, count: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    worst = sorted(
        (e for e in service.estimates if e.method != "rollup"), key=lambda estimate: (estimate.rul_days, estimate.twin)
    )[:count]
    for estimate in worst:
        table.add_row(
            estimate.twin,
            Text(f"{estimate.rul_days:.0f} d", style="bold red" if estimate.rul_days < 14 else "yellow"),
            f"{estimate.low:.0f}–{estimate.high:.0f} d",
            str(estimate.health),
            str(estimate.model_health),
        )
    return table if worst else Text("no score yet", style="dim")


def _alerts(service: Service, count: int) -> RenderableType:
    standing = [alert for alert in service.alerts.current() if alert.state is not AlertState.CLEARED][:count]
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, style="dim")
    for alert in standing:
        order = service.work_orders.of_alert(alert)
        number = f"→ {order.external_id or order.id[:8]}" if order else ""
        table.add_row(Text(str(alert.severity), style=STYLES[alert.severity]), Text(alert.message), number)
    return table if standing else Text("none standing", style="dim")
