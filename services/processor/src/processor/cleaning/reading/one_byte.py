"""Which of the encodings of one byte a text is in: the one in which its letters are a language's.

An encoding and a language are likely together if the letters beyond ASCII are as frequent as they are in that language,
and stand where letters do: no capital within a word, no sign between two letters."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from processor.cleaning.reading.decisions import Decision, decided
from processor.cleaning.reading.languages import LANGUAGES, RARER, SIGNS, UNLIKELY

# How likely each is before anything is read. Of two that read all of these bytes alike, the first is chosen: the
# Windows ones have more characters than the ISO ones, else they are the same.
_PRIORS = {
    "windows-1252": 0.4,
    "windows-1251": 0.1,
    "windows-1250": 0.09,
    "windows-1254": 0.07,
    "windows-1253": 0.03,
    "windows-1257": 0.02,
    "windows-1255": 0.02,
    "windows-1256": 0.02,
    "iso-8859-1": 0.05,
    "iso-8859-15": 0.05,
    "iso-8859-2": 0.03,
    "iso-8859-9": 0.03,
    "koi8-r": 0.02,
    "iso-8859-5": 0.01,
    "iso-8859-7": 0.01,
    "cp850": 0.01,
    "mac-roman": 0.01,
    "cp866": 0.01,
    "cp852": 0.005,
    "cp857": 0.005,
    "iso-8859-13": 0.005,
}
_MOST_WORDS = 1000
_MOST_OF_ONE_WORD = 3  # a value that is in each row says no more than one in three
_MOST_LETTERS = 40  # beyond so many, more of the same is no more evidence
_ODD_PLACE = 0.02
_WORDS_OF_ONE_LETTER, _NO_LATIN = "àáâåæéèêìíîóôöøúüÀÁÅÆÉÈÍÓÖØÚаиоувксяєіηο", "\u0370"
_NEVER_AFTER_LETTERS = "±×¼½¾¶¬¦÷¤¸¨¯¢¥¡¿"
_SUREST = 0.99
_TYPICAL = 0.003  # a letter's share, on average, where language and encoding are right
_PARTED = bytes(code if code >= 0x80 or chr(code).isalnum() else 0x20 for code in range(256))
_DELIMITED_BYTES, _FEWEST_DELIMITED = 16 << 10, 3
_DELIMITED, _MOSTLY_DELIMITED, _MANY = 0.9, 0.5, 3  # lines that hold many fields may end within one
_NO_SIGN_BETWEEN_FIELDS = 4.0
_WORDS_PER_PIECE = 5000
_LONGEST_WORD = 60

Letters = Counter[tuple[str, bool]]  # with whether the letter is in an odd place


def one_byte_encoding(pieces: Sequence[bytes]) -> Decision[str]:
    delimiter = _high_delimiter(pieces[0])
    words = _words([piece.replace(delimiter, b" ") for piece in pieces] if delimiter else pieces)
    readings = {name: _letters(words, name) for name in _PRIORS}
    letters = sum(readings["windows-1252"].values())
    scores: dict[str, tuple[float, str]] = {}
    for name, prior in _PRIORS.items():
        likely, language = max(
            (_likelihood(readings[name], language) + math.log(RARER.get(language, 1.0)), language)
            for language in LANGUAGES
        )
        likely = likely / max(1, letters) * min(letters, _MOST_LETTERS) + math.log(prior)
        if delimiter and delimiter.decode(name, "replace") not in SIGNS:
            likely -= _NO_SIGN_BETWEEN_FIELDS
        scores[name] = (likely, language)
    best = max(scores, key=lambda name: scores[name][0])
    weights = {name: math.exp(score - scores[best][0]) for name, (score, _) in scores.items()}
    alike = [name for name in _PRIORS if name != best and readings[name] == readings[best]]
    others = [name for name in _PRIORS if name != best and name not in alike]
    whole = sum(weights[name] for name in others) + weights[best] + sum(weights[name] for name in alike)
    sure = 1 - sum(weights[name] for name in others) / whole
    # What fits no language well is a guess, however much worse the others are.
    typical = math.exp(_likelihood(readings[best], scores[best][1]) / max(1, letters))
    sure = min(_SUREST, sure * min(1.0, typical / _TYPICAL))
    reason = (
        f"The bytes beyond ASCII are not UTF-8. As {best} they make {scores[best][1]}"
        f"{', as they do read as ' + ' or '.join(alike) + ', which is no different here' if alike else ''}."
    )
    alternatives = [(name, sure * weights[name] / whole if name in alike else weights[name] / whole) for name in scores]
    return decided(best, sure, reason, [(name, likely) for name, likely in alternatives if name != best])


def _high_delimiter(head: bytes) -> bytes:
    """A byte beyond ASCII that each line has as often as the others, as letters are not."""
    lines = [line for line in head[:_DELIMITED_BYTES].splitlines()[:-1] if line]
    if len(lines) < _FEWEST_DELIMITED:
        return b""
    for byte in sorted({byte for line in lines for byte in line if byte >= 0x80}):
        usual, often = Counter(line.count(byte) for line in lines).most_common(1)[0]
        if often >= (_DELIMITED if usual < _MANY else _MOSTLY_DELIMITED) * len(lines) and usual > 0:
            return bytes([byte])
    return b""


def _words(pieces: Iterable[bytes]) -> Counter[bytes]:
    words: Counter[bytes] = Counter()
    for piece in pieces:
        beyond_ascii = (word for word in piece.translate(_PARTED).split() if not word.isascii())
        words.update(word[:_LONGEST_WORD] for word in islice(beyond_ascii, _WORDS_PER_PIECE))
    return Counter({word: min(count, _MOST_OF_ONE_WORD) for word, count in words.most_common(_MOST_WORDS)})


def _letters(words: Counter[bytes], encoding: str) -> Letters:
    letters: Letters = Counter()
    for word, count in words.items():
        text = f" {word.decode(encoding, 'replace')} "
        for at in range(1, len(text) - 1):
            if text[at] > "\x7f":
                letters[text[at], _is_odd(text[at - 1], text[at], text[at + 1])] += count
    return letters


def _is_odd(before: str, letter: str, after: str) -> bool:
    alone = not before.isalnum() and not after.isalnum()
    if alone and letter.isalpha():
        return letter not in _WORDS_OF_ONE_LETTER and (letter < _NO_LATIN or letter.islower())
    if letter in _NEVER_AFTER_LETTERS:
        return before.isalpha()
    if not letter.isalpha():
        return letter not in "’‘´\xa0·—–" and before.isalpha() and after.isalpha()
    if letter >= _NO_LATIN and (_is_latin(before) or _is_latin(after)):
        return True
    if letter.isupper():
        return before.islower() or (before.isupper() and after.islower())
    return before.isdigit() or after.isdigit() or (before.isupper() and after.isupper())


def _is_latin(sign: str) -> bool:
    return sign.isascii() and sign.isalpha()


def _likelihood(letters: Letters, language: str) -> float:
    shares = LANGUAGES[language]
    likely = 0.0
    for (letter, odd), count in letters.items():
        share = shares.get(letter) or SIGNS.get(letter, UNLIKELY)
        likely += count * math.log(share * _ODD_PLACE if odd else share)
    return likely
