"""`twinloom replay`: recordings through the whole pipeline of a data folder, without a server."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from twinloom.adapters.replay.source import replay
from twinloom.app.bootstrap import build_service
from twinloom.app.folder import claimed, existing
from twinloom.app.settings import Settings


async def replay_and_report(file: Path, settings: Settings, speed: float | None, *, as_json: bool) -> int:
    """Plays every recording of the mapping file once; 0 when every value was taken, 1 when some had to be dropped."""
    existing(file, "replay file")
    with claimed(settings.data):
        async with build_service(settings) as service:
            with Progress(console=Console(stderr=True), transient=True, disable=as_json) as shown:
                task = shown.add_task("replaying", total=1.0)
                counters = await replay(
                    file, service.pipeline, speed=speed, progress=lambda share, _: shown.update(task, completed=share)
                )
            metrics = service.metrics
            report = {"applied": metrics.applied, "dropped": dict(metrics.dropped), "recordings": counters}
    if as_json:
        print(json.dumps(report))
    else:
        print(f"applied {report['applied']:,} values")
        for name, found in counters.items():
            print(f"  {name}: " + ", ".join(f"{reason} {count:,}" for reason, count in found.items()))
        for reason, count in metrics.dropped.items():
            print(f"  dropped {count:,}: {reason}")
    return int(bool(metrics.dropped))
