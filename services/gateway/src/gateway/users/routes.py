"""What people can do about who they are."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from events.identity import Principal
from events.web import PrincipalOf, require
from gateway.auth.roles import Role
from gateway.users.invitations import Invitations
from gateway.users.sessions import Granted, Sessions
from gateway.users.users import Registration, User, Users

# Whether mail arrives there, only mail can tell: this only refuses what cannot be an address.
_MAIL = r"[^@\s\x00-\x1f\x7f]"
_ANY, _VISIBLE = r"[^\x00-\x1f\x7f]", r"[^\s\x00-\x1f\x7f]"
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254, pattern=rf"^{_MAIL}{{1,64}}@{_MAIL}+\.{_MAIL}+$"),
]
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=rf"^{_ANY}*{_VISIBLE}{_ANY}*$")
]


def _of_whole_characters(secret: SecretStr) -> SecretStr:
    """JSON can spell half a character, and pydantic lets it into a secret."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which is no character") from None
    return secret


Secret = Annotated[SecretStr, AfterValidator(_of_whole_characters)]
Token = Annotated[Secret, Field(max_length=256)]
NewPassword = Annotated[Secret, Field(min_length=10, max_length=256)]
Password = Annotated[Secret, Field(max_length=256)]
Inviter = Annotated[Principal, Depends(require("keys:admin"))]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RegistrationWish(Asked):
    email: Email
    password: NewPassword
    display_name: Line
    gender: Line | None = None
    invitation: Token | None = None  # joins the inviting tenant; without one, a tenant of one's own is made


class Login(Asked):
    email: Email
    password: Password


class RefreshWish(Asked):
    refresh_token: Token


class InvitationWish(Asked):
    role: Role = "member"


class UserView(BaseModel):
    id: UUID
    email: str
    display_name: str
    gender: str | None
    role: Role
    tenant: str
    created_at: datetime


class TokensView(BaseModel):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - not a secret
    expires_in: int  # seconds
    refresh_token: str


class LoginView(TokensView):
    user: UserView


class MeView(BaseModel):
    subject: str
    tenant: str
    role: Role | None
    scopes: list[str]
    expires_at: datetime | None
    user: UserView | None  # None for a key, and for a token of another issuer


class InvitationView(BaseModel):
    id: UUID
    invitation: str  # shown this once
    role: Role
    expires_at: datetime


def not_stored(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


def user_routes(users: Users, sessions: Sessions, invitations: Invitations) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/auth", tags=["accounts"], dependencies=[Depends(not_stored)])

    @routes.post("/register", status_code=201)
    async def register(wish: RegistrationWish) -> LoginView:
        """Make an account: in a tenant of its own, or by an invitation in another's. You are logged in at once."""
        invitation = None if wish.invitation is None else wish.invitation.get_secret_value()
        asked = Registration(wish.email, wish.password.get_secret_value(), wish.display_name, wish.gender, invitation)
        return _login_view(*await users.register(asked))

    @routes.post("/login")
    async def log_in(login: Login) -> LoginView:
        return _login_view(*await users.log_in(login.email, login.password.get_secret_value()))

    @routes.post("/refresh")
    async def refresh(wish: RefreshWish) -> TokensView:
        """Exchange a refresh token for a new access token and the next refresh token. Each is good for one use."""
        return _tokens_view(await sessions.refresh(wish.refresh_token.get_secret_value()))

    @routes.post("/logout", status_code=204)
    async def log_out(wish: RefreshWish) -> None:
        """End the session: its refresh tokens at once, its access tokens within a second everywhere."""
        await sessions.end(wish.refresh_token.get_secret_value())

    @routes.get("/me")
    async def me(principal: PrincipalOf) -> MeView:
        """Whom your credential makes you."""
        user = await _own_user(principal)
        expires_at = None if principal.expires_at is None else datetime.fromtimestamp(principal.expires_at, UTC)
        return MeView(
            subject=principal.subject,
            tenant=principal.tenant,
            role=None if user is None else user.role,
            scopes=sorted(principal.scopes),
            expires_at=expires_at,
            user=None if user is None else _user_view(user),
        )

    @routes.post("/invitations", status_code=201)
    async def invite(inviter: Inviter, wish: InvitationWish) -> InvitationView:
        """Invite somebody into your tenant, with a role that may do no more than you."""
        made = await invitations.invite(inviter, wish.role)
        return InvitationView(id=made.id, invitation=made.token, role=made.role, expires_at=made.expires_at)

    async def _own_user(principal: Principal) -> User | None:
        kind, _, id_ = principal.subject.partition(":")
        return await users.find(principal.tenant, UUID(id_)) if kind == "user" else None

    return routes


def _user_view(user: User) -> UserView:
    return UserView(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        gender=user.gender,
        role=user.role,
        tenant=user.tenant,
        created_at=user.created_at,
    )


def _tokens_view(granted: Granted) -> TokensView:
    return TokensView(
        access_token=granted.access_token, expires_in=granted.expires_in, refresh_token=granted.refresh_token
    )


def _login_view(user: User, granted: Granted) -> LoginView:
    return LoginView(**_tokens_view(granted).model_dump(), user=_user_view(user))
