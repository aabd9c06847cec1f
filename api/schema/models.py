"""Models: DTDL interfaces as the API shows them."""

from __future__ import annotations

import strawberry

from twinloom.api.context import Info
from twinloom.api.schema.connections import Connection
from twinloom.api.schema.described import described
from twinloom.api.schema.identity import global_id
from twinloom.api.schema.scalars import Json
from twinloom.runtime import registry
from twinloom.twin.dtdl import Models
from twinloom.twin.dtdl.contents import Interface
from twinloom.twin.dtdl.schemas import Array, Enum, Map, Object, Primitive
from twinloom.twin.ids import ModelId


@strawberry.interface(description="Anything with an opaque, global id (Relay).")
class Node:
    @described("Opaque and global.")
    def id(self) -> strawberry.ID:
        raise NotImplementedError


@strawberry.type(description="One Property or Telemetry of a model, components flattened into dotted paths.")
class ModelField:
    path: str
    kind: str = strawberry.field(description="`property` or `telemetry`.")
    schema: str = strawberry.field(description="The DTDL schema: `double`, `string`, `enum`, ...")
    unit: str = strawberry.field(description="The unit's DTDL name or symbol; empty when the model names none.")
    writable: bool


@strawberry.type(description="An edge of the dependency graph of models.")
class ModelDependency:
    kind: str = strawberry.field(description="`extends`, `component`, or `target` of a relationship.")
    name: str = strawberry.field(description="The component or relationship; empty for `extends`.")
    model_id: str
    model: Model | None = strawberry.field(description="Null when it is a target that is not registered.")


@strawberry.type(description="A DTDL interface.")
class Model(Node):
    interface: strawberry.Private[Interface]

    @described("Opaque and global.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(global_id("Model", self.interface.id))

    @described("The DTMI.")
    def model_id(self) -> str:
        return self.interface.id

    @strawberry.field
    def display_name(self) -> str:
        return _text(self.interface.display_name) or self.interface.id

    @strawberry.field
    def description(self) -> str:
        return _text(self.interface.description)

    @described("The DTDL version: 2, 3 or 4.")
    def version(self) -> int:
        return self.interface.version

    @described("The document as it was uploaded.")
    def document(self) -> Json:
        return Json(self.interface.document)

    @described("The interfaces that this one extends directly.")
    def extends(self, info: Info) -> list[Model]:
        models = info.context.hot.models
        return [Model(interface=models.interface(base)) for base in self.interface.extends]

    @described("True when the model stays but takes no new twins.")
    def decommissioned(self, info: Info) -> bool:
        return bool(info.context.decommissioned(self.interface.id))

    @described("What the model itself declares to need: bases, components, targets of relationships.")
    def dependencies(self, info: Info) -> list[ModelDependency]:
        models = info.context.hot.models
        return [_dependency(models, found, found.needs) for found in registry.dependencies(models, self.interface.id)]

    @described("The models that declare to need this one.")
    def dependents(self, info: Info) -> list[ModelDependency]:
        models = info.context.hot.models
        return [_dependency(models, found, found.model) for found in registry.dependents(models, self.interface.id)]

    @described("How many twins are of exactly this model; it cannot be deleted while there are any.")
    def twin_count(self, info: Info) -> int:
        return len(info.context.hot.rows_of(self.interface.id, subtypes=False))

    @described("Every Property and Telemetry, inherited ones included.")
    def fields(self, info: Info) -> list[ModelField]:
        return [
            ModelField(
                path=field.path,
                kind=field.kind,
                schema=schema_name(field.schema),
                unit=field.unit or "",
                writable=field.writable,
            )
            for field in info.context.hot.models.fields(self.interface.id).values()
        ]


def _dependency(models: Models, found: registry.Dependency, other: ModelId) -> ModelDependency:
    interface = models.get(other)
    return ModelDependency(
        kind=found.kind,
        name=found.name,
        model_id=other,
        model=None if interface is None else Model(interface=interface),
    )


ModelConnection = Connection[Model]


def _text(value: object) -> str:
    """A display text: plain, or the English (else the first) of a language map."""
    if isinstance(value, dict):
        return str(value.get("en") or next(iter(value.values()), ""))
    return str(value) if value else ""


def schema_name(schema: object) -> str:
    """The DTDL name of a schema: `double`, or the kind of a complex one.

    >>> schema_name(Primitive("double"))
    'double'
    """
    if isinstance(schema, Primitive):
        return schema.name
    for kind, name in ((Enum, "enum"), (Array, "array"), (Map, "map"), (Object, "object")):
        if isinstance(schema, kind):
            return name
    return type(schema).__name__.lower()
