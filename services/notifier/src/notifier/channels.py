"""What a client calls a channel, and whether it may have it. A channel has one name, whichever protocol says it."""

from uuid import UUID

from events.accounts import FACTS
from events.errors import Forbidden, InvalidInput, NotFound
from events.identity import Principal
from events.log.log import EventLog
from notifier.form import Channel, is_stream
from notifier.hub import Hub

# What the streams of a category, and the category as a whole (`job:*`), need.
_SCOPES = {
    "job": "jobs:read",
    "upload": "jobs:read",
    "meeting": "meetings:read",
    "transcript": "meetings:read",
    "auction": "auctions:read",
}
_WHOLE_LOG = "events:read"
_CATEGORIES = ", ".join([*_SCOPES, "user", "tenant"])

_NOTHING: frozenset[str] = frozenset()
_FACTS = frozenset(FACTS)


def channel_of(name: str, principal: Principal) -> Channel:
    """Raise `InvalidInput` if it is no channel's name, `Forbidden` if the principal may not follow it."""
    category, _, id_ = name.partition(":")
    if category == "tenant":
        channel = _tenant(id_, principal)
    elif category == "user":
        channel = _user(name, principal)
    elif category in _SCOPES:
        _check_scope(_SCOPES[category], principal)
        channel = principal.tenant, f"{category}:{_checked_id(id_, category)}"
    else:
        raise InvalidInput(f"A channel is <category>:<id>, with one of the categories {_CATEGORIES}.")
    if not principal.may_follow(name):
        raise Forbidden("The ticket is bound to other channels.")
    return channel


def name_of(channel: Channel) -> str:
    tenant, selector = channel
    return f"tenant:{tenant}" if selector is None else selector


def hidden_from(principal: Principal) -> frozenset[str]:
    """Types of events that it is not told in any channel: what the gateway notes of keys and logins is for who operates
    the system."""
    return _NOTHING if "ops" in principal.scopes else _FACTS


async def newest_of(channel: Channel, log: EventLog, hub: Hub) -> int:
    """The place of its newest event: no cursor lies beyond. Raise `NotFound` for a stream that nobody has promised."""
    tenant, stream = channel
    if not is_stream(channel):
        return max(hub.position, (await log.head()).position)
    assert stream is not None
    version = await log.stream_version(tenant, stream)
    if version is None and not stream.startswith("user:"):
        raise NotFound(f"There is no channel {stream}.")
    return version or 0


def _tenant(id_: str, principal: Principal) -> Channel:
    if id_ != principal.tenant:
        raise Forbidden("This channel is not yours.")
    _check_scope(_WHOLE_LOG, principal)
    return id_, None


def _user(name: str, principal: Principal) -> Channel:
    if name != principal.subject:
        raise Forbidden("This channel is not yours.")
    return principal.tenant, name


def _check_scope(scope: str, principal: Principal) -> None:
    if scope not in principal.scopes:
        raise Forbidden(f"This needs the scope {scope}, which your credential does not have.")


def _checked_id(id_: str, category: str) -> str:
    try:
        well_formed = id_ == "*" or str(UUID(id_)) == id_
    except ValueError:
        well_formed = False
    if not well_formed:
        raise InvalidInput(f"The id of a channel of the category {category} is a UUID in lower case, or * for all.")
    return id_
