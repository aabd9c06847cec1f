"""An ONNX model under watch: what it is fed (drift), what came true (learning), and an estimate that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from twinloom.prognostics.drift import InputDrift
from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.learning import Learner
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.twin.assessments import ModelHealth, RulEstimate

HealthChanged = Callable[[ModelHealth, str], None]


class Monitored:
    """Answers like `model`; `health_changed` is told when the model's health or its reason's code changes."""

    def __init__(
        self, model: OnnxEstimator, *, learner: Learner | None = None, health_changed: HealthChanged | None = None
    ) -> None:
        self.model = model
        self.name = model.name
        self.version = model.version
        self.drift = InputDrift(model.contract)
        self.learner = learner or Learner(model.cap_days)
        self._told = (ModelHealth.OK, "")
        self._health_changed = health_changed

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """The model's answers, recalibrated; `drifting` with the reason while inputs or errors have moved."""
        answers = self.model.estimate(windows)
        self.drift.observe([w for w, a in zip(windows, answers, strict=True) if isinstance(a, RulEstimate)])
        health, reason = self.health()
        if (health, reason.partition(":")[0]) != self._told:
            self._told = (health, reason.partition(":")[0])
            if self._health_changed is not None:
                self._health_changed(health, reason)
        score = round(self.drift.score, 3)
        return [
            self._marked(answer, health, reason, score) if isinstance(answer, RulEstimate) else answer
            for answer in answers
        ]

    def health(self) -> tuple[ModelHealth, str]:
        """The model's own: `drifting` by input drift first, else by performance."""
        reason = self.drift.reason
        return (ModelHealth.DRIFTING, reason) if reason else self.learner.health()

    def cancel(self) -> None:
        self.model.cancel()

    def _marked(self, answer: RulEstimate, health: ModelHealth, reason: str, score: float) -> RulEstimate:
        adjusted = self.learner.adjust(answer)
        details = {**adjusted.details, "drift_score": score}
        return replace(adjusted, model_health=health, reason=reason, details=details)
