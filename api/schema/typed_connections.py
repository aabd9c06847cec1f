"""Connection types made with graphql-core itself, for the typed layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphql import GraphQLField, GraphQLInt, GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLString

from twinloom.api.schema.connections import Edge, PageInfo


def connection_types(name: str, node_type: Callable[[], Any], page_info: Any) -> GraphQLObjectType:
    """A connection type and, inside it, its edge type. Its values are the generic layer's `Connection`s."""
    edge = GraphQLObjectType(
        name.removesuffix("Connection") + "Edge",
        lambda: {
            "cursor": GraphQLField(
                GraphQLNonNull(GraphQLString), resolve=lambda edge, info: edge.page.cursor(edge.key)
            ),
            "node": GraphQLField(GraphQLNonNull(node_type()), resolve=lambda edge, info: edge.page.node(edge.key)),
        },
    )
    return GraphQLObjectType(
        name,
        lambda: {
            "edges": GraphQLField(_list_of(edge), resolve=_edges),
            "nodes": GraphQLField(_list_of(node_type()), resolve=_nodes),
            "pageInfo": GraphQLField(GraphQLNonNull(page_info), resolve=_page_info),
            "totalCount": GraphQLField(
                GraphQLNonNull(GraphQLInt), resolve=lambda connection, info: connection.page.total()
            ),
        },
        extensions={"connection": True},
    )


def _list_of(type_: Any) -> Any:
    return GraphQLNonNull(GraphQLList(GraphQLNonNull(type_)))


def _edges(connection: Any, info: Any) -> list[Any]:
    page = connection.page
    return [Edge(page=page, key=key) for key in page.keys]


def _nodes(connection: Any, info: Any) -> list[Any]:
    page = connection.page
    return [page.node(key) for key in page.keys]


def _page_info(connection: Any, info: Any) -> PageInfo:
    page = connection.page
    return PageInfo(
        has_next_page=page.has_next,
        has_previous_page=page.has_previous,
        start_cursor=page.cursor(page.keys[0]) if page.keys else None,
        end_cursor=page.cursor(page.keys[-1]) if page.keys else None,
    )
