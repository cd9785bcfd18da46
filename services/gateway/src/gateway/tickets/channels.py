"""The channels that a ticket may be bound to: `<category>:<id>`."""

from uuid import UUID

from events.errors import FieldError, InvalidInput
from events.identity import Principal

MOST_CHANNELS = 100

# Whether there is such a thing, and whose it is, the service behind the socket knows.
_CATEGORIES = frozenset({"upload", "job", "meeting", "transcript", "auction"})


def checked_channels(channels: list[str], principal: Principal) -> list[str]:
    """The channels in their one form, or all that is wrong with them."""
    own = {f"tenant:{principal.tenant}", principal.subject}
    checked, errors = dict[str, None](), list[FieldError]()
    for number, channel in enumerate(channels):
        category, _, name = channel.partition(":")
        if channel in own and category in ("tenant", "user"):
            checked[channel] = None
        elif category in ("tenant", "user"):
            errors.append(FieldError(f"body.channels[{number}]", "foreign", "This channel is not yours."))
        elif category not in _CATEGORIES:
            known = ", ".join(sorted({*_CATEGORIES, "tenant", "user"}))
            detail = f"A channel is <category>:<id>, with one of the categories {known}."
            errors.append(FieldError(f"body.channels[{number}]", "category", detail))
        else:
            try:
                checked[f"{category}:{UUID(name)}"] = None
            except ValueError:
                detail = f"The id of a channel of the category {category} is a UUID."
                errors.append(FieldError(f"body.channels[{number}]", "uuid", detail))
    if errors:
        raise InvalidInput("; ".join(f"{error.field}: {error.detail}" for error in errors), errors=errors)
    return list(checked)
