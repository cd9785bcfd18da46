"""What the gateway is told at its start."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from events.settings import OutboxSettings
from gateway.auth.issuer import Issuer
from gateway.limits.policy import Connects, Overrides
from gateway.versions import Deprecation

_URL = r"http://[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}/?"
ServiceUrls = Annotated[str, StringConstraints(pattern=rf"^{_URL}(,{_URL})*$")]
Seconds = Annotated[float, Field(gt=0)]


class GatewaySettings(OutboxSettings):
    port: int = Field(default=8080, ge=0, le=65535)  # port to listen on; 0 takes a free one
    ingest_url: ServiceUrls  # http://host:port of the ingest service; of several, separated by commas
    processor_url: ServiceUrls  # http://host:port of the processor; of several, separated by commas
    notifier_url: ServiceUrls  # http://host:port of the notifier; of several, separated by commas
    admin_key: SecretStr  # the first API key, mr_live_…; it may do everything
    admin_tenant: str = "default"  # the tenant that the admin key acts for
    header_timeout: Seconds = 5.0  # seconds that a request's head may take from its first byte on
    body_timeout: Seconds = (
        15.0  # seconds that a request's body may pause, and that all of one may take for our own endpoints
    )
    send_timeout: Seconds = 30.0  # seconds that a client may leave an answer unread
    unread_timeout: Seconds = 120.0  # seconds that a client may leave a stream of events unread
    keep_alive_timeout: Seconds = 75.0  # seconds that a connection may stay open between requests
    connect_timeout: Seconds = 2.0  # seconds to connect to a service
    upstream_timeout: Seconds = 30.0  # seconds that a service may stay silent while we wait for it
    handshake_timeout: Seconds = 20.0  # seconds that a WebSocket's handshake may take, at all places of the service
    upstream_connections: int = Field(default=10_000, ge=1)  # most connections to one service, sockets included
    allowed_origins: str = ""  # other origins whose pages may use us from a browser, separated by commas; * for any
    compress: bool = True  # make answers smaller for clients that accept gzip or zstd
    https_only_seconds: int = Field(default=0, ge=0)  # seconds that browsers shall come by https only; 0 says nothing
    deprecated_versions: Mapping[str, Deprecation] = Field(
        default={}
    )  # JSON: {"v1":{"deprecated_at":"…Z","sunset_at":…}}
    max_sockets: int = Field(default=10_000, ge=1)  # open WebSockets of this replica; one more is a 429
    max_sockets_per_tenant: int = Field(default=5_000, ge=1)  # those of one tenant
    max_sockets_per_subject: int = Field(default=200, ge=1)  # those of one key or user
    max_greetings: int = Field(default=1_000, ge=1)  # open WebSockets whose first message must say whose they are
    max_greetings_per_address: int = Field(default=100, ge=1)  # those from one address
    greeting_bytes: int = Field(default=64 * 1024, ge=1024)  # bytes of such a first message: SDKs subscribe in it, too
    greeting_timeout: Seconds = 10.0  # seconds that such a first message may take
    drain_seconds: float = Field(default=20.0, ge=0, le=20)  # longest time over which sockets are closed on SIGTERM
    authz_enabled: bool = False  # answer GET /authz, behind an edge proxy that strips clients' own X-Millrace-* headers
    authz_socket_seconds: Seconds = 300.0  # seconds until a socket that the edge proxy routed must be opened again
    own_body_limit: int = Field(default=64 * 1024, ge=0)  # most bytes in a body for the gateway's own endpoints
    limits: Overrides = Field(default={})  # JSON: {"read":{"subject":{"rate":100,"burst":200},"address":null}}
    limits_connects: Mapping[str, Connects] = Field(default={})  # JSON: {"ws":{"seconds":10,"free":5,"most":20}}
    limits_timeout: Seconds = 0.5  # seconds that the database may take to count; beyond, a class's own rule decides
    limits_sweep_seconds: Seconds = 60.0  # seconds between looks for rows of buckets that are full
    trusted_proxies: tuple[
        IPv4Network | IPv6Network, ...
    ] = ()  # JSON list of CIDRs; what they say of clients is believed
    key_pepper: SecretStr = Field(min_length=32)  # shared by the gateways; seals what they keep of secrets
    token_issuer: str = Field(default="millrace", min_length=1)  # what our access tokens say of who made them (iss)
    token_audience: str = Field(default="millrace", min_length=1)  # and of who is to accept them (aud)
    access_token_seconds: int = Field(default=600, ge=1, le=86_400)  # seconds that an access token is good for
    signing_key_seconds: float = Field(default=7 * 86_400.0, ge=3_600)  # seconds that a key signs access tokens
    session_idle_seconds: float = Field(
        default=30 * 86_400.0, ge=60
    )  # seconds until a session ends that nobody refreshes
    invitation_seconds: float = Field(default=7 * 86_400.0, ge=60)  # seconds that an invitation may be used
    open_registration: bool = True  # whether a stranger may make a tenant; if not, everybody needs an invitation
    password_threads: int = Field(default=2, ge=1, le=64)  # passwords that are hashed at once, 19 MiB each
    password_queue: int = Field(default=16, ge=0, le=1_000)  # passwords that wait for that; one more is a 503
    lockout_failures: int = Field(default=5, ge=1)  # wrong passwords in a row that lock an account
    lockout_seconds: Seconds = 30.0  # seconds that it is locked then, doubled by each further wrong password
    lockout_longest_seconds: Seconds = 3_600.0  # seconds that it is locked at most
    issuers: tuple[Issuer, ...] = ()  # whose tokens are accepted beside ours, as JSON; see below
