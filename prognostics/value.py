"""What prediction is worth: `twinloom report`, on lives that are known to their end.

Three ways to keep the same parts running over the same time are counted with the plant's own costs: run to failure,
replacement at a fixed age, replacement when the estimate says so. The lives are replayed (or simulated); each machine
takes one life after the other, and each policy the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.prognostics.train.fleet import lives
from twinloom.prognostics.train.windows import windows_of
from twinloom.twin.errors import BadRequest
from twinloom.twin.instance import Json

PolicyName = Literal["run to failure", "fixed interval", "predictive"]
Predict = Callable[[int], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class CostTable:
    """The plant's own figures; one currency throughout. `investment` once, `running_per_year` for the system."""

    currency: str = "EUR"
    downtime_per_hour: float = 450.0
    unplanned_stop_hours: float = 36.0
    planned_stop_hours: float = 6.0
    part: float = 6500.0
    collateral_damage: float = 4000.0
    investment: float = 60_000.0
    running_per_year: float = 15_000.0

    @classmethod
    def read(cls, document: Mapping[str, Json]) -> CostTable:
        """From a JSON or YAML object. Raises BadRequest for an unknown name or a negative amount."""
        known = {entry.name for entry in fields(cls)}
        for name, value in document.items():
            if name not in known:
                raise BadRequest(f"there is no cost {name!r}", remedy=f"use {', '.join(sorted(known))}")
            good = isinstance(value, str) if name == "currency" else isinstance(value, (int, float)) and value >= 0
            if not good or isinstance(value, bool):
                raise BadRequest(f"{name} is {value!r}", remedy="give an amount of zero or more")
        return cls(**document)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one policy. mtbf_days: operating days per failure (inf without one); life_used: share of parts' lives."""

    policy: PolicyName
    failures: int
    replacements: int
    downtime_hours: float
    cost: float
    mtbf_days: float
    life_used: float


@dataclass(frozen=True, slots=True)
class ValueReport:
    outcomes: tuple[Outcome, ...]
    assumptions: tuple[str, ...]
    downtime_avoided_hours_per_year: float
    saved_per_year: float
    roi_first_year: float
    payback_years: float

    def as_json(self) -> dict[str, Json]:
        """For `--json`; what has no end (the MTBF without a failure) is null."""
        whole = {key: _finite(value) for key, value in asdict(self).items() if key != "outcomes"}
        outcomes = [{key: _finite(v) for key, v in asdict(outcome).items()} for outcome in self.outcomes]
        return {"outcomes": outcomes, **whole}


def value_report(
    lives_days: Sequence[float],
    predict: Predict,
    costs: CostTable,
    *,
    machines: int,
    years: float,
    threshold_days: float = 14.0,
    confirm_days: int = 2,
    fixed_interval_days: float | None = None,
    source: str = "simulated lives",
    seed: int = 1,
) -> ValueReport:
    """Counts the three policies. `predict(i)`: the estimate after each whole day of life i, NaN where there was none
    (n,). Replaced once it is at most `threshold_days` on `confirm_days` days running. The fixed interval defaults to
    the tenth percentile of the lives. Raises BadRequest without lives."""
    if not len(lives_days) or machines < 1 or years <= 0:
        raise BadRequest("there is nothing to count", remedy="give lives, machines and a time above zero")
    interval = fixed_interval_days or float(np.quantile(lives_days, 0.1))
    planned = {
        "run to failure": [float("inf")] * len(lives_days),
        "fixed interval": [interval] * len(lives_days),
        "predictive": [_replaced_after(predict(i), threshold_days, confirm_days) for i in range(len(lives_days))],
    }
    order = np.random.default_rng(seed).integers(0, len(lives_days), (machines, 10_000))
    outcomes = tuple(_count(name, planned[name], lives_days, costs, order, 365.0 * years) for name in _POLICIES)
    reference = min(outcomes[0], outcomes[1], key=lambda outcome: outcome.cost)
    predictive = outcomes[2]
    saved = (reference.cost - predictive.cost) / years - costs.running_per_year
    return ValueReport(
        outcomes=outcomes,
        assumptions=(
            f"{machines} machines over {years:g} years; {len(lives_days)} {source}, drawn with seed {seed}",
            "every policy meets the same lives in the same order; a stop costs no life of other parts",
            f"an unplanned stop lasts {costs.unplanned_stop_hours:g} h, a planned one {costs.planned_stop_hours:g} h,"
            f" at {costs.downtime_per_hour:g} {costs.currency} an hour",
            f"a part costs {costs.part:g}, a failure {costs.collateral_damage:g} more ({costs.currency})",
            f"fixed interval: every {interval:.0f} days; predictive: at {threshold_days:g} days or fewer left on"
            f" {confirm_days} days running",
            f"savings are against {reference.policy}, the cheaper of the two others, less"
            f" {costs.running_per_year:g} {costs.currency} a year for running the system",
            f"investment {costs.investment:g} {costs.currency}, once",
        ),
        downtime_avoided_hours_per_year=(reference.downtime_hours - predictive.downtime_hours) / years,
        saved_per_year=saved,
        roi_first_year=(saved - costs.investment) / costs.investment if costs.investment else float("inf"),
        payback_years=costs.investment / saved if saved > 0 else float("inf"),
    )


_POLICIES: tuple[PolicyName, ...] = ("run to failure", "fixed interval", "predictive")


def simulated_report(
    costs: CostTable, model: OnnxEstimator, *, machines: int = 47, years: float = 3.0, seed: int = 4, parts: int = 150
) -> ValueReport:
    """The report for a fleet of synthetic CNC spindles whose lives no model was trained on, scored by `model`."""
    layout = model.contract.layout
    found = lives(parts, seed, layout)

    def predict(i: int) -> npt.NDArray[np.float64]:
        seen = windows_of(found[i].daily, found[i].days, layout, i)
        estimates = np.full(len(found[i].daily), np.nan)
        if len(seen):
            estimates[seen.stride] = model.predict(seen.x)[:, 0]
        return estimates

    days = [life.days for life in found]
    return value_report(
        days, predict, costs, machines=machines, years=years, source=f"simulated spindle lives (seed {seed})"
    )


def _finite(value: Json) -> Json:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _replaced_after(estimates: npt.NDArray[np.float64], threshold: float, confirm: int) -> float:
    """Days after which the part is replaced, inf when the estimates never say so."""
    low = np.nan_to_num(estimates, nan=np.inf) <= threshold
    run = 0
    for day, below in enumerate(low):
        run = run + 1 if below else 0
        if run >= confirm:
            return float(day + 1)
    return float("inf")


def _count(
    policy: PolicyName,
    planned: Sequence[float],
    lives: Sequence[float],
    costs: CostTable,
    order: npt.NDArray[np.int64],
    horizon: float,
) -> Outcome:
    failures = replacements = 0
    downtime = used = available = 0.0
    for row in order:
        time = 0.0
        for life in row:
            ends, stop = float(lives[life]), planned[life]
            failed = stop >= ends
            ran = min(ends, stop)
            if time + ran > horizon:
                break
            hours = costs.unplanned_stop_hours if failed else costs.planned_stop_hours
            time += ran + hours / 24
            downtime += hours
            failures += failed
            replacements += not failed
            used += ran
            available += ends
    cost = (
        downtime * costs.downtime_per_hour + (failures + replacements) * costs.part + failures * costs.collateral_damage
    )
    days = len(order) * horizon - downtime / 24
    return Outcome(
        policy, failures, replacements, downtime, cost, days / failures if failures else float("inf"),
        used / available if available else 1.0,
    )  # fmt: skip


def as_text(report: ValueReport, costs: CostTable) -> str:
    """The report for people, assumptions included."""
    rows = [
        f"{'policy':<16}{'failures':>9}{'planned':>9}{'downtime h':>12}{'MTBF days':>11}{'life used':>11}{'cost':>14}"
    ]
    rows += [
        f"{o.policy:<16}{o.failures:>9}{o.replacements:>9}{o.downtime_hours:>12,.0f}{o.mtbf_days:>11,.0f}"
        f"{o.life_used:>11.0%}{o.cost:>14,.0f}"
        for o in report.outcomes
    ]
    rows += [
        "",
        f"downtime avoided  {report.downtime_avoided_hours_per_year:,.0f} h a year",
        f"saved             {report.saved_per_year:,.0f} {costs.currency} a year",
        f"ROI, first year   {report.roi_first_year:.0%}",
        f"payback           {report.payback_years:.2f} years",
        "",
        "Assumptions:",
        *(f"- {line}" for line in report.assumptions),
    ]
    return "\n".join(rows)
