"""Sessions: what a login lasts as, refreshed by tokens that are good for one use each."""

from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from events.accounts import SessionEnded, SessionReuseDetected
from events.database import Pool, load_queries
from events.delivery.outbox import Outbox
from events.envelope import Event
from events.errors import Unauthenticated
from events.ids import new_id
from events.lifecycle import Parts
from events.log.log import Connection
from gateway.audit import audit_event
from gateway.auth.revocations import Revocations
from gateway.auth.roles import Role
from gateway.auth.tokens import AccessTokens
from gateway.users.refresh_tokens import Refresh, RefreshTokens

# A client whose answer got lost may send the same refresh token again for so long, and gets the same next one.
GRACE_SECONDS = 10.0
_SWEEP_ROWS = 1000


class SessionOver(Unauthenticated):
    code, title = "session_over", "Session over"


@dataclass(frozen=True, slots=True)
class Granted:
    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)


class Sessions:
    def __init__(
        self,
        parts: Parts,
        tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        revocations: Revocations,
        outbox: Outbox,
        *,
        idle_seconds: float,
    ) -> None:
        self._pool: Pool = parts.pool
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._revocations = revocations
        self._outbox = outbox
        self._idle_seconds = idle_seconds
        self._queries = load_queries("gateway.users", "queries.sql")
        self._reused = parts.telemetry.counter(
            "millrace_refresh_tokens_reused_total", "Sessions ended because an old refresh token came again."
        )

    async def start(self, connection: Connection, user: UUID) -> Refresh:
        """A new session in the transaction that lets the user in."""
        session = new_id()
        await connection.execute(self._queries["start_session"], session, user, self._idle_seconds)
        return Refresh(session, 0)

    async def grant(self, refresh: Refresh, *, user: UUID, tenant: str, role: Role) -> Granted:
        """What the client gets of a session that has been committed."""
        access = await self._tokens.issue(user=user, tenant=tenant, role=role, session=refresh.session)
        return Granted(access, self._tokens.seconds, self._refresh_tokens.text(refresh))

    async def refresh(self, token: str) -> Granted:
        shown = self._refresh_tokens.read(token)
        async with self._pool.acquire() as connection, connection.transaction():
            session = await connection.fetchrow(self._queries["lock_session"], shown.session, GRACE_SECONDS)
            if session is None or not session["is_open"]:
                raise SessionOver("The session has ended or expired. Log in again.")
            reused = None
            if shown.number == session["refreshes"]:
                await connection.execute(self._queries["refresh_session"], shown.session, self._idle_seconds)
            elif not (shown.number == session["refreshes"] - 1 and session["just_refreshed"]):
                reused = await self._end(
                    connection, session, SessionReuseDetected(session_id=session["id"], user_id=session["user_id"])
                )
        if reused is not None:
            self._reused.inc()
            self._outbox.publish_soon(reused)
            raise SessionOver("The refresh token was used before, so its session has been ended. Log in again.")
        following = Refresh(shown.session, shown.number + 1)
        return await self.grant(following, user=session["user_id"], tenant=session["tenant"], role=session["role"])

    async def end(self, token: str) -> None:
        """Log out. Any refresh token of the session will do, and doing it twice is no error."""
        shown = self._refresh_tokens.read(token)
        async with self._pool.acquire() as connection, connection.transaction():
            session = await connection.fetchrow(self._queries["lock_session"], shown.session, GRACE_SECONDS)
            if session is None or not session["is_open"]:
                return
            ended = await self._end(
                connection, session, SessionEnded(session_id=session["id"], user_id=session["user_id"], reason="logout")
            )
        self._outbox.publish_soon(ended)

    async def sweep(self) -> bool:
        """Forget what is over. True if it is worth to go on at once."""
        done = await self._pool.execute(self._queries["remove_sessions"], _SWEEP_ROWS)
        await self._pool.execute(self._queries["remove_invitations"], _SWEEP_ROWS)
        return done == f"DELETE {_SWEEP_ROWS}"

    async def _end(
        self, connection: Connection, session: asyncpg.Record, why: SessionEnded | SessionReuseDetected
    ) -> Event:
        event = audit_event(why, tenant=session["tenant"], about=("user", session["user_id"]))
        await connection.execute(self._queries["end_session"], session["id"])
        await self._revocations.announce(connection, f"session:{session['id']}")
        await self._outbox.open(connection, event)
        return event
