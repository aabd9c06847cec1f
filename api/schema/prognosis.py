"""Prognostics in the schema: the roots of `migrations` with explanations, forecasts, scenarios and RUL models."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.schema import migrations
from twinloom.api.schema.assessments import RulEstimate
from twinloom.api.schema.described import described, mutation
from twinloom.api.schema.mutations import UserError, user_errors
from twinloom.api.schema.scalars import DateTime, Json, Long, ModelHealth
from twinloom.prognostics.estimator import Refused
from twinloom.prognostics.registry import EVERYTHING
from twinloom.runtime import rul_models
from twinloom.runtime.rul_records import Explained
from twinloom.twin import assessments as domain
from twinloom.twin.errors import BadRequest, TwinloomError
from twinloom.twin.ids import TwinId

BUDGET_MS = 100
LONGEST_MS = 8_000


@strawberry.type(description="How many days the estimate moves when a feature is set to its mean in training.")
class RulContribution:
    feature: str
    days: float


@strawberry.type(description="Where an estimate came from, and the same estimate computed again just now.")
class RulExplanation:
    of: strawberry.Private[Explained]

    @strawberry.field
    def dt_id(self) -> str:
        return str(self.of.record["twin"])

    @strawberry.field
    def seq(self) -> Long:
        return Long(int(self.of.record["seq"]))

    @described("When it was published.")
    def published_at(self) -> DateTime:
        return DateTime(int(self.of.record["published_ns"]))

    @strawberry.field
    def source_time(self) -> DateTime | None:
        return DateTime(self.of.window.source_time_ns) if self.of.window.source_time_ns else None

    @described("True when every bit of what the model gave is the same.")
    def exact(self) -> bool:
        return self.of.explanation.exact

    @described("What is not the same; empty when all is.")
    def difference(self) -> str:
        return self.of.explanation.difference

    @strawberry.field
    def method(self) -> str:
        return str(self.of.record["method"])

    @described("Digest of the model file, or the name of the rule.")
    def model_version(self) -> str:
        return str(self.of.record["model"])

    @strawberry.field
    def model_health(self) -> ModelHealth:
        return ModelHealth(str(self.of.record["model_health"]))

    @strawberry.field
    def reason(self) -> str:
        return str(self.of.record["reason"])

    @described("As published, days.")
    def rul_days(self) -> float:
        return float(self.of.record["rul_days"])

    @strawberry.field
    def low(self) -> float:
        return float(self.of.record["low"])

    @strawberry.field
    def high(self) -> float:
        return float(self.of.record["high"])

    @described("What the model gave before any online recalibration: estimate, low, high, days.")
    def model_gave(self) -> list[float]:
        return [float(value) for value in self.of.record["model_gave"]]

    @described("The same, computed again; null when the model refuses now.")
    def recomputed(self) -> list[float] | None:
        answer = self.of.explanation.estimate
        return None if isinstance(answer, Refused) else [answer.rul_days, answer.low, answer.high]

    @described("How far the model's inputs were from training then, in deviations.")
    def drift_score(self) -> float:
        return float(self.of.record["drift_score"])

    @strawberry.field
    def quality_share(self) -> float:
        return self.of.window.quality_share

    @described("SHA-256 (12 digits) of all that the model saw.")
    def window_digest(self) -> str:
        return self.of.explanation.window_digest

    @described("The rows that the model saw, oldest first: feature by feature, null where there was nothing.")
    def window(self) -> Json:
        names = [feature.name for feature in self.of.window.layout.features]
        rows = self.of.window.features.tolist()
        return Json({name: [_number(row[i]) for row in rows] for i, name in enumerate(names)})

    @described("Largest first; empty for estimates that no trained model gave.")
    def contributions(self) -> list[RulContribution]:
        return [RulContribution(feature=name, days=days) for name, days in self.of.explanation.contributions]


@strawberry.type(description="An estimate that was made to answer a question; the twin's own is untouched.")
class RulAnswer:
    of: strawberry.Private[domain.RulEstimate]

    @described("The estimate; its seq is 0.")
    def estimate(self) -> RulEstimate:
        return RulEstimate(of=self.of, at_seq=0)

    @described("Which level gave it: onnx, physics, ode, fmu, or the rule.")
    def fidelity(self) -> str:
        return str(self.of.details.get("fidelity", self.of.method))


@strawberry.type
class FidelityLevel:
    name: str
    p95_ms: float = strawberry.field(description="Measured for one component; a guess before the first run.")


@strawberry.type(description="The most faithful estimates that fit the budget.")
class RulForecast:
    estimates: list[RulAnswer]
    whole: RulEstimate | None = strawberry.field(description="Their roll-up, when the twin contains components.")
    budget_ms: int
    took_ms: float
    levels: list[FidelityLevel] = strawberry.field(description="Lightest first.")


@strawberry.type
class ScenarioComponent:
    dt_id: str
    now: RulEstimate
    then: RulEstimate
    gain_days: float


@strawberry.type(description="What would be; nothing of it is kept.")
class ScenarioResult:
    components: list[ScenarioComponent]
    now: RulEstimate | None = strawberry.field(description="The roll-up as things are, for a twin with components.")
    then: RulEstimate | None
    gain_days: float


@strawberry.type(description="One loaded RUL model.")
class RulModel:
    of: strawberry.Private[rul_models.RulModel]

    @described("12 hex digits of SHA-256 of the file.")
    def digest(self) -> str:
        return self.of.digest

    @strawberry.field
    def file(self) -> str:
        return self.of.file

    @described("What it scores: twin ids, DTDL types, * for everything.")
    def active(self) -> list[str]:
        return list(self.of.active)

    @described("What it scores for comparison only.")
    def shadows(self) -> list[str]:
        return list(self.of.shadows)

    @strawberry.field
    def health(self) -> ModelHealth:
        return self.of.health

    @strawberry.field
    def reason(self) -> str:
        return self.of.reason

    @described("Confirmed failures that it has learned from.")
    def lives(self) -> int:
        return self.of.lives

    @described("Share of those inside the 90 % interval; null before the first.")
    def coverage(self) -> float | None:
        return _number(self.of.coverage)

    @described("Windows that it scored in the shadow.")
    def shadow_windows(self) -> int:
        return self.of.figures.windows if self.of.figures else 0

    @described("Mean of its estimates less those of the model in force, days.")
    def shadow_difference(self) -> float:
        return self.of.figures.mean_difference if self.of.figures else 0.0

    @described("The contract in its file.")
    def contract(self) -> Json:
        import json

        return Json(json.loads(self.of.model.contract.dump()))


@strawberry.type
class RulModelPayload:
    model: RulModel | None
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.input
class ScenarioInput:
    load_factor: float = strawberry.field(default=1.0, description="0.8: a fifth less load from now on. 0.1 to 3.")
    new_part: bool = strawberry.field(default=False, description="The component is replaced by a new one today.")
    swap_with: str | None = strawberry.field(default=None, description="The component that takes its place.")


@strawberry.input
class LoadRulModelInput:
    file: str = strawberry.field(description="A .onnx file in the folder that the setting `models` names.")
    shadow: str | None = strawberry.field(
        default=None, description="Also score this twin, DTDL type or * with it, for comparison only."
    )
    client_mutation_id: str | None = None


@strawberry.input
class SwapRulModelInput:
    digest: str
    target: str = strawberry.field(default=EVERYTHING, description="A twin id, a DTDL type, or * for everything.")
    client_mutation_id: str | None = None


@strawberry.input
class RollbackRulModelInput:
    target: str = EVERYTHING
    client_mutation_id: str | None = None


@strawberry.type(name="Query")
class Query(migrations.Query):
    @described("Where an estimate came from, computed again bit for bit from what was kept. `seq`: the latest if null.")
    async def explain_rul(self, info: Info, twin: str, seq: Long | None = None) -> RulExplanation:
        context: Context = info.context
        id = _existing(context, twin)
        return RulExplanation(of=await context.service.prognosis.explain(id, seq))

    @described("The most faithful estimate of each component at or below a twin that fits into `budgetMs`.")
    async def rul_forecast(self, info: Info, twin: str, budget_ms: int = BUDGET_MS) -> RulForecast:
        context: Context = info.context
        if not 1 <= budget_ms <= LONGEST_MS:
            raise BadRequest(f"budgetMs: {budget_ms} is out of range", remedy=f"give 1 to {LONGEST_MS}")
        id = _existing(context, twin)
        prognosis = context.service.prognosis
        found = await prognosis.forecast(id, budget_ms / 1000)
        whole = prognosis.rollups.combine(id, found.estimates)
        return RulForecast(
            estimates=[RulAnswer(of=estimate) for estimate in found.estimates],
            whole=None if whole is None else RulEstimate(of=whole, at_seq=0),
            budget_ms=budget_ms,
            took_ms=1000 * found.took_s,
            levels=[FidelityLevel(name=name, p95_ms=1000 * p95) for name, p95 in found.p95_s],
        )

    @described("What if: scores the components at or below a twin under an overlay. Reality is not touched.")
    async def scenario(self, info: Info, twin: str, input: ScenarioInput) -> ScenarioResult:
        context: Context = info.context
        swap = None if input.swap_with is None else _existing(context, input.swap_with)
        answers, now, then = await context.service.prognosis.scenario(
            _existing(context, twin), load_factor=input.load_factor, new_part=input.new_part, swap=swap
        )
        whole = then.rul_days - now.rul_days if now and then else answers[0].gain_days
        return ScenarioResult(
            components=[
                ScenarioComponent(
                    dt_id=answer.now.twin,
                    now=RulEstimate(of=answer.now, at_seq=0),
                    then=RulEstimate(of=answer.then, at_seq=0),
                    gain_days=answer.gain_days,
                )
                for answer in answers
            ],
            now=RulEstimate(of=now, at_seq=0) if now else None,
            then=RulEstimate(of=then, at_seq=0) if then else None,
            gain_days=whole,
        )

    @described("The loaded RUL models, those in force first.")
    def rul_models(self, info: Info) -> list[RulModel]:
        return [RulModel(of=model) for model in info.context.service.prognosis.models.loaded()]


@strawberry.type(name="Mutation")
class Mutation(migrations.Mutation):
    @mutation("Loads a model beside the others, fully checked; it scores nothing until it is swapped in.")
    async def load_rul_model(self, info: Info, input: LoadRulModelInput) -> RulModelPayload:
        async def load(models: rul_models.RulModels, principal: str) -> rul_models.RulModel:
            found = await models.load(input.file, principal)
            return found if input.shadow is None else await models.shadow(found.digest, input.shadow, principal)

        return await _changed(info.context, load, input.client_mutation_id)

    @mutation("Puts a loaded model in force, by its digest; a scoring run that goes on ends with the model before.")
    async def swap_rul_model(self, info: Info, input: SwapRulModelInput) -> RulModelPayload:
        return await _changed(
            info.context,
            lambda models, principal: models.swap(input.digest, input.target, principal),
            input.client_mutation_id,
        )

    @mutation("Puts the model before in force again.")
    async def rollback_rul_model(self, info: Info, input: RollbackRulModelInput) -> RulModelPayload:
        return await _changed(
            info.context, lambda models, principal: models.roll_back(input.target, principal), input.client_mutation_id
        )


async def _changed(
    context: Context,
    change: Callable[[rul_models.RulModels, str], Awaitable[rul_models.RulModel]],
    key: str | None,
) -> RulModelPayload:
    context.principal.require("write")
    try:
        model = await change(context.service.prognosis.models, context.principal.name)
    except TwinloomError as error:
        return RulModelPayload(model=None, user_errors=user_errors(error), client_mutation_id=key)
    return RulModelPayload(model=RulModel(of=model), user_errors=[], client_mutation_id=key)


def _existing(context: Context, identity: str) -> TwinId:
    """The id of a twin that exists. Raises NotFound."""
    return context.hot.id_of(context.row_of(identity))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
