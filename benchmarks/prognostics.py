"""RUL scoring: the fleet in one batch, windows a second in chunks, the cost of a feature and of drift detection.

Peers run in this process, beside ours, on the same data: the same nets in jax (jit), the same batch in one piece, and
river's own streaming statistics fed value by value.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twinloom.prognostics.defaults import open_chain
from twinloom.prognostics.drift import DriftWatch
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.prognostics.onnx_estimator import CHUNK, DEFAULT_MODEL, MODELS, OnnxEstimator
from twinloom.twin.ids import TwinId
from twinloom.twin.wear import Fleet

MACHINES = 47
REPEATS = 15


def run() -> Iterator[dict[str, Any]]:
    for name, path in (("cnc-spindle", DEFAULT_MODEL), ("cmapss-fd001", MODELS / "cmapss-fd001.onnx")):
        yield from _inference(name, path)
    ticks = _readings(400)
    yield from _features(ticks)
    yield _chain(ticks)
    yield from _drift()


def _inference(name: str, path: Path) -> Iterator[dict[str, Any]]:
    model = OnnxEstimator.open(path, trusted=True)
    layout = model.contract.layout
    means = np.array([entry.mean for entry in model.contract.ranges], np.float32)
    noise = np.random.default_rng(1).standard_normal((2048, layout.window, len(means))).astype(np.float32)
    x = np.abs(means + 0.1 * noise * np.array([entry.std for entry in model.contract.ranges], np.float32))
    fleet = x[:MACHINES]
    model.warm_up()
    peer = _jax_twin(path)
    if peer is not None:
        peer(fleet)
    ours, other = _paired(lambda: model.predict(fleet), (lambda: peer(fleet)) if peer else None)
    yield _row(f"RUL of 47 machines, {name} ensemble", "ms", ours * 1e3, "jax jit, same nets", _times(other, 1e3))

    whole = model._session

    def at_once() -> None:
        whole.run([model._output], {model._input: x})

    ours, other = _paired(lambda: model.predict(x), at_once)
    rate = len(x) / ours
    peer_rate = len(x) / other if other else None
    yield _row(f"windows a second, {name}, chunks of {CHUNK}", "1/s", rate, "one batch of 2,048", peer_rate)


def _jax_twin(path: Path) -> Callable[[Any], Any] | None:
    """The same computation in jax, from the file's own weights; None without the extra `train`."""
    try:
        import jax
        import onnx
        from onnx import numpy_helper

        from twinloom.prognostics.train.nets import forward
    except ImportError:
        return None
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}
    nets = []
    k = 0
    while f"w{k}" in weights:
        b = weights[f"b{k}"][0]
        nets.append(
            {"w": weights[f"w{k}"][0], "r": weights[f"r{k}"][0], "b": b[: len(b) // 2], "v": weights[f"v{k}"],
             "c": weights[f"c{k}"]}
        )  # fmt: skip
        k += 1
    mean, std, log = weights["mean"], weights["std"], weights.get("log")

    def predict(x: Any) -> Any:
        if log is not None:
            x = x * (1 - log) + jax.numpy.log(jax.numpy.maximum(x, 1e-3)) * log
        scaled = (x - mean) / std
        return sum(forward(net, scaled) for net in nets) * weights["scale"]

    jitted = jax.jit(predict)
    return lambda x: np.asarray(jitted(x))


def _readings(ticks: int) -> list[np.ndarray[Any, Any]]:
    """Six values of each of 47 spindles a tick, 2.4 h of plant time apart: the demo's rate of strides."""
    fleet = Fleet(MACHINES, 1, start_ages="mixed")
    names = [channel.name for channel in CNC_SPINDLE.channels]
    found = []
    for _ in range(ticks):
        fleet.advance(2.4)
        shown = fleet.spindle()
        found.append(np.stack([shown[name] for name in names], axis=1).ravel())
    return found


def _bank() -> FeatureBank:
    bank = FeatureBank(CNC_SPINDLE)
    for i in range(MACHINES):
        bank.add(TwinId(f"m{i}/spindle"))
    return bank


def _columns() -> tuple[Any, Any, Any]:
    channels = len(CNC_SPINDLE.channels)
    components = np.repeat(np.arange(MACHINES), channels)
    return components, np.tile(np.arange(channels), MACHINES), np.zeros(MACHINES * channels, np.uint32)


def _features(ticks: list[np.ndarray[Any, Any]]) -> Iterator[dict[str, Any]]:
    from river import stats

    components, channels, quality = _columns()
    values = len(ticks) * len(components)

    def ours(readings: list[np.ndarray[Any, Any]]) -> None:
        bank = _bank()
        for i, row in enumerate(readings):
            bank.observe(components, channels, row, quality, np.full(len(row), i))
            bank.due()

    def plain() -> None:
        state = [(stats.EWMean(0.1), stats.Mean()) for _ in components]
        for row in ticks:
            for (ewma, mean), value in zip(state, row.tolist(), strict=True):
                ewma.update(value)
                mean.update(value)

    mine, other = _paired(lambda: ours(ticks), plain, 5)
    peer = _times(other, 1e6 / values)
    yield _row(
        "feature update, a day a second", "us of CPU a value", mine / values * 1e6, "river EWMean + Mean", peer, 5
    )
    same_day = [ticks[0]] * len(ticks)
    mine, other = _paired(lambda: ours(same_day), plain, 5)
    peer = _times(other, 1e6 / values)
    yield _row("feature update, within a day", "us of CPU a value", mine / values * 1e6, "river EWMean + Mean", peer, 5)


def _chain(ticks: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
    components, channels, quality = _columns()
    bank = _bank()
    for i, row in enumerate(ticks):
        bank.observe(components, channels, row, quality, np.full(len(row), i))
    windows: list[ComponentWindow] = bank.windows([TwinId(f"m{i}/spindle") for i in range(MACHINES)])
    chain = open_chain()
    chain.estimate(windows)
    ours, _ = _paired(lambda: chain.estimate(windows), None)
    chain.close()
    return _row("estimates of 47 machines, whole chain", "ms", ours * 1e3, None, None)


def _drift() -> Iterator[dict[str, Any]]:
    """1,000 channels at 10 Hz for 20 s, as shares of one core."""
    from river.drift import ADWIN

    seconds, channels = 20, 1000
    values = np.random.default_rng(2).standard_normal((10 * seconds, channels))

    def ours() -> None:
        watch = DriftWatch(channels)
        for row in values:
            watch.observe(row)

    def plain() -> None:
        detectors = [ADWIN(0.002) for _ in range(channels)]
        for row in values:
            for detector, value in zip(detectors, row.tolist(), strict=True):
                detector.update(value)

    mine, other = _paired(ours, plain, 3)
    share = 100 / seconds
    yield _row(
        "drift, 1,000 channels at 10 Hz", "% of a core", mine * share, "river ADWIN alone", _times(other, share), 3
    )


def _paired(
    ours: Callable[[], object], peer: Callable[[], object] | None, repeats: int = REPEATS
) -> tuple[float, float | None]:
    """Median CPU seconds of each, taken in turns so that both see the same machine."""
    mine, other = [], []
    for _ in range(repeats):
        mine.append(_cpu(ours))
        if peer is not None:
            other.append(_cpu(peer))
    return statistics.median(mine), statistics.median(other) if other else None


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _row(
    figure: str, unit: str, ours: float, peer: str | None, value: float | None, repeats: int = REPEATS
) -> dict[str, Any]:
    return {
        "figure": figure,
        "unit": unit,
        "ours": round(ours, 4),
        "peer": peer if value is not None else None,
        "peer_value": None if value is None else round(value, 4),
        "ratio": None if value is None else round(ours / value, 3),
        "repeats": repeats,
    }


if __name__ == "__main__":
    for row in run():
        print(json.dumps(row), flush=True)
