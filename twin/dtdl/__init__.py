"""The Digital Twins Definition Language, versions 2, 3 and 4: read, checked and enforced. Pure: no I/O, no network.

`parse(documents) -> Models` or DtdlError with every defect; `Models` answers what a model is and has, and its `check_*`
enforce it on writes.
"""

from __future__ import annotations

from twinloom.twin.dtdl.check import Violation
from twinloom.twin.dtdl.contents import (
    CommandType,
    ComponentType,
    Content,
    Field,
    Interface,
    Payload,
    Property,
    RelationshipType,
    Telemetry,
)
from twinloom.twin.dtdl.defects import Defect, DtdlError
from twinloom.twin.dtdl.documents import Document
from twinloom.twin.dtdl.models import EMPTY, Models
from twinloom.twin.dtdl.parsing import parse
from twinloom.twin.dtdl.schemas import GEOSPATIAL, NUMERIC, Array, Enum, Map, Object, ObjectField, Primitive, Schema

__all__ = [
    "EMPTY",
    "GEOSPATIAL",
    "NUMERIC",
    "Array",
    "CommandType",
    "ComponentType",
    "Content",
    "Defect",
    "Document",
    "DtdlError",
    "Enum",
    "Field",
    "Interface",
    "Map",
    "Models",
    "Object",
    "ObjectField",
    "Payload",
    "Primitive",
    "Property",
    "RelationshipType",
    "Schema",
    "Telemetry",
    "Violation",
    "parse",
]
