"""Who owns which task: sources are started again with back-off, and a lost source makes its twins stale."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from twinloom.runtime.metrics import Metrics
from twinloom.runtime.pipeline import Pipeline
from twinloom.twin.assessments import WorkOrder
from twinloom.twin.errors import BadFile, TwinloomError
from twinloom.twin.ports import Clock, Source, SourceStatus

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
DELIVERY_RETRY_S = 5.0
DELIVERY_TIMEOUT_S = 10.0
STEADY_S = 60.0  # a source that ran so long starts again without waiting long


async def keep_running(source: Source, pipeline: Pipeline, clock: Clock, metrics: Metrics) -> None:
    """Runs a source until cancelled. One that ends or fails is started again after a growing, jittered wait; one that
    no retry can mend (BadFile, BadSetting) stays lost, and says why."""
    wait_s = FIRST_WAIT_S
    while True:
        started = clock.monotonic_s()
        try:
            await source.run(pipeline)
            reason = "the source ended"
        except BadFile as error:
            log.error("source %s cannot run: %s", source.name, error)
            await _lost(source, pipeline, clock, str(error))
            return
        except TwinloomError as error:
            reason = str(error)
        except Exception as error:
            log.exception("source %s failed", source.name)
            reason = f"internal error: {type(error).__name__}"
        metrics.restarts.labels(source.name).inc()
        await _lost(source, pipeline, clock, reason)
        if clock.monotonic_s() - started > STEADY_S:
            wait_s = FIRST_WAIT_S
        log.warning("source %s is lost (%s); next try in %.1f s", source.name, reason, wait_s)
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(wait_s * 2, LONGEST_WAIT_S)


async def _lost(source: Source, pipeline: Pipeline, clock: Clock, reason: str) -> None:
    status = SourceStatus(source.name, "lost", clock.now_ns(), reason, source.status().counters)
    await pipeline.report(status, ())


async def deliver(
    pending: Callable[[], list[WorkOrder]],
    send: Callable[[WorkOrder], Awaitable[None]],
    changed: asyncio.Event,
) -> None:
    """Sends what is pending to the maintenance system, in order, again and again until each was taken."""
    while True:
        changed.clear()
        failed = False
        for order in pending():
            try:
                async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                    await send(order)
            except (TwinloomError, TimeoutError, OSError) as error:
                log.warning("work order %s was not delivered: %s", order.id, error or "time-out")
                failed = True
                break
        try:
            async with asyncio.timeout(DELIVERY_RETRY_S if failed else None):
                await changed.wait()
        except TimeoutError:
            continue
