"""The prognostics that a CNC plant gets without asking: the packaged models, then the rule."""

from __future__ import annotations

from pathlib import Path

from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.chain import FallbackChain
from twinloom.prognostics.estimator import Observer, RulEstimator
from twinloom.prognostics.layout import CNC_SPINDLE, Layout
from twinloom.prognostics.monitored import HealthChanged, Monitored
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, MODELS, WITHOUT_HISTORY, OnnxEstimator
from twinloom.twin.errors import BadFile


def open_chain(
    model: Path = DEFAULT_MODEL,
    without_history: Path | None = WITHOUT_HISTORY,
    *,
    deadline_s: float = 1.0,
    observer: Observer | None = None,
    health_changed: HealthChanged | None = None,
) -> FallbackChain:
    """ONNX model -> model without history -> trend and zone rule. Never raises for a model file: what cannot be loaded
    is left out, and each estimate is degraded and says so. Runs each model once, so that the first request does not
    wait; models from outside of the package are tried in a limited process first (`trial`). The first model is watched
    for drift (`Monitored`); `health_changed` is told when its health changes."""
    links: list[RulEstimator] = []
    cap = 90.0
    missing = ""
    try:
        best = _opened(model, "onnx")
        links.append(Monitored(best, health_changed=health_changed))
        cap = best.cap_days
    except BadFile as error:
        missing = f"{'broken' if model.exists() else 'missing'}: {error.message}"
    if without_history is not None:
        try:
            links.append(_opened(without_history, "onnx-lite"))
        except BadFile as error:
            missing = missing or f"broken: {error.message}"
    return FallbackChain(links, RuleBaseline(cap_days=cap), missing=missing, deadline_s=deadline_s, observer=observer)


def layout_of(chain: FallbackChain) -> Layout:
    """What a `FeatureBank` must keep for this chain: the layout of its first model, else the CNC spindle's."""
    for estimator in chain.estimators:
        if isinstance(estimator, Monitored):
            estimator = estimator.model
        if isinstance(estimator, OnnxEstimator):
            return estimator.contract.layout
    return CNC_SPINDLE


def _opened(path: Path, name: str) -> OnnxEstimator:
    packaged = path.resolve().parent == MODELS.resolve()
    estimator = OnnxEstimator.open(path, name=name, trusted=packaged)
    estimator.warm_up()
    return estimator
