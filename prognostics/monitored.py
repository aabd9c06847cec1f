"""An ONNX model under watch: what it is fed (drift), what came true (learning), and an estimate that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from twinloom.prognostics.drift import InputDrift
from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.learning import Learner
from twinloom.prognostics.loading import loaded
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.twin.assessments import ModelHealth, RulEstimate

HealthChanged = Callable[[ModelHealth, str], None]
Drifted = Callable[[Sequence[str]], None]


class Monitored:
    """Answers like `model`; `health_changed` is told when the model's health or its reason's code changes, `drifted`
    the channels in which ADWIN found a change. `patient`: inputs are watched once river is imported in the background,
    so that no answer waits for that."""

    def __init__(
        self,
        model: OnnxEstimator,
        *,
        learner: Learner | None = None,
        health_changed: HealthChanged | None = None,
        drifted: Drifted | None = None,
        patient: bool = False,
    ) -> None:
        self.model = model
        self.name = model.name
        self.version = model.version
        self.drift = InputDrift(model.contract)
        self.learner = learner or Learner(model.cap_days)
        self._told = (ModelHealth.OK, "")
        self._health_changed = health_changed
        self._drifted = drifted
        self._patient = patient

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """The model's answers, recalibrated; `drifting` with the reason while inputs or errors have moved."""
        return self.judged(windows, self.model.estimate(windows))

    def judged(
        self, windows: Sequence[ComponentWindow], answers: Sequence[RulEstimate | Refused], *, watch: bool = True
    ) -> list[RulEstimate | Refused]:
        """What the model has answered, recalibrated and marked. Without `watch` the inputs leave no trace."""
        if watch and (not self._patient or loaded("river.drift")):
            seen = [w for w, a in zip(windows, answers, strict=True) if isinstance(a, RulEstimate)]
            found = self.drift.observe(seen)
            if found and self._drifted is not None:
                self._drifted(found)
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
