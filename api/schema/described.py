"""Strawberry's field decorators with a description, typed: the decorated function keeps its type for mypy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def described(text: str) -> Callable[[F], F]:
    """A field of an output type, with a description."""
    return cast(Callable[[F], F], strawberry.field(description=text))


def mutation(text: str) -> Callable[[F], F]:
    """A field of Mutation, with a description."""
    return cast(Callable[[F], F], strawberry.mutation(description=text))


def subscription(text: str) -> Callable[[F], F]:
    """A field of Subscription, with a description."""
    return cast(Callable[[F], F], strawberry.subscription(description=text))
