"""How often languages use the letters that are not of ASCII: from which the encoding of a text can be told."""

from collections.abc import Mapping
from types import MappingProxyType

# Letters with how often they are, among a thousand of the language's.
_LETTERS = {
    "French": "é19 à5 è3 ê2 ç1 ô0.6 î0.4 û0.6 â0.5 ù0.6 ï0.1 ë0.1 œ0.2 É0.6 À0.2 Ç0.1 È0.1 ÿ0.01",
    "German": "ü10 ä5.5 ö4.5 ß3 Ü0.4 Ä0.3 Ö0.3 é0.1",
    "Spanish": "ó8 í7 á5 é4 ñ3 ú2 ü0.2 Á0.2 É0.1 Í0.1 Ó0.1 Ú0.1 Ñ0.1",
    "Portuguese": "ã7 ç5 é4.5 á4 í3 ó3 ê2 õ1.5 ú1.5 à1 â1 ô0.8 É0.3 Á0.2 Ç0.2 Ã0.2 Ó0.1 Í0.1",
    "Italian": "è4 à4 ù1.5 ò1.5 ì1 é0.6 È0.3 À0.1 Ù0.05",
    "Swedish": "ä18 ö13 å13 é0.3 Å0.7 Ä0.4 Ö0.7",
    "Danish": "ø9 å11 æ7 é0.2 Ø0.6 Å0.5 Æ0.2",
    "Finnish": "ä36 ö4.5 å0.1 Ä0.3 Ö0.1",
    "Icelandic": "ð44 á18 í16 þ15 ó10 æ9 ö8 é6 ú6 ý2 Þ1.5 Á1 Í1 Ó0.7 Ú0.4 Æ0.2 Ö0.3",
    "Dutch": "ë2 é1 ï0.6 ö0.3 ü0.2 è0.2",
    "Turkish": "ı51 ü19 ğ12.5 ş18 ç11.5 ö8 İ3 Ş2 Ç1.5 Ö1.5 Ü1 Ğ0.3 â0.3 î0.05",
    "Polish": "ł18 ą10 ę11 ó8.5 ż8 ś7 ć4 ń2 ź0.6 Ł1 Ś0.6 Ż0.4 Ó0.2 Ć0.1 Ź0.05 Ę0.05 Ą0.1",
    "Czech": "í32 á22 é13 ě16 ž10 č10 ý11 ř12 š8 ů7 ú2 ť0.4 ď0.3 ň0.2 ó0.3 Č0.8 Š0.5 Ž0.4 Ř0.3 Ú0.3",
    "Slovak": "á15 í12 é7 ý9 č12 š9 ž9 ú8 ľ4 ť6 ň2 ď2 ô1.5 ä1 ó1 ĺ0.1 ŕ0.1 Č0.5 Š0.5 Ž0.4 Ľ0.2",
    "Hungarian": "é35 á34 ö11 ó11 ő9 ü6 í6 ú3 ű2 É0.6 Á0.7 Ö0.2 Ó0.2 Ő0.05 Ü0.1 Í0.1",
    "Romanian": "ă24 î10 ş12 ţ11 â6 Ş0.6 Ţ0.3 Î0.5 Ă0.05",
    "Croatian": "č12 š10 ž6 ć6 đ2.5 Č0.3 Š0.5 Ž0.4 Đ0.2",
    "Lithuanian": "ė17 š12 ų12 į6 ž8 ū5 ą8 č4.5 ę2 Š0.6 Ž0.4 Č0.1",
    "Latvian": "ā42 ī19 ē18 š9 ņ6 ļ4 ū7 ž3 ķ3 ģ2.5 č1 Š0.3 Ā0.4 Ķ0.2 Ģ0.1",
    "Estonian": "ä10 õ9 ü8 ö2 š0.3 ž0.2 Ü0.3 Õ0.3 Ö0.1",
    "Russian": (
        "о109 е85 а80 и74 н67 т63 с55 р47 в45 л44 к35 м32 д30 п28 у26 я20 ы19 ь17 г17 з16 б16 ч14 й12 х10 ж9 ш7 ю6"
        " ц5 щ4 э3 ф3 ъ0.4 ё0.3"
    ),
    "Ukrainian": (
        "о94 а82 и61 н68 і57 в54 т53 е50 р48 с41 к39 л36 у34 д31 м31 п29 я25 з22 ь18 г17 б17 ч14 й13 х11 ц10 ю9 ж8"
        " ш7 щ6 ї6 є5 ф3 ґ0.2"
    ),
    "Bulgarian": (
        "а125 о95 е90 и92 т82 н74 р55 с51 в46 л36 к37 д32 п31 м24 з22 ъ17 г16 я15 б14 у15 ч13 й8 ж6 ц5.5 щ5 х4"
        " ш3.5 ф3 ю1.5 ь0.1"
    ),
    "Serbian": (
        "а115 и99 о95 е91 н56 ј51 р49 с48 т44 у41 д38 к38 в37 л34 м32 п29 з17 г16 б14 ч9.5 ш9 ц7 ж6 ћ6.5 х6 њ6.5"
        " љ4.5 ђ2 ф2 џ0.3"
    ),
    "Greek": (
        "α101 ο83 ι83 ε81 τ78 ν64 η52 σ46 ς44 ρ43 υ42 κ41 π40 μ35 λ28 ω20 ί20 ά19 ό19 γ18 δ17 έ17 ή13 θ13 ύ10 χ10"
        " φ9 ώ9 β7 ξ5 ζ4 ψ2 ϊ0.3 ΐ0.1 ϋ0.1"
    ),
    "Hebrew": (
        "י110 ו105 ה100 ל70 א63 ר60 ת55 מ55 ב50 ש48 נ35 ע32 ם28 ד27 ח25 כ22 ק22 פ20 ן18 ס14 ט13 ג13 צ12 ז10 ך8 ץ2 ף2"
    ),
    "Arabic": (
        "ا130 ل112 ي75 م65 و62 ن60 ر55 ت45 ب40 ه35 ة35 ع35 د30 س30 ف28 ك26 ق25 أ22 ح22 ج15 ش12 ط12 ص10 خ9 ى9 إ9 ذ7"
        " ض7 ز7 ث6 غ6 ء5 ئ5 ظ2 آ1 ؤ1"
    ),
}
# Texts of several languages, as lists of names and places are.
_MIXTURES = {
    "a mixture of western languages": (
        ["French", "German", "Spanish", "Portuguese", "Italian", "Swedish", "Danish", "Finnish", "Icelandic", "Dutch"]
    ),
    "a mixture of central European languages": [
        "Polish",
        "Czech",
        "Slovak",
        "Hungarian",
        "Romanian",
        "Croatian",
        "German",
    ],
    "a mixture of Baltic languages": ["Lithuanian", "Latvian", "Estonian"],
    "a mixture with Turkish": ["Turkish", "Turkish", "Turkish", "German", "French"],
}

# Those with fewer speakers than the others.
RARER = MappingProxyType({"Icelandic": 0.05, "Estonian": 0.2})
_CAPITALS = 0.08  # how often a letter is a capital, in scripts whose capitals are not told above
_CASED_SCRIPTS = ("Russian", "Ukrainian", "Bulgarian", "Serbian", "Greek")

# Signs that are in texts of every language.
SIGNS = MappingProxyType(
    dict.fromkeys("€’", 8e-3)
    | dict.fromkeys("–“”„‘…•«»°£", 4e-3)
    | dict.fromkeys("\xa0½²³§—·®™©º№", 1.5e-3)
    | dict.fromkeys("±µ×¼¾¡¿´ª¢¥¶¬¦†‡‰‹›¸¨¯¤÷¹", 2e-4)
)
UNLIKELY = 1e-5


def _parsed(letters: str) -> dict[str, float]:
    return {pair[0]: float(pair[1:]) for pair in letters.split()}


def _shares(weights: Mapping[str, float]) -> Mapping[str, float]:
    whole = sum(weights.values())
    return MappingProxyType({letter: 0.95 * weight / whole for letter, weight in weights.items()})


def _languages() -> Mapping[str, Mapping[str, float]]:
    languages: dict[str, Mapping[str, float]] = {}
    for name, letters in _LETTERS.items():
        weights = _parsed(letters)
        if name in _CASED_SCRIPTS:
            weights |= {letter.upper(): _CAPITALS * often for letter, often in weights.items() if letter not in "ςΐ"}
        languages[name] = _shares(weights)
    for name, parts in _MIXTURES.items():
        mixed: dict[str, float] = {}
        for part in parts:
            for letter, often in languages[part].items():
                mixed[letter] = mixed.get(letter, 0.0) + often
        languages[name] = _shares(mixed)
    return MappingProxyType(languages)


LANGUAGES = _languages()
