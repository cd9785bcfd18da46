"""What people can do about who they are."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from events.errors import Forbidden, IdempotencyKeyReused
from events.identity import Principal
from events.web.answers import read_answer
from events.web.openapi import DescribedRoutes, example, problems
from events.web.shapes import Shape
from events.web.web import PrincipalOf, require
from gateway.auth.roles import Role
from gateway.repeats import IdempotencyKey
from gateway.users.invitations import Invitations, InvitationUnusable
from gateway.users.sessions import SessionOver, Sessions
from gateway.users.users import EmailTaken, LoginRefused, Registration, RegistrationClosed, User, Users
from gateway.users.views import (
    INVITATION,
    LOGIN,
    ME,
    TOKENS,
    InvitationView,
    LoginView,
    MeView,
    TokensView,
    login_view,
    tokens_view,
    user_view,
)

# Whether mail arrives there, only mail can tell: this only refuses what cannot be an address.
# By code points: what \s means differs between those who read the OpenAPI document.
_UNSEEN = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_MAIL = rf"[^@{_UNSEEN}]"
_ANY, _VISIBLE = r"[^\x00-\x1f\x7f]", rf"[^{_UNSEEN}]"
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    Shape(rf"^{_MAIL}{{1,64}}@{_MAIL}+\.{_MAIL}+$", "an email address, such as ada@example.com"),
]
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    Shape(rf"^{_ANY}*{_VISIBLE}{_ANY}*$", "one line of text that can be seen, without control characters"),
]


def _of_whole_characters(secret: SecretStr) -> SecretStr:
    """JSON can spell half a character, and pydantic lets it into a secret."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which is no character") from None
    return secret


def _long_enough(password: SecretStr) -> SecretStr:
    if len(password.get_secret_value()) < 10:
        raise PydanticCustomError("too_short", "A password has at least 10 characters.")
    return password


Token = Annotated[SecretStr, Field(max_length=256), AfterValidator(_of_whole_characters)]
NewPassword = Annotated[
    SecretStr,
    AfterValidator(_long_enough),
    Field(max_length=256, json_schema_extra={"minLength": 10}),
    AfterValidator(_of_whole_characters),
]
Password = Annotated[SecretStr, Field(max_length=256), AfterValidator(_of_whole_characters)]
Inviter = Annotated[Principal, require("keys:admin")]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RegistrationWish(Asked):
    email: Email = Field(examples=["ada@example.org"])
    password: NewPassword = Field(examples=["correct horse battery"])
    display_name: Line = Field(examples=["Ada"])
    gender: Line | None = None
    invitation: Token | None = None  # joins the inviting tenant; without one, a tenant of one's own is made


class Login(Asked):
    email: Email = Field(examples=["ada@example.org"])
    password: Password = Field(examples=["correct horse battery"])


class RefreshWish(Asked):
    refresh_token: Token = Field(examples=["mr_refresh_…"])


class InvitationWish(Asked):
    role: Role = "member"


async def not_stored(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


def user_routes(users: Users, sessions: Sessions, invitations: Invitations) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/auth", tags=["accounts"], dependencies=[Depends(not_stored)])

    @routes.post(
        "/register",
        status_code=201,
        responses=example(LOGIN, status=201)
        | problems(RegistrationClosed, EmailTaken, InvitationUnusable, IdempotencyKeyReused),
    )
    async def register(wish: RegistrationWish, idempotency_key: IdempotencyKey = None) -> LoginView:
        """Make an account: in a tenant of its own, or by an invitation in another's. You are logged in at once."""
        invitation = None if wish.invitation is None else wish.invitation.get_secret_value()
        asked = Registration(wish.email, wish.password.get_secret_value(), wish.display_name, wish.gender, invitation)
        return login_view(*await users.register(asked, idempotency_key))

    @routes.post("/login", responses=example(LOGIN) | problems(LoginRefused))
    async def log_in(login: Login) -> LoginView:
        return login_view(*await users.log_in(login.email, login.password.get_secret_value()))

    @routes.post("/refresh", responses=example(TOKENS) | problems(SessionOver))
    async def refresh(wish: RefreshWish) -> TokensView:
        """Exchange a refresh token for a new access token and the next refresh token. Each is good for one use."""
        return tokens_view(await sessions.refresh(wish.refresh_token.get_secret_value()))

    @routes.post("/logout", status_code=204, responses=problems(SessionOver))
    async def log_out(wish: RefreshWish) -> None:
        """End the session: its refresh tokens at once, its access tokens within a second everywhere."""
        await sessions.end(wish.refresh_token.get_secret_value())

    @routes.get("/me", response_model=MeView, responses=example(ME))
    async def me(request: Request, principal: PrincipalOf) -> Response:
        """Whom your credential makes you."""
        user = await _own_user(principal)
        expires_at = None if principal.expires_at is None else datetime.fromtimestamp(principal.expires_at, UTC)
        view = MeView(
            subject=principal.subject,
            tenant=principal.tenant,
            role=None if user is None else user.role,
            scopes=sorted(principal.scopes),
            expires_at=expires_at,
            user=None if user is None else user_view(user),
        )
        return read_answer(request, view.model_dump())

    @routes.post(
        "/invitations",
        status_code=201,
        responses=example(INVITATION, status=201) | problems(Forbidden, IdempotencyKeyReused),
    )
    async def invite(inviter: Inviter, wish: InvitationWish, idempotency_key: IdempotencyKey = None) -> InvitationView:
        """Invite somebody into your tenant, with a role that may do no more than you."""
        made = await invitations.invite(inviter, wish.role, idempotency_key)
        return InvitationView(id=made.id, invitation=made.token, role=made.role, expires_at=made.expires_at)

    async def _own_user(principal: Principal) -> User | None:
        kind, _, id_ = principal.subject.partition(":")
        return await users.find(principal.tenant, UUID(id_)) if kind == "user" else None

    return routes
