"""The models of a running service as one estimator: assigned by digest, watched each, with fallbacks below.

`estimate` is what the scoring loop asks: shadows are scored, inputs are watched, a late model is left behind. `aside`
answers questions (what if, explain, a forecast) with the same models and the same recalibration, and leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.chain import FallbackChain
from twinloom.prognostics.estimator import ComponentWindow, Refused, RulEstimator
from twinloom.prognostics.layout import CNC_SPINDLE, Layout
from twinloom.prognostics.monitored import Monitored
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, MODELS, WITHOUT_HISTORY, OnnxEstimator
from twinloom.prognostics.registry import ModelRegistry, TypesOf
from twinloom.twin.assessments import ModelHealth, RulEstimate
from twinloom.twin.errors import BadFile
from twinloom.twin.ids import TwinId

HealthChanged = Callable[[str, ModelHealth, str], None]
Drifted = Callable[[Sequence[str]], None]


class Served:
    """`registry` says which model scores what; `watch_of(digest)` is the watch over one. The callbacks
    `health_changed` (digest, health, reason) and `drifted` (channels) are called in the thread that scores."""

    name = "onnx"

    def __init__(
        self, lower: Sequence[RulEstimator] = (), *, cap_days: float = 90.0, missing: str = "", deadline_s: float = 1.0
    ) -> None:
        self.types_of: TypesOf = _no_types
        self.health_changed: HealthChanged | None = None
        self.drifted: Drifted | None = None
        self.registry = ModelRegistry(types_of=lambda twin: self.types_of(twin))
        self.missing = missing
        self._watches: dict[str, Monitored] = {}
        self._lower = tuple(lower)
        baseline = RuleBaseline(cap_days=cap_days)
        self._chain = FallbackChain([_Watched(self), *lower], baseline, deadline_s=deadline_s)
        self._aside = FallbackChain([_Watched(self, watch=False), *lower], baseline, deadline_s=5 * deadline_s)

    @classmethod
    def open(cls, model: Path = DEFAULT_MODEL, without_history: Path | None = WITHOUT_HISTORY) -> Served:
        """The model in force for everything and the one below it. Never raises for a file: what cannot be loaded is
        left out, and each estimate is degraded and says so."""
        missing, best = "", None
        lower: list[RulEstimator] = []
        try:
            best = _opened(model, "onnx")
        except BadFile as error:
            missing = f"{'broken' if model.exists() else 'missing'}: {error.message}"
        if without_history is not None:
            try:
                lower.append(_opened(without_history, "onnx-lite"))
            except BadFile as error:
                missing = missing or f"broken: {error.message}"
        served = cls(lower, cap_days=best.cap_days if best else 90.0, missing=missing)
        if best is not None:
            served.registry.activate(served.registry.put(best))
        return served

    @property
    def version(self) -> str:
        return self.registry.version

    @property
    def layout(self) -> Layout:
        """What a `FeatureBank` must keep: the layout of the model for everything, else of the one below it."""
        digest = self.registry.version
        if digest:
            return self.registry.get(digest).contract.layout
        return next((m.contract.layout for m in self._lower if isinstance(m, OnnxEstimator)), CNC_SPINDLE)

    @property
    def estimators(self) -> tuple[RulEstimator, ...]:
        """Best first, the rule last."""
        first = (self.registry,) if len(self.registry) else ()
        return (*first, *self._lower, self._chain.estimators[-1])

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate]:
        """One estimate a window, in order. Never raises."""
        return self._chain.estimate(windows)

    def aside(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate]:
        """As `estimate`, without shadows and without a trace in what is watched."""
        return self._aside.estimate(windows)

    def best(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """The assigned models' own answers, without a fallback and without a trace."""
        return self.answered(windows, watch=False)

    def model(self, version: str) -> RulEstimator | None:
        """The loaded estimator of this version: an assigned or spare model, the lower one, the rule. None: not here."""
        found = self.registry.models.get(version)
        return found or next((e for e in (*self._lower, self._chain.estimators[-1]) if e.version == version), None)

    def watch_of(self, digest: str) -> Monitored:
        """Raises NotFound."""
        if digest not in self._watches:
            self._watches[digest] = Monitored(
                self.registry.get(digest),
                health_changed=lambda health, reason: self._tell(digest, health, reason),
                drifted=lambda channels: self.drifted(channels) if self.drifted else None,
                patient=True,
            )
        return self._watches[digest]

    def answered(self, windows: Sequence[ComponentWindow], *, watch: bool) -> list[RulEstimate | Refused]:
        """Each window by its model, then marked by that model's watch."""
        if not len(self.registry):
            return [Refused(w.twin, self.missing or "no_model: no model was given") for w in windows]
        answers = self.registry.estimate(windows) if watch else self.registry.answer(windows)
        places: dict[str, list[int]] = {}
        for i, answer in enumerate(answers):
            if isinstance(answer, RulEstimate):
                places.setdefault(answer.model_version, []).append(i)
        for digest, at in places.items():
            marked = self.watch_of(digest).judged([windows[i] for i in at], [answers[i] for i in at], watch=watch)
            for i, answer in zip(at, marked, strict=True):
                answers[i] = answer
        return answers

    def _tell(self, digest: str, health: ModelHealth, reason: str) -> None:
        if self.health_changed is not None:
            self.health_changed(digest, health, reason)

    def close(self) -> None:
        """Lets the worker threads end."""
        self._chain.close()
        self._aside.close()


class _Watched:
    """The registry's models as one link of a chain."""

    name = "onnx"

    def __init__(self, served: Served, *, watch: bool = True) -> None:
        self._served = served
        self._watch = watch

    @property
    def version(self) -> str:
        return self._served.version

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        return self._served.answered(windows, watch=self._watch)

    def cancel(self) -> None:
        self._served.registry.cancel()


def _no_types(twin: TwinId) -> Sequence[str]:
    return ()


def _opened(path: Path, name: str) -> OnnxEstimator:
    estimator = OnnxEstimator.open(path, name=name, trusted=path.resolve().parent == MODELS.resolve())
    estimator.warm_up()
    return estimator
