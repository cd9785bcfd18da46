"""The AsyncAPI document: every event of the catalog, and every way to hear of it."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from events.broker.broker import Exchange
from events.envelope import encode_json
from events.steps import SAID
from events.vocabulary import IN_LOG, stream_category_of
from gateway.document.messages import FRAME, TASK, components_of

Document = dict[str, Any]

_DESCRIPTION = """\
What happens is an event of one log. Clients hear of it through the gateway, over WebSockets or server-sent events;
internal services over AMQP, or by reading the log (`events.subscribe`).

A stream (`job:<id>`) is a channel of the same name. `version` counts a stream's events, `position` those of the whole
log: 1, 2, 3 and so on. Whoever was away goes on after the version (of `tenant:` and of wildcards: the position) that it
had last. Events may be told twice over AMQP: go by `id`. Types may be added, and fields: ignore what you do not know.

The requests and answers of HTTP are in [OpenAPI](/api/v1/openapi.json).
"""

# What clients may follow: the streams of a category, and all of a category at once.
_FOLLOWED = {"job": "jobs:read", "upload": "jobs:read"}

_CLIENTS = ("websocket", "sse")
_CREDENTIALS = ("key", "token", "ticket")


@cache
def asyncapi_document() -> bytes:
    return encode_json(_document())


def _document() -> Document:
    return {
        "asyncapi": "3.0.0",
        "id": "urn:millrace",
        "info": {
            "title": "Millrace",
            "version": version("millrace-gateway"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": _channels(),
        "operations": _operations(),
        "components": components_of(IN_LOG, SAID) | {"securitySchemes": _SECURITY},
    }


_SECURITY = {
    "key": {"type": "httpApiKey", "in": "header", "name": "X-API-Key"},
    "token": {"type": "http", "scheme": "bearer", "description": "An API key or an access token."},
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "For browsers, which cannot set headers: POST /api/v1/auth/tickets makes one.",
    },
    "broker": {"type": "userPassword", "description": "The broker's own: for internal services alone."},
}


def _servers() -> Document:
    host = {"host": {"default": "127.0.0.1:8080", "description": "The gateway."}}
    credentials = [_reference("components", "securitySchemes", name) for name in _CREDENTIALS]
    return {
        "websocket": {
            "host": "{host}",
            "protocol": "ws",
            "pathname": "/connection/websocket",
            "description": "The Centrifugo client protocol, in JSON: any of its SDKs will do. wss behind TLS.",
            "variables": host,
            "security": credentials,
        },
        "progress": {
            "host": "{host}",
            "protocol": "ws",
            "description": "Plain JSON over a WebSocket. wss behind TLS.",
            "variables": host,
            "security": credentials,
        },
        "sse": {
            "host": "{host}",
            "protocol": "sse",
            "pathname": "/connection/sse",
            "description": "Server-sent events: `?channel=<address>`, once for each channel. https behind TLS.",
            "variables": host,
            "security": credentials,
        },
        "amqp": {
            "host": "{host}",
            "protocol": "amqp",
            "protocolVersion": "0.9.1",
            "description": "RabbitMQ, for internal services.",
            "variables": {"host": {"default": "127.0.0.1:5672", "description": "The broker."}},
            "security": [_reference("components", "securitySchemes", "broker")],
        },
    }


def _channels() -> Document:
    channels: Document = {}
    for category, scope in _FOLLOWED.items():
        said = _about(category)
        channels[category] = _channel(
            f"{category}:{{id}}",
            said,
            _CLIENTS,
            f"One {category}, by versions. Needs `{scope}`.",
            id=f"The {category}'s.",
        )
        channels[f"{category}s"] = _channel(
            f"{category}:*", said, _CLIENTS, f"All of the tenant's, by positions. Needs `{scope}`."
        )
    channels["user"] = _channel(
        "user:{id}",
        _about("user"),
        _CLIENTS,
        "What is about yourself, by versions. It is empty to who has not the scope `ops`.",
        id="Your own.",
    )
    channels["tenant"] = _channel(
        "tenant:{tenant}",
        IN_LOG,
        _CLIENTS,
        "The tenant's log, by positions. Needs `events:read`; what is noted of accounts (`user.*`, `session.*`, "
        "`key.*`) is told to `ops` alone.",
        tenant="Your own.",
    )
    frames = [f"{FRAME}.{name}" for name in _about("job")]
    channels["jobProgress"] = _channel(
        "/ws/{id}", frames, ("progress",), "One job, from `?after=<version>` on. Needs `jobs:read`.", id="The job's."
    )
    channels["progress"] = _channel(
        "/ws", frames, ("progress",), "All jobs of the tenant, or those that you name. Needs `jobs:read`."
    )
    channels["events"] = _channel(
        "{tenant}.{category}.{verb}",
        IN_LOG,
        ("amqp",),
        "Every event, one message each, with its id as message id. Bind a queue of your own.",
        bindings=_exchange(Exchange.EVENTS, "topic"),
        tenant="Whose event it is.",
        category="What it is about: the first word of its type.",
        verb="What has happened: the second word.",
    )
    channels["tasks"] = _channel(
        "millrace.tasks.{queue}",
        [TASK],
        ("amqp",),
        "What a remote worker is to do: steps with `uses: remote/<queue>`.",
        bindings={"amqp": {"is": "queue", "queue": {"durable": True}, "bindingVersion": "0.3.0"}},
        queue="As the workflow names it.",
    )
    channels["intake"] = _channel(
        "{type}",
        SAID,
        ("amqp",),
        "What remote workers say of their tasks, by the type as routing key.",
        bindings=_exchange(Exchange.INTAKE, "topic"),
        type="The event's type.",
    )
    return channels


def _operations() -> Document:
    """As seen from Millrace: it sends events, and receives what workers say."""
    sent = [name for name in _channels() if name != "intake"]
    operations: Document = {
        f"send.{name}": {"action": "send", "channel": _reference("channels", name)} for name in sent
    }
    operations["receive.intake"] = {"action": "receive", "channel": _reference("channels", "intake")}
    return operations


def _channel(
    address: str,
    messages: Iterable[str],
    servers: Iterable[str],
    description: str,
    *,
    bindings: Mapping[str, Any] | None = None,
    **parameters: str,
) -> Document:
    channel: Document = {
        "address": address,
        "description": description,
        "servers": [_reference("servers", name) for name in servers],
        "messages": {name: _reference("components", "messages", name) for name in messages},
    }
    if parameters:
        channel["parameters"] = {name: {"description": says} for name, says in parameters.items()}
    if bindings:
        channel["bindings"] = bindings
    return channel


def _exchange(exchange: Exchange, kind: str) -> Document:
    described = {"name": exchange.value, "type": kind, "durable": True}
    return {"amqp": {"is": "routingKey", "exchange": described, "bindingVersion": "0.3.0"}}


def _about(category: str) -> list[str]:
    return [name for name in IN_LOG if stream_category_of(name) == category]


def _reference(*path: str) -> Document:
    return {"$ref": "#/" + "/".join(path)}
