"""What clients see of people and sessions."""

from datetime import UTC, datetime
from uuid import UUID

from pydantic import BaseModel

from gateway.auth.roles import ROLES, Role
from gateway.users.sessions import Granted
from gateway.users.users import User


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


USER = UserView(
    id=UUID("01a1fbea-6e13-7d45-ac0a-768cee331159"),
    email="ada@example.org",
    display_name="Ada",
    gender=None,
    role="admin",
    tenant="01a1fbea-6e13-7c01-b2fd-0a1c7e5d9f02",
    created_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
)
TOKENS = TokensView(access_token="eyJhbGciOiJFZERTQSIs…", expires_in=600, refresh_token="mr_refresh_…")  # noqa: S106
LOGIN = LoginView(**TOKENS.model_dump(), user=USER)
ME = MeView(
    subject=f"user:{USER.id}",
    tenant=USER.tenant,
    role="admin",
    scopes=sorted(ROLES["admin"]),
    expires_at=datetime(2026, 11, 21, 2, 33, 27, tzinfo=UTC),
    user=USER,
)
INVITATION = InvitationView(
    id=UUID("01a1fbef-04c2-7e0b-8f47-5d9a0c3b7e11"),
    invitation="mr_invite_…",
    role="member",
    expires_at=datetime(2026, 11, 28, 2, 23, 27, tzinfo=UTC),
)


def user_view(user: User) -> UserView:
    return UserView(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        gender=user.gender,
        role=user.role,
        tenant=user.tenant,
        created_at=user.created_at,
    )


def tokens_view(granted: Granted) -> TokensView:
    return TokensView(
        access_token=granted.access_token, expires_in=granted.expires_in, refresh_token=granted.refresh_token
    )


def login_view(user: User, granted: Granted) -> LoginView:
    return LoginView(**tokens_view(granted).model_dump(), user=user_view(user))
