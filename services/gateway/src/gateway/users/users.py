"""People's accounts: how one is made, and what it takes to be let in."""

from dataclasses import dataclass, field
from datetime import datetime
from unicodedata import normalize
from uuid import UUID

import asyncpg

from events.accounts import UserLockedOut, UserRegistered
from events.database import Pool, load_queries
from events.delivery.outbox import Outbox
from events.errors import Conflict, FieldError, Forbidden, IdempotencyKeyReused, Unauthenticated
from events.ids import new_id
from events.lifecycle import Parts
from gateway.audit import audit_event
from gateway.auth.roles import Role
from gateway.repeats import check_same, known_as, request_hash
from gateway.settings import GatewaySettings
from gateway.users.invitations import Accepted, Invitations, InvitationUnusable
from gateway.users.passwords import Passwords
from gateway.users.sessions import Granted, Sessions

_NOBODY = UUID(int=0)


class EmailTaken(Conflict):
    code, title = "email_taken", "E-mail address taken"


class RegistrationClosed(Forbidden):
    code, title = "registration_closed", "Registration by invitation only"


class LoginRefused(Unauthenticated):
    code, title = "login_refused", "Login refused"


@dataclass(frozen=True, slots=True)
class User:
    id: UUID
    tenant: str
    email: str = field(repr=False)
    display_name: str = field(repr=False)
    gender: str | None = field(repr=False)
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Registration:
    email: str = field(repr=False)
    password: str = field(repr=False)
    display_name: str = field(repr=False)
    gender: str | None = field(repr=False)
    invitation: str | None = field(repr=False)


class Users:
    def __init__(
        self,
        parts: Parts,
        settings: GatewaySettings,
        passwords: Passwords,
        sessions: Sessions,
        invitations: Invitations,
        outbox: Outbox,
    ) -> None:
        self._pool: Pool = parts.pool
        self._settings = settings
        self._passwords = passwords
        self._sessions = sessions
        self._invitations = invitations
        self._outbox = outbox
        self._log = parts.telemetry.log
        self._queries = load_queries("gateway.users", "queries.sql")
        self._logins = parts.telemetry.counter(
            "millrace_logins_total",
            "Logins, by how they went.",
            {"outcome": ["ok", "unknown_user", "wrong_password", "locked_out"]},
        )

    async def register(self, wish: Registration, idempotency_key: str | None = None) -> tuple[User, Granted]:
        """Make an account, in a tenant of its own or in the one that invites, and log in; who asks for the same again
        is only logged in."""
        asked = request_hash(wish.email, wish.display_name, wish.gender, wish.invitation)
        if idempotency_key is None:
            return await self._register(wish, None, asked)
        if not await self._registered(wish.email, idempotency_key, asked):
            try:
                return await self._register(wish, idempotency_key, asked)
            except (EmailTaken, InvitationUnusable):
                if not await self._registered(wish.email, idempotency_key, asked):
                    raise  # else the same request has come at the same time, and was first
        return await self._log_in_again(wish)

    async def _register(self, wish: Registration, idempotency_key: str | None, asked: bytes) -> tuple[User, Granted]:
        if wish.invitation is None and not self._settings.open_registration:
            raise RegistrationClosed("Ask somebody for an invitation, and send it with your registration.")
        password_hash = await self._passwords.hash(wish.password)
        async with self._pool.acquire() as connection, connection.transaction():
            if wish.invitation is None:
                invitation, joins = None, Accepted(new_id(), str(new_id()), "admin")
            else:
                joins = await self._invitations.accept(connection, wish.invitation)
                invitation = joins.id
            row = await connection.fetchrow(
                self._queries["insert_user"],
                new_id(),
                joins.tenant,
                normalised(wish.email),
                password_hash,
                wish.display_name,
                wish.gender,
                joins.role,
                known_as(idempotency_key),
                None if idempotency_key is None else asked,
            )
            if row is None:
                detail = "There is an account with this address. Log in."
                raise EmailTaken(detail, errors=[FieldError("body.email", "email_taken", detail)])
            user = _user(row)
            event = audit_event(
                UserRegistered(user_id=user.id, role=user.role, invitation_id=invitation),
                tenant=user.tenant,
                about=("user", user.id),
            )
            await self._outbox.open(connection, event)
            refresh = await self._sessions.start(connection, user.id)
        self._outbox.publish_soon(event)
        return user, await self._sessions.grant(refresh, user=user.id, tenant=user.tenant, role=user.role)

    async def _registered(self, email: str, idempotency_key: str, asked: bytes) -> bool:
        row = await self._pool.fetchrow(self._queries["registration"], normalised(email))
        if row is None or row["idempotency_key"] != known_as(idempotency_key):
            return False
        check_same(row["request_hash"], asked)
        return True

    async def _log_in_again(self, wish: Registration) -> tuple[User, Granted]:
        try:
            return await self.log_in(wish.email, wish.password)
        except LoginRefused:
            raise IdempotencyKeyReused from None  # with another password

    async def log_in(self, email: str, password: str) -> tuple[User, Granted]:
        """Raises the same for an unknown address, a wrong password and a locked account, after the same work."""
        row = await self._pool.fetchrow(self._queries["user_by_email"], normalised(email))
        kept = None if row is None else row["password_hash"]
        if not await self._passwords.fits(kept, password):
            await self._count_failure(_NOBODY if row is None else row["id"])
            raise self._refused("unknown_user" if row is None else "wrong_password")
        assert row is not None
        user = _user(row)
        newer = await self._passwords.hash(password) if self._passwords.outdated(row["password_hash"]) else None
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(self._queries["enter"], user.id, newer) is None:
                raise self._refused("locked_out")
            refresh = await self._sessions.start(connection, user.id)
        self._logins.labels("ok").inc()
        return user, await self._sessions.grant(refresh, user=user.id, tenant=user.tenant, role=user.role)

    async def find(self, tenant: str, id_: UUID) -> User | None:
        row = await self._pool.fetchrow(self._queries["user"], tenant, id_)
        return None if row is None else _user(row)

    async def _count_failure(self, user: UUID) -> None:
        """Count a wrong password. For nobody it costs the same, so that it does not tell who exists."""
        event = None
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._queries["count_quietly"])
            counted = await connection.fetchrow(
                self._queries["count_failure"],
                user,
                self._settings.lockout_failures,
                self._settings.lockout_seconds,
                self._settings.lockout_longest_seconds,
            )
            if counted is not None and counted["locked"]:
                fact = UserLockedOut(user_id=user, failures=counted["failures"])
                event = audit_event(fact, tenant=counted["tenant"], about=("user", user))
                await self._outbox.open(connection, event)
        if event is not None:
            self._outbox.publish_soon(event)

    def _refused(self, why: str) -> LoginRefused:
        self._logins.labels(why).inc()
        self._log.info("login refused", why=why)
        return LoginRefused(
            "The e-mail address or the password is wrong, or the account is locked for a while after too many attempts."
        )


def normalised(email: str) -> str:
    """One address, however it is typed."""
    return normalize("NFC", email).strip().casefold()


def _user(row: asyncpg.Record) -> User:
    return User(**{name: row[name] for name in User.__slots__})
