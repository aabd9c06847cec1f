"""Which model scores what: models load beside, are scored in the shadow, swapped by digest and rolled back.

A digest (12 hex digits of SHA-256) names a model. `add` checks it fully before anyone can be given it; a swap is one
assignment of a reference, so a scoring run that is going on ends with the model with which it began. Models are
assigned to everything, to a DTDL type or to one twin: the most specific wins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import Conflict, NotFound
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json

EVERYTHING = "*"
TypesOf = Callable[[TwinId], Sequence[str]]


@dataclass(slots=True)
class ShadowFigures:
    """How a shadow compares with the active model on the same windows, in days."""

    windows: int = 0
    refused: int = 0
    mean_difference: float = 0.0
    largest_difference: float = 0.0

    def count(self, active: RulEstimate | Refused, shadow: RulEstimate | Refused) -> None:
        if isinstance(shadow, Refused):
            self.refused += 1
        elif isinstance(active, RulEstimate):
            difference = shadow.rul_days - active.rul_days
            self.windows += 1
            self.mean_difference += (difference - self.mean_difference) / self.windows
            self.largest_difference = max(self.largest_difference, abs(difference))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is in force; replaced whole."""

    active: Mapping[str, str] = field(default_factory=dict)  # target -> digest
    history: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # target -> earlier digests, newest last
    shadows: Mapping[str, str] = field(default_factory=dict)


class ModelRegistry:
    """A `RulEstimator` over many models. `types_of` gives a twin's DTDL types, most specific first."""

    name = "onnx"

    def __init__(self, *, types_of: TypesOf = lambda twin: ()) -> None:
        self._models: dict[str, OnnxEstimator] = {}
        self._plan = _Plan()
        self._types_of = types_of
        self._changing = threading.Lock()
        self.shadow_figures: dict[str, ShadowFigures] = {}

    # -- models --------------------------------------------------------------------------------------------------

    def add(self, data: bytes, file: str = "model.onnx", *, trusted: bool = False) -> str:
        """Loads a model beside the others and returns its digest. Raises BadFile; nothing changes then."""
        estimator = OnnxEstimator(data, file, trusted=trusted)
        estimator.warm_up()
        with self._changing:
            self._models = {**self._models, estimator.version: self._models.get(estimator.version, estimator)}
        return estimator.version

    def add_file(self, path: Path, *, trusted: bool = False) -> str:
        """Like `add`, for a file. Raises BadFile."""
        estimator = OnnxEstimator.open(path, trusted=trusted)
        estimator.warm_up()
        return self.put(estimator)

    def put(self, estimator: OnnxEstimator) -> str:
        """Takes a model that is open already; returns its digest."""
        with self._changing:
            self._models = {**self._models, estimator.version: self._models.get(estimator.version, estimator)}
        return estimator.version

    def remove(self, digest: str) -> None:
        """Unloads a model. Raises NotFound, and Conflict while it is active or in the shadow somewhere."""
        with self._changing:
            self._known(digest)
            if digest in (*self._plan.active.values(), *self._plan.shadows.values()):
                raise Conflict(f"model {digest} is in use", remedy="activate another one first")
            self._models = {key: model for key, model in self._models.items() if key != digest}

    def get(self, digest: str) -> OnnxEstimator:
        """Raises NotFound."""
        return self._known(digest)

    def __len__(self) -> int:
        return len(self._models)

    def _known(self, digest: str) -> OnnxEstimator:
        try:
            return self._models[digest]
        except KeyError:
            raise NotFound(
                f"there is no model {digest}", remedy=f"loaded are: {', '.join(self._models) or 'none'}"
            ) from None

    # -- who is scored by what -----------------------------------------------------------------------------------

    def activate(self, digest: str, target: str = EVERYTHING) -> str:
        """Puts a model in force for `target`: a twin id, a DTDL type or everything. Returns the one before, or ""."""
        with self._changing:
            self._known(digest)
            plan, before = self._plan, self._plan.active.get(target, "")
            past = (*plan.history.get(target, ()), before)[-16:] if before else plan.history.get(target, ())
            self._plan = _Plan({**plan.active, target: digest}, {**plan.history, target: past}, plan.shadows)
            return before

    def roll_back(self, target: str = EVERYTHING) -> str:
        """Puts the model before in force again and returns its digest. Raises Conflict when there was none."""
        with self._changing:
            plan = self._plan
            past = [digest for digest in plan.history.get(target, ()) if digest in self._models]
            if not past:
                raise Conflict(f"there is no earlier model for {target!r}", remedy="activate one by its digest")
            *rest, digest = past
            self._plan = _Plan({**plan.active, target: digest}, {**plan.history, target: tuple(rest)}, plan.shadows)
            return digest

    def shadow(self, digest: str, target: str = EVERYTHING) -> None:
        """Scores `target` with this model too, for comparison only: see `shadow_figures`. Raises NotFound."""
        with self._changing:
            self._known(digest)
            self.shadow_figures[digest] = ShadowFigures()
            self._plan = _Plan(self._plan.active, self._plan.history, {**self._plan.shadows, target: digest})

    def end_shadow(self, target: str = EVERYTHING) -> None:
        with self._changing:
            shadows = {key: value for key, value in self._plan.shadows.items() if key != target}
            self._plan = _Plan(self._plan.active, self._plan.history, shadows)

    def active(self, target: str = EVERYTHING) -> str:
        """The digest in force for exactly this target, "" when there is none."""
        return self._plan.active.get(target, "")

    @property
    def version(self) -> str:
        """The digest in force for everything, "" when there is none."""
        return self.active()

    # -- scoring -------------------------------------------------------------------------------------------------

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """One answer a window, by the model that is assigned to it; one run a model, and one a shadow."""
        plan, models = self._plan, self._models
        answers = self._answered(plan, models, windows)
        for digest, places in self._by_model(plan.shadows, windows).items():
            figures = self.shadow_figures[digest]
            for i, answer in zip(places, models[digest].estimate([windows[i] for i in places]), strict=True):
                figures.count(answers[i], answer)
        return answers

    def answer(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """As `estimate`, without the shadows."""
        return self._answered(self._plan, self._models, windows)

    def _answered(
        self, plan: _Plan, models: Mapping[str, OnnxEstimator], windows: Sequence[ComponentWindow]
    ) -> list[RulEstimate | Refused]:
        answers: list[RulEstimate | Refused] = [Refused(w.twin, "missing: no model is assigned") for w in windows]
        for digest, places in self._by_model(plan.active, windows).items():
            found = models[digest].estimate([windows[i] for i in places])
            for i, answer in zip(places, found, strict=True):
                answers[i] = answer
        return answers

    @property
    def plan(self) -> dict[str, dict[str, Json]]:
        """What is in force, as JSON: `active`, `history` and `shadows` by target."""
        plan = self._plan
        return {
            "active": dict(plan.active),
            "history": {target: list(digests) for target, digests in plan.history.items()},
            "shadows": dict(plan.shadows),
        }

    def restore(self, kept: Mapping[str, Mapping[str, Json]]) -> None:
        """Takes what `plan` gave; what names a model that is not loaded is left out."""
        with self._changing:
            known = self._models
            self._plan = _Plan(
                {**self._plan.active, **{t: d for t, d in kept["active"].items() if d in known}},
                {t: tuple(d for d in past if d in known) for t, past in kept["history"].items()},
                {t: d for t, d in kept["shadows"].items() if d in known},
            )
            for digest in self._plan.shadows.values():
                self.shadow_figures.setdefault(digest, ShadowFigures())

    @property
    def models(self) -> Mapping[str, OnnxEstimator]:
        """Every loaded model by its digest."""
        return dict(self._models)

    def cancel(self) -> None:
        for model in self._models.values():
            model.cancel()

    def _by_model(self, assigned: Mapping[str, str], windows: Sequence[ComponentWindow]) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        if not assigned:
            return places
        only = assigned.get(EVERYTHING) if len(assigned) == 1 else None
        if only is not None:
            return {only: list(range(len(windows)))}
        for i, window in enumerate(windows):
            for target in (window.twin, *self._types_of(window.twin), EVERYTHING):
                digest = assigned.get(target)
                if digest is not None:
                    places.setdefault(digest, []).append(i)
                    break
        return places
