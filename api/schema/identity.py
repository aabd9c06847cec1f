"""Global ids (Relay `Node`): opaque to clients, base64url of kind and key. Twin arguments take these or the twin id."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from difflib import get_close_matches

from twinloom.twin.errors import BadRequest


def global_id(kind: str, key: str) -> str:
    """The opaque id of a node.

    >>> key_of(global_id("Twin", "a/b"))
    ('Twin', 'a/b')
    """
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def key_of(identity: str) -> tuple[str, str]:
    """Kind and key of a global id. Raises BadRequest when it is none."""
    try:
        text = base64.urlsafe_b64decode(identity + "=" * (-len(identity) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    kind, colon, key = text.partition(":")
    if not colon or global_id(kind, key) != identity:
        raise BadRequest(f"{identity[:80]!r} is not an id of this API", remedy="use the `id` of a node that was read")
    return kind, key


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean ...`, or the empty string when nothing known is near.

    >>> suggestion("temprature", ["temperature", "speed"])
    'did you mean temperature?'
    """
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""
