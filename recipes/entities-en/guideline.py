"""The guideline that all English entity sets are brought to, as pure functions on tokens and spans.

It is that of CoNLL-2003: PER, ORG and LOC, and MISC for named works, products, events, awards,
nationalities, languages and religions. Re-DocRED adds TIME and NUM. "?" marks characters about
which nothing is known.
"""

import re
from collections.abc import Iterable, Sequence

TokenSpan = tuple[int, int, str]  # first token, token after the last, label

UNKNOWN = "?"
CONLL_LABELS = ("PER", "ORG", "LOC", "MISC")
LABELS = (*CONLL_LABELS, "TIME", "NUM")

# Lower-case words inside names.
PARTICLES = frozenset("of the de la le du des d' von van der den di da del and & ' - 's".split())

NATIONALITIES = frozenset(
    """
    Afghan African Albanian Algerian American Angolan Arab Arabic Argentine Argentinian Armenian
    Asian Australian Austrian Azerbaijani Bahraini Bangladeshi Basque Bavarian Belarusian
    Belgian Bengali Bolivian Bosnian Brazilian British Briton Bulgarian Burmese Byzantine
    Cambodian Cameroonian Canadian Caribbean Catalan Celtic Chilean Chinese Colombian Congolese
    Croatian Cuban Cypriot Czech Danish Dutch Ecuadorian Egyptian English Englishman Englishmen
    Estonian Ethiopian European Fijian Filipino Finnish Flemish French Frenchman Frenchmen
    Gaelic Georgian German Germanic Ghanaian Greek Guatemalan Haitian Hawaiian Hebrew Hispanic
    Honduran Hungarian Icelandic Indian Indonesian Iranian Iraqi Irish Irishman Irishmen Israeli
    Italian Jamaican Japanese Jordanian Kazakh Kenyan Korean Kurdish Kuwaiti Latin Latino
    Latvian Lebanese Liberian Libyan Lithuanian Macedonian Malay Malaysian Maltese Mauritian
    Mexican Mongol Mongolian Moroccan Nepalese Nicaraguan Nigerian Nordic Norman Norwegian
    Ottoman Pakistani Palestinian Panamanian Persian Peruvian Philippine Polish Pole Portuguese
    Prussian Roman Romanian Russian Rwandan Saudi Saxon Scandinavian Scot Scots Scottish Serb
    Serbian Siberian Sicilian Singaporean Slavic Slovak Slovenian Somali Soviet Spanish Spaniard
    Sudanese Swede Swedish Swiss Syrian Taiwanese Tamil Thai Tibetan Tunisian Turk Turkish
    Ugandan Ukrainian Uruguayan Uzbek Venezuelan Vietnamese Viking Welsh Yemeni Yugoslav
    Yugoslavian Zambian Zimbabwean
    Anglican Baptist Buddhist Buddhism Calvinist Catholic Catholicism Christian Christianity
    Hindu Hinduism Islam Islamic Jew Jewish Judaism Lutheran Methodist Mormon Muslim Orthodox
    Presbyterian Protestant Protestantism Quaker Shia Sikh Sunni
    Communist Conservative Democrat Democratic Republican Socialist
    """.split()
)
_COMPASS = frozenset("north south east west northern southern eastern western central".split())
_COMPASS_FIRST = re.compile(r"^(?:anglo|afro|pan|trans|non)-?$", re.IGNORECASE)


def is_nationality(words: Sequence[str]) -> bool:
    """Tell "South Korean", "Indo - European" and "Roman Catholic" from names of places."""
    content = [
        word
        for word in words
        if word != "-" and word.lower() not in _COMPASS and not _COMPASS_FIRST.match(word)
    ]
    return bool(content) and all(
        word in NATIONALITIES or word.removesuffix("s") in NATIONALITIES for word in content
    )


def has_capital(word: str) -> bool:
    return word[0].isupper() or any(c.isupper() for c in word[1:])


# Titles before a person's name that CoNLL-2003, Wikigold and Universal NER leave out of the span.
# Those of birth and church ("Queen Anne", "Sir Walter", "St. Paul") stay as each set has them.
HONORIFICS = frozenset(
    "mr mrs ms miss mx dr prof professor doctor rev reverend president vice prime deputy minister"
    " senator sen representative rep gov governor general gen colonel col captain capt major"
    " lieutenant lt sgt sergeant monsieur madame mademoiselle signor herr frau".split()
)
_EDGE = "-~*:;,/—_…\ufeff"  # never the first or last character of a name


def apply_guideline(
    tokens: list[str], spans: Iterable[TokenSpan], annotated: tuple[str, ...]
) -> list[TokenSpan]:
    """Make one set's spans agree with the others': flat, without titles, nationalities as MISC.

    A nationality that a set labels as a place or an organisation is MISC, or "?" where MISC is
    not annotated. One that a set with MISC leaves unlabelled is "?": WNUT never labels them, the
    others forgot some.
    """
    result: list[TokenSpan] = []
    for first, end, label in _outermost(spans):
        if label == "PER":
            while first < end - 1 and tokens[first].rstrip(".").lower() in HONORIFICS | {""}:
                first += 1
        elif label in ("LOC", "ORG") and is_nationality(tokens[first:end]):
            label = "MISC" if "MISC" in annotated else UNKNOWN
        result.append((first, end, label))
    if "MISC" in annotated:
        taken = {index for first, end, _ in result for index in range(first, end)}
        for index, token in enumerate(tokens):
            if index not in taken and is_nationality([token]):
                result.append((index, index + 1, UNKNOWN))
    return sorted(result)


def _outermost(spans: Iterable[TokenSpan]) -> list[TokenSpan]:
    """Keep the longest of spans that overlap, names before doubtful ones; in text order."""
    kept: list[TokenSpan] = []
    for span in sorted(set(spans), key=lambda s: (s[2] == UNKNOWN, s[0] - s[1], s)):
        if all(span[1] <= other[0] or other[1] <= span[0] for other in kept):
            kept.append(span)
    return sorted(kept)


def trim_edges(text: str, start: int, end: int) -> tuple[int, int]:
    """Cut what some tokenisers left on a name: "London-", "#UN", "Gaza,", an unpaired quote."""
    while start < end and (text[start] in _EDGE + "# " or _is_lone_quote(text[start:end], 0)):
        start += 1
    while start < end and (text[end - 1] in _EDGE + " " or _is_lone_quote(text[start:end], -1)):
        end -= 1
    return start, end


def _is_lone_quote(name: str, position: int) -> bool:
    quote = name[position]
    return (quote == '"' and name.count('"') % 2 == 1) or (
        quote in "“”" and name.count("“") != name.count("”")
    )
