"""The reference page of the schema, generated: `python -m twinloom.api.schema.reference > docs/reference.md`.

Only the generic layer is described; the typed one is a plant's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
)

from twinloom.api.schema import build

HEAD = """# The GraphQL schema

Generated from the schema (`twinloom.api.schema.reference`); do not edit. These are the types of the generic layer,
which are always there. Every registered DTDL model adds its own (`spindle`, `spindles`, ...): `twinloom schema`.
"""


def page(schema: GraphQLSchema) -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *_sections(schema)]) + "\n"


def _sections(schema: GraphQLSchema) -> Iterator[str]:
    roots = [schema.query_type, schema.mutation_type, schema.subscription_type]
    types = sorted((one for one in schema.type_map.values() if not one.name.startswith("__")), key=lambda one: one.name)
    builtin = {"Boolean", "Float", "ID", "Int", "String"}
    for root in roots:
        if root is not None:
            yield from _fields(root)
    for title, kind in (
        ("Objects", (GraphQLObjectType, GraphQLInterfaceType)),
        ("Inputs", (GraphQLInputObjectType,)),
        ("Enums", (GraphQLEnumType,)),
        ("Scalars", (GraphQLScalarType,)),
    ):
        yield f"# {title}\n"
        for one in types:
            if one in roots or one.name in builtin or not isinstance(one, kind):
                continue
            if isinstance(one, GraphQLEnumType):
                yield f"**{one.name}**: {', '.join(f'`{name}`' for name in one.values)}. {one.description or ''}\n"
            elif isinstance(one, GraphQLScalarType):
                yield f"**{one.name}**: {one.description or ''}\n"
            else:
                yield from _fields(one)


def _fields(one: Any) -> Iterator[str]:
    yield f"## {one.name}\n"
    if one.description:
        yield f"{_line(one.description)}\n"
    yield "| field | type | |\n|---|---|---|"
    for name, field in one.fields.items():
        arguments = getattr(field, "args", {})
        shown = f"`{name}`"
        if arguments:
            shown += "<br>" + "<br>".join(f"&nbsp;`{key}: {value.type}`" for key, value in arguments.items())
        yield f"| {shown} | `{field.type}` | {_line(field.description or '')} |"
    yield ""


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(build.base_schema()), end="")
