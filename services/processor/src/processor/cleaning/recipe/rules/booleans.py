"""Texts that are true or false, in several languages."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from processor.cleaning.recipe.rules.letters import with_capitals
from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, Words, WrongRule, take, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import WHITE, bound, literal, literals, lowered

WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (("yes", "y", "on"), ("no", "n", "off")),
    "de": (("ja", "j", "wahr"), ("nein", "n", "falsch")),
    "fr": (("oui", "o", "vrai"), ("non", "n", "faux")),
    "es": (("sí", "si", "s", "verdadero"), ("no", "n", "falso")),
    "it": (("sì", "si", "s", "vero"), ("no", "n", "falso")),
    "pt": (("sim", "s", "verdadeiro"), ("não", "nao", "n", "falso")),
    "nl": (("ja", "j", "waar"), ("nee", "n", "onwaar")),
    "pl": (("tak", "t", "prawda"), ("nie", "n", "fałsz")),
    "sv": (("ja", "j", "sant"), ("nej", "n", "falskt")),
    "da": (("ja", "j", "sand"), ("nej", "n", "falsk")),
    "no": (("ja", "j", "sann"), ("nei", "n", "usann")),
    "fi": (("kyllä", "k", "tosi"), ("ei", "e", "epätosi")),
    "cs": (("ano", "a", "pravda"), ("ne", "n", "nepravda")),
    "hu": (("igen", "i", "igaz"), ("nem", "n", "hamis")),
    "ro": (("da", "d", "adevărat"), ("nu", "n", "fals")),
    "tr": (("evet", "e", "doğru"), ("hayır", "h", "yanlış")),
    "ru": (("да", "д", "истина"), ("нет", "н", "ложь")),
    "uk": (("так", "т", "істина"), ("ні", "н", "хибність")),
    "el": (("ναι", "ν", "αληθές"), ("όχι", "ό", "ψευδές")),
    "ja": (("はい", "真"), ("いいえ", "偽")),
    "zh": (("是", "真"), ("否", "假")),
    "ko": (("예", "네", "참"), ("아니요", "거짓")),
    "ar": (("نعم", "صحيح"), ("لا", "خطأ")),
}
_ANYWHERE = (("true", "t", "1"), ("false", "f", "0"))
_USUAL = ("true", "false")


class Boolean(Rule, frozen=True, tag="boolean"):
    """True and false, t and f, 1 and 0, and the words for yes and no of these languages; or the words that are given,
    and no others."""

    columns: Names
    on_error: OnError = "reject"
    languages: Annotated[
        tuple[Annotated[str, Meta(extra_json_schema={"enum": sorted(WORDS)})], ...],
        Meta(max_length=50, description="Of them."),
    ] = ("en",)
    true: Annotated[Words, Meta(description="The words for true.")] = ()
    false: Annotated[Words, Meta(description="The words for false.")] = ()

    def check(self) -> Iterator[WrongRule]:
        for path, given, other in ((("true",), self.true, self.false), (("false",), self.false, self.true)):
            if other and not given:
                yield WrongRule(path, "missing", "Words for both are needed, or for none.")
        yes, no = self.words()
        for word in sorted(yes & no):
            detail = f"{word[:80]} is both true and false in what this rule takes."
            yield WrongRule(("true" if self.true else "languages",), "ambiguous", detail)

    def words(self) -> tuple[set[str], set[str]]:
        if self.true:
            given: list[tuple[tuple[str, ...], tuple[str, ...]]] = [(self.true, self.false)]
        else:
            given = [_ANYWHERE, *(WORDS[language] for language in self.languages)]
        yes, no = ({lowered(word) for pair in given for word in pair[side]} for side in (0, 1))
        return yes, no

    def apply(self, sheet: Sheet) -> None:
        words = with_capitals(
            {word: says for says, given in zip((True, False), self.words(), strict=True) for word in given}
        )
        yes, no = (sorted(word for word, says in words.items() if says is one) for one in (True, False))
        known = ((f"list_contains([{literals(words)}], x)") for words in (yes, no))
        either = "CASE WHEN {} THEN true WHEN {} THEN false END".format(*known)
        body = bound(f"trim(lower(t), {literal(WHITE)})", either)
        usual = [one for one in _USUAL if one in yes + no]
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            is_usual = " OR ".join(f"{text} = '{one}'" for one in usual) or "false"
            plain = sheet.let(f"CASE WHEN {is_usual} THEN true ELSE false END", text)
            quick = "".join(f"WHEN {text} = '{one}' THEN {str(one in yes).lower()} " for one in usual)
            other = sheet.call(body, text)
            value = sheet.let(f"CASE {quick}ELSE {other} END" if quick else other, text)
            differs = f"CAST({value} AS VARCHAR) <> lower({text})"
            changed = sheet.let(f"CASE WHEN {plain} THEN false ELSE {differs} END", plain, value, text)
            reading = Reading(value, "BOOLEAN", changed, "not_boolean", "is neither true nor false")
            take(sheet, name, reading, self.on_error)
