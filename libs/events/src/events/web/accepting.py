"""Which of the forms that we have a client wants, as its `Accept` says."""

from collections.abc import Sequence

from events.errors import NotAcceptable

_MOST_RANGES = 50


def chosen(accept: str | None, offers: Sequence[str]) -> str:
    """The offer that the client likes best; the first of those that it likes equally."""
    if not accept or not accept.strip():
        return offers[0]
    likes = dict(map(_read, accept.lower().split(",")[:_MOST_RANGES]))

    def liked(offer: str) -> float:
        ranges = (offer, f"{offer.partition('/')[0]}/*", "*/*")
        return next((likes[range_] for range_ in ranges if range_ in likes), 0.0)

    best = max(offers, key=liked)
    if not liked(best):
        raise NotAcceptable(f"There is no such form of this. There are: {', '.join(offers)}.")
    return best


def _read(text: str) -> tuple[str, float]:
    range_, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return range_, min(1.0, max(0.0, float(value)))
            except ValueError:
                return range_, 0.0
    return range_, 1.0
