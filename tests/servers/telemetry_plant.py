"""A broker with a publisher that sends numbers all the time: a plant that a source can read, kill and start again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson

from servers.kafka_server import KafkaServer
from servers.mosquitto import Mosquitto
from twinloom.twin.ports import Source

RULE = {"at": "/values", "time": "/t", "twin": "plant/m-1"}
PERIOD_S = 0.02


class Server(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...


def body() -> bytes:
    """Ten values of now."""
    return orjson.dumps({"t": time.time_ns(), "values": {f"value_{n}": n + 0.5 for n in range(10)}})


async def publish_to_kafka(server: KafkaServer, stop: threading.Event) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=server.bootstrap)
    await producer.start()
    try:
        while not stop.is_set():
            await producer.send_and_wait("telemetry", body(), key=b"m-1")
            await asyncio.sleep(PERIOD_S)
    finally:
        await producer.stop()


async def publish_to_mqtt(server: Mosquitto, stop: threading.Event) -> None:
    import aiomqtt

    async with aiomqtt.Client("127.0.0.1", server.port) as client:
        while not stop.is_set():
            await client.publish("telemetry", body())
            await asyncio.sleep(PERIOD_S)


@dataclass
class BrokerPlant:
    """`make` gives a source of the running server; `publish` sends until told to stop."""

    server: Server
    make: Callable[[], Source]
    publish: Callable[[threading.Event], Awaitable[None]]
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def source(self) -> Source:
        return self.make()

    def start(self) -> None:
        self.server.start()
        self._stop.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._publish()))
        self._thread.start()

    async def _publish(self) -> None:
        await self.publish(self._stop)

    def kill(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.server.kill()


def kafka_plant(folder: Path) -> BrokerPlant:
    from twinloom.adapters.kafka.source import sources_of

    server = KafkaServer(folder / "kafka")

    def make() -> Source:
        broker = {"name": "bus", "bootstrap": server.bootstrap, "timeout_s": 1, "probe_s": 0.2}
        (folder / "kafka.yaml").write_bytes(
            orjson.dumps({"brokers": [broker], "rules": [{"topic": "telemetry", **RULE}]})
        )
        return sources_of(folder / "kafka.yaml")[0]

    return BrokerPlant(server, make, lambda stop: publish_to_kafka(server, stop))


def mqtt_plant(folder: Path) -> BrokerPlant:
    from twinloom.adapters.mqtt.source import sources_of

    server = Mosquitto(folder / "mosquitto")

    def make() -> Source:
        broker = {"name": "bus", "host": "127.0.0.1", "port": server.port, "timeout_s": 2}
        (folder / "mqtt.yaml").write_bytes(
            orjson.dumps({"brokers": [broker], "rules": [{"topic": "telemetry", **RULE}]})
        )
        return sources_of(folder / "mqtt.yaml")[0]

    return BrokerPlant(server, make, lambda stop: publish_to_mqtt(server, stop))
