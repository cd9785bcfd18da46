"""THE ATTACK TABLE: what an attacker sends, and what he is answered. Every attack is in this file once.

`HELD` lists the attacks that are sent beside the very thing that they attack, with the answer and the test that asserts
it. The rest is sent from here, through the gateway of a whole Millrace.
"""

import ast
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures.client import Client
from fixtures.gateway import Gateway
from fixtures.millrace import Document, Run, operations
from fixtures.sockets import UPGRADE, answers, connecting, received
from fixtures.tenants import JSON, said
from fixtures.websocket_cases import CASES
from gateway.upstreams import OWN, UPSTREAMS, Routes


class Held(NamedTuple):
    status: int
    code: str
    test: str  # `<file>::<test>`, in this folder
    row: str | None = None  # of the test's own table


TOKENS = "test_gateway_tokens.py::test_an_attack_is_refused_and_told_why"
ISSUERS = "test_gateway_issuers.py::test_an_attack_is_refused_and_told_why"
FRAMING = "test_gateway_hostile.py::test_an_ambiguous_request_is_refused_and_its_connection_closed"
PATHS = "test_gateway_hostile.py::test_a_path_that_could_be_read_in_two_ways_leads_nowhere"
CHUNKS = "test_gateway_hostile.py::test_a_malformed_chunk_is_refused_wherever_it_comes"
HOSTILE = "test_gateway_hostile.py::"
TICKETS = "test_gateway_tickets.py::"
IN_QUERY = TICKETS + "test_any_other_credential_in_a_query_is_refused_and_told_what_to_do"
ORIGIN = "test_gateway_sockets.py::test_foreign_pages_open_no_sockets"
SOCKETS = "test_websocket_conformance.py::test_through_the_gateway_frames_are_read_as_the_rfc_says"
OTHERS = "test_other_tenants.py::"
STREAMS = "test_gateway_streams.py::"

HELD = {
    # Tokens: the detail names the flaw
    "alg none": Held(401, "unauthenticated", TOKENS, "alg none"),
    "HS/RS confusion: HMAC with our public key": Held(401, "unauthenticated", TOKENS, "HS256 with the public key"),
    "the same with another issuer's key": Held(401, "unauthenticated", ISSUERS, "HS256 with the public key"),
    "stripped signature": Held(401, "unauthenticated", TOKENS, "stripped signature"),
    "embedded jwk": Held(401, "unauthenticated", TOKENS, "embedded jwk"),
    "a key by URL (jku)": Held(401, "unauthenticated", TOKENS, "jku"),
    "crit": Held(401, "unauthenticated", TOKENS, "crit"),
    "kid injection: a path": Held(401, "unauthenticated", TOKENS, "kid is a path"),
    "kid injection: SQL": Held(401, "unauthenticated", TOKENS, "kid is SQL"),
    "wrong aud": Held(401, "unauthenticated", TOKENS, "wrong aud"),
    "wrong iss": Held(401, "unauthenticated", TOKENS, "wrong iss"),
    "an issuer that nobody trusts": Held(401, "unauthenticated", ISSUERS, "another issuer"),
    "missing exp": Held(401, "unauthenticated", TOKENS, "no exp"),
    "expired": Held(401, "token_expired", TOKENS, "exp past"),
    "a header nested deeply": Held(401, "unauthenticated", TOKENS, "a deep header"),
    "a JWKS nested deeply": Held(
        503,
        "unavailable",
        "test_gateway_issuers.py::test_an_issuer_without_usable_keys_is_503_and_asked_again_later",
        "deep JSON",
    ),
    "a reused refresh token": Held(
        401, "session_over", "test_gateway_users.py::test_a_refresh_token_that_comes_again_ends_its_session"
    ),
    # Tickets and WebSockets
    "a used ticket": Held(401, "unauthenticated", TICKETS + "test_a_ticket_is_used_once"),
    "an expired ticket": Held(
        401, "unauthenticated", TICKETS + "test_a_ticket_is_good_for_30_seconds_by_the_databases_clock"
    ),
    "a forged ticket": Held(401, "unauthenticated", IN_QUERY, "a ticket that nobody made"),
    "a key in a WebSocket's query": Held(401, "unauthenticated", IN_QUERY, "a key"),
    "a ticket for another channel": Held(
        403, "forbidden", TICKETS + "test_a_bound_ticket_sees_its_channels_and_nothing_else"
    ),
    "a foreign Origin": Held(403, "forbidden", ORIGIN, "a foreign one"),
    "an Origin that begins like ours": Held(403, "forbidden", ORIGIN, "one that begins alike"),
    "the URL of a stream, from a log": Held(
        401,
        "unauthenticated",
        STREAMS + "test_a_ticket_that_is_used_up_opens_its_stream_again_with_the_cookie_of_its_first_answer",
    ),
    "a lost stream, opened again after its key was revoked": Held(
        401, "unauthenticated", STREAMS + "test_a_stream_is_opened_again_on_any_replica_and_a_revoked_one_on_none"
    ),
    "a stream on a foreign page": Held(403, "forbidden", STREAMS + "test_a_page_of_another_origin_opens_no_stream"),
    "a compressed frame": Held(1002, "close", SOCKETS, "5.2 the reserved bits 100 of a TEXT"),
    "a frame of 2^63 bytes": Held(1002, "close", SOCKETS, "5.2 a length of 64 bits whose first bit is set"),
    # Framing: the connection is closed behind the answer
    "smuggling: CL and TE": Held(400, "bad_request", FRAMING, "length and chunked"),
    "smuggling: TE and CL": Held(400, "bad_request", FRAMING, "chunked and length"),
    "smuggling: two CL": Held(400, "bad_request", FRAMING, "two lengths"),
    "smuggling: an unknown TE": Held(400, "bad_request", FRAMING, "another encoding"),
    "smuggling: obs-fold": Held(400, "bad_request", FRAMING, "a folded encoding"),
    "smuggling: a space before the colon": Held(400, "bad_request", FRAMING, "a space before the colon"),
    "smuggling: a bare line feed": Held(400, "bad_request", FRAMING, "a bare line feed in the head"),
    "smuggling: a chunk's size": Held(400, "bad_request", CHUNKS, "a sign"),
    "duplicate Host": Held(400, "bad_request", FRAMING, "two hosts"),
    "header drip": Held(408, "request_timeout", HOSTILE + "test_what_drips_is_408", "a head"),
    "body drip to the gateway": Held(
        408, "request_timeout", HOSTILE + "test_what_drips_is_408", "a body for ourselves"
    ),
    "a body that stops": Held(408, "request_timeout", HOSTILE + "test_a_body_that_stops_is_408"),
    "body drip to ingest": Held(408, "request_timeout", "test_ingest_refusals.py::test_a_body_that_drips_is_given_up"),
    "an endless head": Held(431, "head_too_large", HOSTILE + "test_a_head_has_a_largest_size"),
    # Paths: they lead nowhere
    "dot segments, encoded": Held(404, "not_found", PATHS, "/api/v1/jobs/%2e%2e/admin/dead-letters"),
    "an empty segment": Held(404, "not_found", PATHS, "//api/v1/jobs"),
    "an encoded slash": Held(404, "not_found", PATHS, "/api/v1/jobs%2fx"),
    "an encoded backslash": Held(404, "not_found", PATHS, "/api/v1/jobs%5cx"),
    "a NUL": Held(404, "not_found", PATHS, "/api/v1/jobs%00"),
    "a header by CRLF": Held(404, "not_found", PATHS, "/api/v1/jobs%0d%0aX-Injected:1"),
    "a path trick past an edge proxy": Held(
        403, "forbidden", "test_gateway_authz.py::test_what_is_not_routed_is_refused", "a path trick"
    ),
    "a principal of one's own making": Held(
        401, "unauthenticated", "test_gateway_authz.py::test_nobody_is_who_a_header_says"
    ),
    # Another tenant's things
    "another tenant's dead letters, replayed": Held(
        200,
        "replayed: 0",
        "test_dead_letters.py::test_an_operator_sees_the_own_tenants_letters_and_those_that_tell_no_tenant",
    ),
    "another tenant's idempotency key": Held(
        202, "one's own upload", "test_ingest_uploads.py::test_tenants_do_not_share_idempotency_keys"
    ),
    "a ticket for another tenant's or user's channel": Held(
        422, "invalid_input", TICKETS + "test_a_wrong_wish_names_its_field", "another tenant"
    ),
    "another tenant's id in a path, on every route": Held(
        404, "not_found", OTHERS + "test_another_tenants_ids_answer_like_unknown_ones_on_every_route_and_change_nothing"
    ),
    "another tenant's job on a WebSocket, by path and by subscribe": Held(
        404, "not_found", OTHERS + "test_another_tenants_job_is_no_job_to_a_socket"
    ),
    "a ticket for another tenant's job, opened": Held(
        404, "not_found", OTHERS + "test_what_is_named_in_a_body_is_considered_too"
    ),
    "another tenant's id as a cursor": Held(
        200, "nothing of it", OTHERS + "test_no_list_tells_anything_of_another_tenant"
    ),
    "a WebSocket on all jobs": Held(
        101, "nothing of it", OTHERS + "test_a_socket_on_all_jobs_is_told_nothing_of_another_tenant"
    ),
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_an_attack_that_is_listed_is_sent_where_the_list_says(held: Held) -> None:
    file, _, test = held.test.partition("::")
    tree = ast.parse(Path(__file__).with_name(file).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert test in functions
    assert held.row is None or held.row in texts | set(CASES)


# Sent from here


BOMB = gzip.compress(bytes(10_000_000))

# What is sent as JSON to every endpoint that takes it: the answer of our own, and that of a service.
BODIES: Mapping[str, tuple[tuple[str, ...], bytes, tuple[int, str], tuple[int, str]]] = {
    "100,000-deep JSON": ((), b"[" * 100_000, (413, "too_large"), (400, "bad_request")),
    "the same in what is not too large": ((), b"[" * 60_000, (400, "bad_request"), (400, "bad_request")),
    "a deep object": ((), b'{"a":' * 12_000, (400, "bad_request"), (400, "bad_request")),
    "a decompression bomb": (("Content-Encoding: gzip",), BOMB, (400, "bad_request"), (400, "bad_request")),
}


@pytest.mark.parametrize(("fields", "body", "own", "services"), BODIES.values(), ids=BODIES)
async def test_a_body_that_explodes_when_it_is_read_is_refused_everywhere(
    millrace: Run,
    door: Gateway,
    document: Document,
    fields: tuple[str, ...],
    body: bytes,
    own: tuple[int, str],
    services: tuple[int, str],
) -> None:
    sent = 0
    for method, path, operation in operations(document):
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            line = f"{method} {re.sub('{.*?}', 'aaaaaaaaaaaa', path)}"
            answer = await door.ask(line, JSON, *fields, body=body, key=millrace.admin_key)
            assert said(answer) == (own if Routes(UPSTREAMS).find(path).service == OWN else services), line
            sent += 1
    assert sent >= 9


async def test_a_bomb_that_is_uploaded_is_kept_as_it_came_and_unpacked_no_further_than_its_ratio(
    millrace: Run, door: Gateway
) -> None:
    coded = ("Content-Encoding: gzip", "Content-Type: text/csv")
    refused = await door.ask("POST /api/v1/uploads", *coded, body=BOMB, key=millrace.admin_key)
    assert refused.status == 415
    answer = await door.ask("POST /api/v1/uploads", "Content-Type: text/csv", body=BOMB, key=millrace.admin_key)
    accepted = json.loads(answer.body)
    assert (answer.status, accepted["bytes"]) == (202, len(BOMB))
    kept = await door.ask(f"GET /api/v1/uploads/{accepted['upload_id']}/content", key=millrace.admin_key)
    assert (kept.body, kept.head.get("content-encoding")) == (BOMB, None)
    async with Client(millrace.url, millrace.admin_key) as client:
        seen = await client.watch(accepted["job_id"])
        job = await client.get_until_answered(f"/api/v1/jobs/{accepted['job_id']}")
    assert seen.frames[-1]["status"] == "FAILED"
    assert job["error"]["code"] == "archive_ratio"


async def test_a_socket_agrees_to_no_compression_and_survives_deep_json(millrace: Run, door: Gateway) -> None:
    async with connecting(door, "/ws", key=millrace.admin_key, compression="deflate") as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        assert (await received(socket))["type"] == "connected"
        await socket.send("[" * 10_000)
        refused = await received(socket)
        assert (refused["type"], refused["code"]) == ("error", "invalid_input")
        assert await answers(socket)


async def test_a_request_behind_a_refused_upgrade_is_judged_as_any_other(millrace: Run, door: Gateway) -> None:
    """Proxies that believe in an upgrade before the service does pass on what follows unread."""
    old = [field.replace("Version: 13", "Version: 8") for field in UPGRADE]
    async with door.wire() as wire:
        wire.request("GET /ws", *old, key=millrace.admin_key)
        wire.request("GET /api/v1/admin/dead-letters", key=None)
        assert said(await wire.answer()) == (426, "upgrade_required")
        assert said(await wire.answer()) == (401, "unauthenticated")
