"""Orders: each is checked against the models, made durable, applied and published before its outcome is returned.

Checks run inside the single writer, against the state that the order will meet, so there is no gap between a check and
its commit. The same key by the same principal is executed once: its outcome is a record of the same transaction.
Writes that an actuator reaches leave for the machine first and become the twin's value once the echo was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b

import msgspec

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import (
    Change,
    DropModel,
    DropRecord,
    DropRelationship,
    DropTwin,
    PutModels,
    PutRecord,
    PutRelationship,
    PutTwin,
    etag_of,
)
from twinloom.runtime.actuation import Actuation
from twinloom.runtime.alerts import AlertBook
from twinloom.runtime.commits import Commits, Numbers, Prepare, Prepared, one
from twinloom.runtime.estimates import EstimateBook
from twinloom.runtime.idempotency import Outcomes
from twinloom.runtime.limits import Limits
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.patches import field_writes, with_value
from twinloom.runtime.records import DECOMMISSIONED, ESTIMATE, FAILURE
from twinloom.runtime.work_orders import WorkOrderBook
from twinloom.twin import dtdl
from twinloom.twin.commands import (
    AcknowledgeAlert,
    AnyOrder,
    CloseWorkOrder,
    CreateRelationship,
    CreateTwin,
    DeleteModel,
    DeleteRelationship,
    DeleteTwin,
    InvokeCommand,
    UpdateTwin,
    UploadModels,
)
from twinloom.twin.dtdl import ComponentType, Models, RelationshipType
from twinloom.twin.errors import BadRequest, Conflict, LimitExceeded, ModelViolation, NotFound
from twinloom.twin.ids import ModelId, TwinId, model_id, twin_id
from twinloom.twin.instance import Json, Relationship, Twin
from twinloom.twin.signals import (
    ModelsChanged,
    RelationshipCreated,
    RelationshipDeleted,
    TwinCreated,
    TwinDeleted,
    TwinUpdated,
)


class Orders:
    """`execute` carries out every order of `twin.commands`."""

    def __init__(
        self,
        hot: HotGraph,
        commits: Commits,
        alerts: AlertBook,
        work_orders: WorkOrderBook,
        estimates: EstimateBook,
        actuation: Actuation,
        limits: Limits,
    ) -> None:
        self._hot = hot
        self._commits = commits
        self._alerts = alerts
        self._work_orders = work_orders
        self._estimates = estimates
        self._actuation = actuation
        self._limits = limits
        self._outcomes = Outcomes(limits.outcomes)
        self._decommissioned: set[ModelId] = set()

    def load(self, outcomes: Iterable[tuple[str, Json]], decommissioned: Iterable[str]) -> None:
        """Takes over what an earlier process made durable."""
        self._outcomes.load(outcomes)
        self._decommissioned = {ModelId(id) for id in decommissioned}

    @property
    def decommissioned(self) -> frozenset[ModelId]:
        """Models that take no new twins."""
        return frozenset(self._decommissioned)

    async def execute(self, order: AnyOrder) -> Outcome:
        """Carries out an order; it is durable, applied and published when this returns.

        Raises NotFound, Conflict, ModelViolation, BadRequest, LimitExceeded, CommandFailed, and StoreUnavailable when
        the store is away (then the order may still have been made durable: send it again with the same key).
        """
        if isinstance(order, InvokeCommand) or (isinstance(order, UpdateTwin) and self._actuation.concerns(order)):
            return await self._through_the_machine(order)
        prepare, touches, signals = self._plan(order)
        if order.key:
            key, digest = _key_of(order), _digest(order)
            return await self._commits.submit(
                _cause(order), _also(touches, f"key:{key}"), partial(self._once, key, digest, prepare), signals=signals
            )
        return await self._commits.submit(_cause(order), touches, prepare, signals=signals)

    # what each order needs: how to prepare it, what it touches, how many signals it gives

    def _plan(self, order: AnyOrder) -> tuple[Prepare, frozenset[str] | None, Callable[[], int]]:
        match order:
            case CreateTwin():
                return partial(self._create_twin, order), _twins(order.id), one
            case UpdateTwin():
                return partial(self._update_twin, order), _twins(order.id), one
            case DeleteTwin():
                return partial(self._delete_twin, order), None, lambda: 1 + len(self._attached(order.id))
            case CreateRelationship():
                return partial(self._create_relationship, order), _twins(order.source, order.target), one
            case DeleteRelationship():
                return partial(self._delete_relationship, order), _twins(order.source), one
            case UploadModels():
                return partial(self._upload_models, order), None, one
            case DeleteModel():
                return partial(self._delete_model, order), None, one
            case AcknowledgeAlert():
                alert = self._alerts.get(order.alert)
                touches = frozenset((f"rule:{alert.rule}:{alert.twin}",)) if alert else frozenset[str]()
                return partial(self._alerts.acknowledge, order.alert, order.principal), touches, one
            case CloseWorkOrder():
                found = self._work_orders.get(order.order)
                touches = frozenset((f"rule:{found.rule}:{found.twin}",)) if found else frozenset[str]()
                cause = order.principal + (" (failure confirmed)" if order.failure_confirmed else "")
                return partial(self._close_work_order, order, cause), touches, one
        raise BadRequest(f"{type(order).__name__} is no order")

    def _once(self, key: str, digest: str, prepare: Prepare, numbers: Numbers, now_ns: int) -> Prepared:
        before = self._outcomes.find(key, digest)
        if before is not None:
            return Prepared(before)
        return self._outcomes.remember(key, digest, prepare(numbers, now_ns))

    def _close_work_order(self, order: CloseWorkOrder, cause: str, numbers: Numbers, now_ns: int) -> Prepared:
        """A confirmed failure is a label for the prognostics: kept in the transaction that closes the order."""
        prepared = self._work_orders.close(order.order, cause, numbers, now_ns)
        found = self._work_orders.get(order.order)
        if not order.failure_confirmed or not prepared.signals or found is None:
            return prepared
        label = {"twin": found.twin, "opened_ns": found.opened_ns, "closed_ns": now_ns, "learned": False}
        return replace(prepared, changes=(*prepared.changes, PutRecord(FAILURE, order.order, label)))

    # twins

    def _create_twin(self, order: CreateTwin, numbers: Numbers, now_ns: int) -> Prepared:
        id = twin_id(order.id)
        model = self._known_model(order.model)
        if model in self._decommissioned:
            raise Conflict(f"the model {model} is decommissioned", remedy="create the twin with a newer version of it")
        if id in self._hot:
            raise Conflict(f"the twin {id!r} exists already", remedy="choose another id, or update that twin")
        self._limits.check_twin(order.properties)
        self._hot.models.check_twin(model, order.properties)
        twin = Twin(id, model, order.properties)
        seq = numbers.take()
        signal = TwinCreated(seq=seq, time_ns=now_ns, cause=order.principal, twin=id, model=model)
        outcome = Outcome(seq=seq, twin=id, etag=etag_of(numbers.commit))
        return Prepared(outcome, (PutTwin(twin, create=True),), (signal,))

    def _update_twin(self, order: UpdateTwin, numbers: Numbers, now_ns: int) -> Prepared:
        twin, paths = self.patched(order)
        seq = numbers.take()
        signal = TwinUpdated(seq=seq, time_ns=now_ns, cause=order.principal, twin=order.id, paths=paths)
        outcome = Outcome(seq=seq, twin=order.id, etag=etag_of(numbers.commit))
        change = PutTwin(twin, expected_etag=self._current_etag(order.id, order.expected_etag), paths=paths)
        return Prepared(outcome, (change,), (signal,))

    def patched(self, order: UpdateTwin) -> tuple[Twin, tuple[str, ...]]:
        """The twin after the order and the paths that it wrote. Raises ModelViolation for what the model forbids."""
        before = self._hot.twin(order.id)
        if before is None:
            raise NotFound(f"there is no twin {order.id!r}", remedy="check the id, or create the twin first")
        patch = {**order.set, **dict.fromkeys(order.unset)}
        if not patch:
            raise BadRequest("the update sets nothing", remedy="give at least one property")
        models = self._hot.models
        properties: Mapping[str, Json] = before.properties
        paths: list[str] = []
        for path, value in field_writes(models, before.model, before.properties, patch):
            if value is None:
                _check_removal(models, before.model, path)
            else:
                models.check_value(before.model, path, value, by_client=True)
            properties = with_value(properties, path, value)
            paths.append(path)
        self._limits.check_twin(properties)
        return replace(before, properties=properties), tuple(paths)

    def _delete_twin(self, order: DeleteTwin, numbers: Numbers, now_ns: int) -> Prepared:
        row = self._row(order.id)
        attached = self._attached(order.id)
        if attached and not order.detach:
            raise Conflict(
                f"the twin {order.id!r} has {len(attached)} relationships",
                remedy="delete them first, or delete the twin with `detach`",
            )
        model = self._hot.model_of(row)
        signals = [
            RelationshipDeleted(seq=numbers.take(), time_ns=now_ns, cause=order.principal, relationship=relationship)
            for relationship in attached
        ]
        seq = numbers.take()
        gone = TwinDeleted(seq=seq, time_ns=now_ns, cause=order.principal, twin=order.id, model=model)
        changes: list[Change] = [
            DropTwin(order.id, self._current_etag(order.id, order.expected_etag), detach=order.detach)
        ]
        if self._estimates.latest(order.id) is not None:
            changes.append(DropRecord(ESTIMATE, order.id))
        outcome = Outcome(seq=seq, twin=order.id)
        return Prepared(outcome, tuple(changes), (*signals, gone), lambda: self._estimates.forget(order.id))

    # relationships

    def _create_relationship(self, order: CreateRelationship, numbers: Numbers, now_ns: int) -> Prepared:
        source, target = self._row(order.source), self._row(order.target)
        id = order.id or f"{order.name}:{order.target}"
        if len(id) > 600:
            raise BadRequest("the relationship id is longer than 600 characters", remedy="choose a shorter one")
        if self._hot.relationship(order.source, id) is not None:
            raise Conflict(f"{order.source!r} has a relationship {id!r} already", remedy="choose another id")
        existing = len(self._hot.out(source, order.name))
        self._hot.models.check_relationship(
            self._hot.model_of(source), order.name, self._hot.model_of(target), order.properties, existing
        )
        self._limits.check_degree(order.source, existing)
        self._limits.check_twin(order.properties)
        seq = numbers.take()
        etag = etag_of(numbers.commit)
        edge = Relationship(id, order.source, order.name, order.target, order.properties, etag, numbers.commit)
        signal = RelationshipCreated(seq=seq, time_ns=now_ns, cause=order.principal, relationship=edge)
        outcome = Outcome(seq=seq, twin=order.source, relationship=id, etag=etag)
        return Prepared(outcome, (PutRelationship(edge, create=True),), (signal,))

    def _delete_relationship(self, order: DeleteRelationship, numbers: Numbers, now_ns: int) -> Prepared:
        self._row(order.source)
        edge = self._hot.relationship(order.source, order.id)
        if edge is None:
            raise NotFound(f"{order.source!r} has no relationship {order.id!r}", remedy="list its relationships")
        if order.expected_etag and order.expected_etag != edge.etag:
            raise _stale_etag(f"the relationship {order.id!r}")
        seq = numbers.take()
        signal = RelationshipDeleted(seq=seq, time_ns=now_ns, cause=order.principal, relationship=edge)
        change = DropRelationship(order.source, order.id, edge.etag)
        return Prepared(Outcome(seq=seq, twin=order.source, relationship=order.id), (change,), (signal,))

    # models

    def _upload_models(self, order: UploadModels, numbers: Numbers, now_ns: int) -> Prepared:
        self._limits.check_models(order.documents)
        before = self._hot.models
        for uploaded in order.documents:
            id = uploaded.get("@id") if isinstance(uploaded, Mapping) else None
            if isinstance(id, str) and id in before:
                raise Conflict(f"the model {id} exists already", remedy="give the changed model a new version")
        after = dtdl.parse(order.documents, base=before)
        ids = tuple(id for id in after if id not in before)
        if not ids:
            raise BadRequest("the upload has no model", remedy="give at least one DTDL interface")
        seq = numbers.take()
        documents = tuple(after.interface(id).document for id in ids)
        signal = ModelsChanged(seq=seq, time_ns=now_ns, cause=order.principal, uploaded=ids)
        return Prepared(Outcome(seq=seq, models=ids), (PutModels(documents, ids),), (signal,))

    def _delete_model(self, order: DeleteModel, numbers: Numbers, now_ns: int) -> Prepared:
        id = self._known_model(order.id)
        if order.decommission:
            if id in self._decommissioned:
                return Prepared(Outcome(seq=self._hot.seq, models=(id,)))
            seq = numbers.take()
            signal = ModelsChanged(seq=seq, time_ns=now_ns, cause=order.principal)
            change: Change = PutRecord(DECOMMISSIONED, id, {"since_ns": now_ns})
            outcome = Outcome(seq=seq, models=(id,))
            return Prepared(outcome, (change,), (signal,), lambda: self._decommissioned.add(id))
        self._refuse_while_used(id)
        seq = numbers.take()
        signal = ModelsChanged(seq=seq, time_ns=now_ns, cause=order.principal, deleted=(id,))
        changes: tuple[Change, ...] = (DropModel(id), DropRecord(DECOMMISSIONED, id))
        outcome = Outcome(seq=seq, models=(id,))
        return Prepared(outcome, changes, (signal,), lambda: self._decommissioned.discard(id))

    def _refuse_while_used(self, id: ModelId) -> None:
        twins = len(self._hot.rows_of(id, subtypes=False))
        if twins:
            raise Conflict(
                f"{twins} twins are of the model {id}", remedy="delete them first, or decommission the model instead"
            )
        for other in self._hot.models.interfaces.values():
            used = id in other.extends or any(
                (isinstance(c, ComponentType) and c.model == id) or (isinstance(c, RelationshipType) and c.target == id)
                for c in other.contents.values()
            )
            if used and other.id != id:
                raise Conflict(f"the model {other.id} refers to {id}", remedy="delete that model first")

    # machines

    async def _through_the_machine(self, order: UpdateTwin | InvokeCommand) -> Outcome:
        """Requested and authorised become durable, then the order leaves; its end and the value become durable."""
        if isinstance(order, InvokeCommand):
            model = self._hot.model_of(self._row(order.twin))
            self._hot.models.check_command(model, order.name, order.payload)
            finish: Prepare | None = None
        else:
            self.patched(order)  # refused before anything leaves for the machine
            self._current_etag(order.id, order.expected_etag)
            finish = partial(self._update_twin, replace(order, expected_etag=""))
        key = _key_of(order) if order.key else ""
        if key:
            before = self._outcomes.find(key, _digest(order))
            if before is not None:
                return before
        return await self._actuation.carry_out(
            order,
            key,
            finish,
            lambda prepared: self._outcomes.remember(key, _digest(order), prepared) if key else prepared,
        )

    # looking things up

    def _row(self, id: TwinId) -> int:
        row = self._hot.row(id)
        if row is None:
            raise NotFound(f"there is no twin {id!r}", remedy="check the id, or create the twin first")
        return row

    def _known_model(self, id: str) -> ModelId:
        model = model_id(id)
        self._hot.models.interface(model)
        return model

    def _attached(self, id: TwinId) -> list[Relationship]:
        row = self._hot.row(id)
        if row is None:
            return []
        edges = {(e.source, e.id): e for e in (*self._hot.out(row), *self._hot.into(row))}
        return [edge.relationship() for edge in edges.values()]

    def _current_etag(self, id: TwinId, expected: str) -> str:
        """The twin's etag, given to the store as well, so that nobody else's write there is overwritten unseen."""
        etag = self._hot.etag(self._row(id))
        if expected and expected != etag:
            raise _stale_etag(f"the twin {id!r}")
        return etag


def _stale_etag(what: str) -> Conflict:
    return Conflict(f"{what} was changed meanwhile", remedy="read it again and repeat the order with its etag")


def _check_removal(models: Models, model: ModelId, path: str) -> None:
    found = models.fields(model).get(path)
    if found is None:
        models.check_value(model, path, None, by_client=True)  # raises, with the names that there are
    elif not found.writable:
        kind = "Telemetry: only the machine tells it" if found.kind == "telemetry" else "not writable"
        pointer = "/" + path.replace(".", "/")
        raise ModelViolation(f"{path} of {model} is {kind}", path=pointer, remedy="remove only writable properties")


def _twins(*ids: TwinId) -> frozenset[str]:
    return frozenset(f"twin:{id}" for id in ids)


def _also(touches: frozenset[str] | None, name: str) -> frozenset[str] | None:
    return None if touches is None else touches | {name}


def _cause(order: AnyOrder) -> str:
    return f"{type(order).__name__} by {order.principal}"


def _key_of(order: AnyOrder) -> str:
    if len(order.key) > 256:
        raise LimitExceeded("the key is longer than 256 characters", remedy="use a UUID")
    return msgspec.json.encode([order.principal, order.key]).decode()


def _digest(order: AnyOrder) -> str:
    content = msgspec.json.encode([type(order).__name__, msgspec.to_builtins(replace(order, key=""))], order="sorted")
    return blake2b(content, digest_size=16).hexdigest()
