"""What must not be readable in a log or a trace, whoever passed it by mistake: keys, tokens, passwords."""

import re
from typing import Any

_SECRET_NAMES = re.compile(r"authorization|password|secret|token|ticket|api[-_]?key|cookie|principal", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"mr_(?:live|tkt|refresh|invite)_[\w-]+"  # our keys, tickets, refresh tokens and invitations
    r"|eyJ[\w-]{8,}(?:\.[\w-]*){0,2}"  # JWTs, and what may be one: to look for its dots first takes long
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # credentials in a URL
    r"|(?i:(?<=token=)|(?<=ticket=)|(?<=api_key=)|(?<=[?&]key=)|(?<=bearer ))[^&\s\"']+"
)
# A segment of a path that is no word and no id: a client's mistake, or a secret behind percent signs.
_ODD_SEGMENT = re.compile(r"(?<![^/])[^/]*[^\w.:~/-][^/]*", re.ASCII)


def masked_path(path: str) -> str:
    """As far as it is words and ids."""
    return _ODD_SEGMENT.sub("***", path)


def masked(name: str, value: Any) -> Any:
    """Blank if its name says that it is secret; else without the secrets inside it."""
    return "***" if _SECRET_NAMES.search(name) else masked_value(value)


def masked_value(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_VALUES.sub("***", value)
    if isinstance(value, dict):
        return {key: masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_value(inner) for inner in value]
    return value
