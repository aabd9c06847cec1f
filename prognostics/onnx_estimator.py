"""RUL by an ONNX model of any origin that carries the contract (`contract.py`).

Loading goes from harmless to trusting: size and operators of the file's bytes (`onnx_file`), the contract, a trial run
in a limited process (`trial`), then a session whose input and output must have the contract's shape. Inference is one
thread on chunks of at most 64 windows; `run` releases the interpreter lock.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from twinloom.prognostics import trial
from twinloom.prognostics.advice import LIMITS, ZoneLimits, recommendation, zone
from twinloom.prognostics.contract import METADATA_KEY, ModelContract, read
from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.layout import Layout
from twinloom.prognostics.onnx_file import MAX_BYTES, inspect
from twinloom.twin.assessments import ModelHealth, RulEstimate
from twinloom.twin.errors import BadFile

Floats = npt.NDArray[np.float64]

CHUNK = 64
_FAR = 6.0  # standard deviations from the mean of training: beyond, and beyond all that it saw, is refused
_TOLERANCE = 0.1  # of the cap: a net may overshoot a little; the estimate itself is clipped
MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = MODELS / "cnc-spindle.onnx"
WITHOUT_HISTORY = MODELS / "cnc-spindle-lite.onnx"

_ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)


class OnnxEstimator:
    """`data`: the file's bytes. Raises BadFile with what does not fit. `trusted` skips the trial run: for the models
    that come with the package. `severity`: the channels whose larger daily mean is the vibration severity."""

    def __init__(
        self,
        data: bytes,
        file: str = "model.onnx",
        *,
        name: str = "onnx",
        trusted: bool = False,
        limits: ZoneLimits = LIMITS,
        severity: tuple[str, ...] = ("vibration_x", "vibration_y"),
    ) -> None:
        found = inspect(data, file)
        if METADATA_KEY not in found.metadata:
            raise BadFile(file, "the model carries no contract", place=METADATA_KEY, remedy="add it to metadata_props")
        self.contract: ModelContract = read(found.metadata[METADATA_KEY], file)
        self.name = name
        self.file = file
        self.version = hashlib.sha256(data).hexdigest()[:12]
        layout = self.contract.layout
        if not trusted:
            trial.try_out(data, file, layout.window, len(layout.features), len(self.contract.outputs))
        self._session = _session(data, file)
        self._input, self._output, is_flat = _ports(self._session, file, layout)
        shape = (layout.window, len(layout.features))
        self._shape = (shape[0] * shape[1],) if is_flat else shape
        self._options: ort.RunOptions | None = None
        self._lock = threading.Lock()
        self._severity = severity
        self._limits = limits
        ranges = self.contract.ranges
        self._lowest: Floats = np.array([min(entry.minimum, entry.mean - _FAR * entry.std) for entry in ranges])
        self._highest: Floats = np.array([max(entry.maximum, entry.mean + _FAR * entry.std) for entry in ranges])
        self._edges = np.array(self.contract.interval.edges)
        self._widths = np.array(self.contract.interval.half_widths)
        self._days = {"day": 1.0, "hour": 1 / 24}.get(self.contract.target_unit, 1.0)
        self._columns: dict[str, list[int]] = {}
        self._maps: dict[str, tuple[list[int], list[int]] | str] = {}

    @classmethod
    def open(cls, path: Path, *, name: str = "onnx", trusted: bool = False) -> OnnxEstimator:
        """The model in a file. Raises BadFile, also when there is none."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise BadFile(str(path), f"the model is larger than {MAX_BYTES} bytes", remedy="use a smaller model")
            data = path.read_bytes()
        except OSError as error:
            raise BadFile(
                str(path), f"the model cannot be read ({error.strerror})", remedy="name an ONNX file"
            ) from error
        return cls(data, str(path), name=name, trusted=trusted)

    @property
    def cap_days(self) -> float:
        return self.contract.cap * self._days

    def predict(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Raw outputs (N, len(contract.outputs)) in target units for windows x (N, W, F) in the features' own units.
        May raise errors of onnxruntime, also when `cancel` ended the run."""
        options = ort.RunOptions()
        options.log_severity_level = 4
        with self._lock:
            self._options = options
        x = np.ascontiguousarray(x, np.float32).reshape(len(x), *self._shape)
        parts = [
            self._session.run([self._output], {self._input: x[i : i + CHUNK]}, options)[0]
            for i in range(0, len(x), CHUNK)
        ]
        width = len(self.contract.outputs)
        out: npt.NDArray[np.float32] = np.concatenate(parts) if parts else np.zeros((0, width), np.float32)
        return out[:, None] if out.ndim == 1 and width == 1 else out

    def fits(self, layout: Layout) -> str:
        """Why windows of this layout cannot be scored (`layout: ...`), "" when they can."""
        found = _map(self.contract.layout, layout)
        return found if isinstance(found, str) else ""

    def warm_up(self) -> None:
        """One run on the mean of training, so that the first request finds memory and code in place."""
        row = np.array([entry.mean for entry in self.contract.ranges], np.float32)
        self.predict(np.broadcast_to(row, (CHUNK, self.contract.layout.window, len(row))).copy())

    def cancel(self) -> None:
        """Ends the present run, from another thread: `predict` raises there."""
        with self._lock:
            if self._options is not None:
                self._options.terminate = True

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """One answer a window, in order; one run for all that fit."""
        answers: list[RulEstimate | Refused | None] = [None] * len(windows)
        fit: list[int] = []
        rows: list[npt.NDArray[np.float32]] = []
        for i, window in enumerate(windows):
            inputs = self._inputs(window)
            if isinstance(inputs, str):
                answers[i] = Refused(window.twin, inputs)
            else:
                fit.append(i)
                rows.append(inputs)
        if fit:
            x = np.stack(rows)
            within = (x >= self._lowest) & (x <= self._highest)
            far: npt.NDArray[np.bool_] = np.asarray(np.logical_not(within).any(axis=1))
            usual: npt.NDArray[np.bool_] = np.logical_not(far.any(axis=1))
            for i, strange in zip(fit, far, strict=True):
                if strange.any():
                    feature = self.contract.layout.features[int(strange.argmax())]
                    answers[i] = Refused(windows[i].twin, f"out_of_range: {feature.name} is far from what training saw")
            self._fill(answers, windows, [i for i, fine in zip(fit, usual, strict=True) if fine], x[usual])
        return [answer for answer in answers if answer is not None]

    def _fill(
        self,
        answers: list[RulEstimate | Refused | None],
        windows: Sequence[ComponentWindow],
        places: Sequence[int],
        x: npt.NDArray[np.float32],
    ) -> None:
        try:
            out = self.predict(x).astype(np.float64)
        except _ORT_ERRORS:
            for i in places:
                answers[i] = Refused(windows[i].twin, "error: the model failed to run")
            return
        if out.shape != (len(x), len(self.contract.outputs)):
            for i in places:
                answers[i] = Refused(windows[i].twin, f"shape: the model gave {out.shape}")
            return
        low, high = self.interval(out[:, 0])
        tolerance = _TOLERANCE * self.contract.cap
        for k, i in enumerate(places):
            if not np.isfinite(out[k]).all():
                answers[i] = Refused(windows[i].twin, "nan: the model gave no number")
            elif not -tolerance <= out[k, 0] <= self.contract.cap + tolerance:
                answers[i] = Refused(windows[i].twin, f"out_of_bounds: the model gave {out[k, 0]:g}")
            else:
                answers[i] = self._answer(windows[i], out[k].tolist(), float(low[k]), float(high[k]))

    def interval(self, predicted: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Lower and upper ends for predictions (N,), target units, inside 0..cap (Mondrian conformal)."""
        at = np.clip(np.nan_to_num(predicted), 0.0, self.contract.cap)
        half = self._widths[np.clip(np.searchsorted(self._edges, at, side="right") - 1, 0, len(self._widths) - 1)]
        return np.maximum(at - half, 0.0), np.minimum(at + half, self.contract.cap)

    def _answer(self, window: ComponentWindow, out: list[float], low: float, high: float) -> RulEstimate:
        rul = min(max(out[0], 0.0), self.contract.cap) * self._days
        low, high = min(low * self._days, rul), max(high * self._days, rul)
        level = max((float(window.daily[-1, i]) for i in self._severity_of(window.layout)), default=float("nan"))
        health = zone(level, rul, self._limits)
        return RulEstimate(
            twin=window.twin,
            rul_days=rul,
            low=low,
            high=high,
            health=health,
            recommendation=recommendation(health, rul, low),
            model_health=ModelHealth.OK,
            model_version=self.version,
            method=self.name,
            source_time_ns=window.source_time_ns,
            quality_share=window.quality_share,
            details={"quantiles": [value * self._days for value in out[1:]], "age": window.age},
        )

    def _severity_of(self, layout: Layout) -> list[int]:
        columns = self._columns.get(layout.digest)
        if columns is None:
            columns = [i for name in self._severity if (i := layout.channel_index(name)) >= 0]
            self._columns[layout.digest] = columns
        return columns

    def _inputs(self, window: ComponentWindow) -> npt.NDArray[np.float32] | str:
        """The model's own rows of the window (W, F), or why it cannot be scored."""
        key = window.layout.digest
        if key not in self._maps:
            self._maps[key] = _map(self.contract.layout, window.layout)
        chosen = self._maps[key]
        if isinstance(chosen, str):
            return chosen
        features, channels = chosen
        needed = self.contract.layout.window
        reason = window.unfit(channels, needed, since_install=self.contract.history == "install")
        return reason or window.features[-needed:, features]


def _map(model: Layout, bank: Layout) -> tuple[list[int], list[int]] | str:
    """Which of the bank's features and channels the model takes, or why the two do not fit."""
    if model.stride != bank.stride or model.clock != bank.clock:
        return f"layout: the model wants a row every {model.stride:g} {model.clock}"
    if model.window > bank.window:
        return f"layout: the model wants {model.window} strides, {bank.window} are kept"
    channels: list[int] = []
    for channel in model.channels:
        i = bank.channel_index(channel.name)
        if i < 0:
            return f"layout: there is no channel {channel.name}"
        if bank.channels[i].unit != channel.unit:
            return f"layout: {channel.name} is in {bank.channels[i].unit}, the model wants {channel.unit}"
        if channel.name != model.clock:
            channels.append(i)
    kept = {(f.channel, f.transform, f.alpha): i for i, f in enumerate(bank.features)}
    features: list[int] = []
    for feature in model.features:
        found = kept.get((feature.channel, feature.transform, feature.alpha))
        if found is None:
            return f"layout: feature {feature.name} is not kept"
        features.append(found)
    return features, channels


def _session(data: bytes, file: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise BadFile(file, "onnxruntime cannot load the model", remedy="export it again with opset 17") from error


def _ports(session: ort.InferenceSession, file: str, layout: Layout) -> tuple[str, str, bool]:
    """Names of the one input and of the output, and whether a window is one flat row (as in scikit-learn). Raises
    BadFile when the shapes are not the contract's."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    wanted = [layout.window, len(layout.features)]
    flat = [layout.window * len(layout.features)]
    shape = list(inputs[0].shape[1:]) if inputs else []
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or shape not in (wanted, flat):
        shapes = [(port.name, port.type, port.shape) for port in inputs]
        raise BadFile(
            file, f"the inputs {shapes} are not one float32 tensor (B, {wanted[0]}, {wanted[1]})", place="input"
        )
    if isinstance(inputs[0].shape[0], int):
        raise BadFile(file, f"the batch size is fixed at {inputs[0].shape[0]}", place="input", remedy="make it dynamic")
    if not outputs or outputs[0].type != "tensor(float)":
        raise BadFile(file, "the first output is no float32 tensor", place="output")
    return inputs[0].name, outputs[0].name, shape == flat
