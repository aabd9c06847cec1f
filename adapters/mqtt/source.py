"""An MQTT 5 broker as a `Source`: JSON and text by rules, Sparkplug B by births; reconnects, and marks its gaps.

What the broker sends waits in a bounded queue; in a flood the oldest messages go and are counted as lost. Messages are
taken in runs, so that a batch costs once. An edge node's death is reported under its own name (`broker:group/node`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import ssl
from pathlib import Path
from typing import Any, cast

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from twinloom.adapters.mqtt.mapping import NAMESPACE, MqttMapping, read_mapping
from twinloom.adapters.mqtt.settings import MqttSettings
from twinloom.adapters.mqtt.sparkplug import Sparkplug, Turn
from twinloom.adapters.telemetry.decoder import Decoder, Message
from twinloom.adapters.telemetry.life import Life
from twinloom.adapters.telemetry.scalars import Poison
from twinloom.adapters.telemetry.tally import Tally
from twinloom.adapters.telemetry.targets import Targets
from twinloom.twin.ports import Clock, ReadingSink, SourceStatus, SystemClock
from twinloom.twin.readings import Gap

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.25
_RUN = 500
_TICK_S = 1.0


class Newest(asyncio.Queue[aiomqtt.Message]):
    """A bounded queue that gives up its oldest message for a new one, and counts it."""

    dropped = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.full():
            self.get_nowait()
            self.dropped += 1
        super().put_nowait(item)


class MqttSource:
    """Reads the broker of `settings` by the rules of `mapping`. Only BadFile and BadSetting end `run`."""

    def __init__(self, settings: MqttSettings, mapping: MqttMapping, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._filters = mapping.filters
        self._clock = clock or SystemClock()
        self._tally = Tally(settings.name, _log)
        self._targets = Targets(self._tally)
        self._decoder = Decoder(mapping.rules, settings.variables, self._targets, self._tally)
        self._sparkplug = Sparkplug(
            mapping.sparkplug, settings.variables, self._targets, self._tally, rebirth_s=settings.rebirth_s
        )
        self._life = Life(self._tally, self._clock, lambda: self._targets.twins, _log)

    @property
    def name(self) -> str:
        return self._settings.name

    def status(self) -> SourceStatus:
        return self._life.status()

    async def run(self, sink: ReadingSink) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            lived = False
            try:
                queue = Newest(self._settings.queue)
                async with self._client(queue) as client:
                    await self._subscribe(client)
                    lived = True
                    self._tally.add("connects")
                    await self._life.enter("live", "", sink)
                    await self._read(client, queue, sink)
            except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                self._tally.add("disconnects" if lived else "failed_connects")
                self._life.complete = False
                reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                self._sparkplug.lost("the broker is away", self._clock.now_ns())
                await self._tell(self._sparkplug.turns(), sink)
                await self._life.enter("lost", reason, sink)
            pause = _FIRST_PAUSE_S if lived else min(2 * pause, self._settings.retry_max_s)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))

    def _client(self, queue: Newest) -> aiomqtt.Client:
        settings = self._settings
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.MaximumPacketSize = settings.message_bytes + 65_536
        return aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.user or None,
            password=os.environ.get(settings.password_env) if settings.password_env else None,
            identifier=settings.client_id or None,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=settings.session_expiry_s == 0,
            properties=properties,
            keepalive=settings.keep_alive_s,
            timeout=settings.timeout_s,
            tls_context=self._tls() if settings.tls else None,
            will=self._state(online=False) if settings.host_id else None,
            queue_type=cast(Any, lambda maxsize: queue),
        )

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        if settings.certificate:
            context.load_cert_chain(str(settings.certificate), str(settings.key) if settings.key else None)
        return context

    def _state(self, *, online: bool) -> aiomqtt.Will:
        body = json.dumps({"online": online, "timestamp": self._clock.now_ns() // 1_000_000})
        return aiomqtt.Will(f"{NAMESPACE}/STATE/{self._settings.host_id}", body.encode(), qos=1, retain=True)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for name in self._filters:
            for code in await client.subscribe(name, qos=self._settings.qos):
                if getattr(code, "is_failure", False):
                    self._tally.reject("refused_subscriptions", name, f"the broker refuses {name!r} ({code})")
        if self._settings.host_id:
            state = self._state(online=True)
            await client.publish(state.topic, state.payload, qos=1, retain=True)

    async def _read(self, client: aiomqtt.Client, queue: Newest, sink: ReadingSink) -> None:
        messages = client.messages
        seen_drops = 0
        while True:
            run: list[aiomqtt.Message] = []
            try:
                async with asyncio.timeout(_TICK_S):
                    run.append(await messages.__anext__())
            except TimeoutError:
                pass  # nothing came; rebirth requests may be due
            while len(run) < _RUN and not queue.empty():
                run.append(queue.get_nowait())
            dropped, seen_drops = queue.dropped - seen_drops, queue.dropped
            if dropped:
                self._tally.reject("queue_overflow", "", f"{dropped} messages came faster than they are read", dropped)
            await self._take(run, {"queue_overflow": dropped} if dropped else None, sink)
            for topic, payload in self._sparkplug.rebirths(self._clock.monotonic_s()):
                await client.publish(topic, payload, qos=0)

    async def _take(self, run: list[aiomqtt.Message], lost: dict[str, int] | None, sink: ReadingSink) -> None:
        self._decoder.follow(sink)
        received_ns = self._clock.now_ns()
        for message in run:
            topic = str(message.topic)
            try:
                self._one(topic, message, received_ns)
            except Poison as poison:
                self._tally.add("poison")
                self._tally.reject(poison.reason, topic, f"{topic[:200]}: {poison.detail}")
        self._tally.add("messages", len(run))
        for batch in (self._decoder.batch(received_ns, lost), self._sparkplug.batch(received_ns)):
            if batch is not None:
                await self._life.deliver(batch, sink)
        await self._tell(self._sparkplug.turns(), sink)

    def _one(self, topic: str, message: aiomqtt.Message, received_ns: int) -> None:
        payload = message.payload
        if not isinstance(payload, bytes) or not payload:
            self._tally.add("empty_messages")
            return
        if len(payload) > self._settings.message_bytes:
            raise Poison("too_large", f"{len(payload)} bytes; at most {self._settings.message_bytes} are taken")
        if topic.startswith(f"{NAMESPACE}/"):
            self._sparkplug.take(topic, payload, received_ns)
        elif message.retain and not self._decoder.timed(topic):
            self._tally.add("retained_without_time")  # nobody knows how old it is
        else:
            self._decoder.take(Message(topic, payload, received_ns))

    async def _tell(self, turns: list[Turn], sink: ReadingSink) -> None:
        """Births and deaths of edge nodes and devices: live or lost, and one gap from a death to the next birth."""
        for turn in turns:
            name = f"{self.name}:{turn.name}"
            if turn.alive and turn.since_ns:
                until_ns = max(turn.since_ns + 1, turn.until_ns)
                await sink.mark_gap(Gap(name, turn.since_ns, until_ns, "no birth certificate", turn.twins))
            state = SourceStatus(name, "live" if turn.alive else "lost", self._clock.now_ns(), turn.reason)
            await sink.report(state, turn.twins)


def sources_of(file: Path) -> list[MqttSource]:
    """One source a broker of the mapping file: the entry point `mqtt` of `twinloom.sources`. Raises BadFile."""
    mapping = read_mapping(file)
    return [MqttSource(broker, mapping) for broker in mapping.brokers]
