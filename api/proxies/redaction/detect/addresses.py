"""Where somebody lives: streets with numbers in either order, boxes, flats, postcodes, and what stands after them.

An address is found at an anchor (a street with its number, a box, a flat, a postcode) and then followed to its end:
pieces after a comma or at the next line, as long as they look like parts of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import regex

from api.proxies.redaction.detect.page import Page, marked
from api.proxies.redaction.finds import Find

_CAP: Final = r"\p{Lu}[\p{L}\p{M}'’.-]*+"
_SMALL: Final = r"(?:de(?:\s+l[ao]s?)?|del|della|delle|dei|di|da|do|dos|das|du|des|la|le|les|van(?:\s+de[nr]?)?|von(?:\s+der)?|der|den|am|an\s+der|im|zum|zur|of|the|und|y|e|i)"
_DIRECTION: Final = r"(?:N(?:orth)?|S(?:outh)?|E(?:ast)?|W(?:est)?|NE|NW|SE|SW)\.?"
_KIND: Final = (
    r"(?:Street|St|Str|Avenue|Ave?|Boulevard|Blvd|Road|Rd|Drive|Dr|Lane|Ln|Court|Ct|Circle|Cir|Place|Pl|Square|Sq|Terrace|Ter|Trail|Trl|Parkway|Pkwy|"
    r"Highway|Hwy|Route|Rte|Way|Crescent|Cres|Close|Gardens?|Gdns|Grove|Mews|Row|Walk|Hill|Park|Parks|Alley|Plaza|Loop|Pike|Turnpike|Expressway|Freeway|"
    r"Bypass|Causeway|Crossing|Quay|Wharf|Rise|Vale|View|Villas?|Green|Mall|Heights|Ridge|Point|Manor|Meadows?|Branch|Bridge|Brook|Canyon|Cape|Cliffs?|"
    r"Corners?|Coves?|Creek|Curve|Dale|Dam|Divide|Estates?|Extensions?|Falls|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|Fort|Freeway|Gateway|Glens?|Harbors?|Haven|Hollow|Inlet|"
    r"Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Landing|Light|Locks|Lodge|Mills?|Mission|Motorway|Mount|Mountains?|Neck|Orchard|Oval|Overpass|Pass|Passage|Path|Pines?|Plains?|Port|Prairie|Radial|Ramp|"
    r"Ranch|Rapids?|Rest|River|Shoals?|Shores?|Skyway|Springs?|Spur|Station|Stravenue|Stream|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Underpass|Union|Valley|Viaduct|Village|Ville|Vista|Wall|Wells?)"
)
_SURE_KIND: Final = r"(?:Street|St|Str|Avenue|Ave?|Boulevard|Blvd|Road|Rd|Drive|Dr|Lane|Ln|Court|Ct|Parkway|Pkwy|Highway|Hwy|Crescent|Terrace|Place|Square|Sq|Trail|Circle)"
_GLUED: Final = (  # endings of streets that are one word
    r"(?:stra(?:ss|ß)e|strasse|str\.?|gasse|weg|platz|allee|ufer|damm|ring|steig|straat|laan|kade|plein|gracht|singel|dijk|dreef|gata|gatan|vägen|väg|gränd|torget|"
    r"vej|vejen|gade|gaden|stræde|gate|gaten|vei|veien|veg|vegen|tie|katu|polku|kuja|kaari|tänav|iela|gatvė|utca|út|útja|tér|körút|sor|köz|stígur|gata|vegur|braut|tún)"
)
_LEADING: Final = (  # words before the name of a street
    r"(?:Rue|Av(?:enue|enida|\.|da\.?)|Boulevard|Bd|Chemin|Place|Impasse|Quai|Route|Allée|Cours|Calle|C/|Carrera|Cra\.?|Paseo|Plaza|Camino|Ronda|Rua|R\.|Travessa|Largo|Praça|Alameda|Estrada|"
    r"Via|Viale|V\.le|Piazza|Corso|Largo|Vicolo|Strada|ul\.|Ul\.|ulica|Ulica|al\.|os\.|pl\.|Jl\.|Jalan|Jln\.?|str\.|Str\.|Bul\.|bul\.|Ulitsa|ulitsa|nám\.|náměstí|Odos|Leoforos|Straat|Avda)"
)
_UNIT: Final = r"(?:(?:Apt|Apartment|Appt|Suite|Ste|Unit|Flat|Room|Rm|Floor|Fl|Building|Bldg|Lot|Spc|Trlr|Dept|Wohnung|Piso|étage|Door)\.?\s?\#?\s?[A-Z]?-?\d{1,5}[A-Z]?)"
_CODE: Final = (  # postcodes that are nothing else
    r"(?:[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}|[ABCEGHJ-NPRSTVXY]\d[A-Z][ -]?\d[A-Z]\d)"
)
_ZIP: Final = (
    rf"(?:{_CODE}|(?:[A-Z]{{1,2}}-)?\d{{4,6}}(?:-\d{{3,4}})?(?:\s[A-Z]{{2}}\b)?|\d{{3}}\s\d{{2}}|\d{{2}}-\d{{3}})"
)
_NUMBER: Final = r"\d{1,6}(?:[-/]\d{1,5})?(?:\s?[A-Za-z])?(?:\s(?:bis|ter))?"

_STREETS: Final = tuple(
    (regex.compile(rf"(?<![\w.,:/$€£-]){pattern}(?![\w])", flags), score)
    for pattern, score, flags in (
        # 12 High Street, 1668 Glyn St N, 90 Whitchurch Road street
        (
            rf"(?:{_NUMBER}[ ]+){{1,2}}(?:{_DIRECTION}[ ]+)?(?:(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th))[ ]+){{1,4}}?{_KIND}\.?(?:[ ]+(?:[Ss]treet|{_KIND}|{_DIRECTION}))?\b\.?",
            0.85,
            0,
        ),
        (
            r"\d{1,6}[ ]+(?:[\p{L}.'’-]+[ ]+){1,3}?(?:street|avenue|ave|boulevard|blvd|road|rd|drive|lane|st)\b\.?",
            0.75,
            0,
        ),
        (rf"\d{{1,3}}(?:st|nd|rd|th)[ ]+{_SURE_KIND}\b", 0.7, 0),
        # Marina Fort Street, without a number
        (rf"(?:{_CAP}[ ]+){{1,3}}?{_SURE_KIND}\b(?:[ ]+{_NUMBER})?", 0.55, 0),
        # Hauptstraße 5, Koskikatu 25
        (rf"(?:{_CAP}[ ]+){{0,3}}[\p{{L}}'’.-]{{3,}}{_GLUED}[ ]+{_NUMBER}", 0.8, 0),
        (
            rf"(?:{_NUMBER}[ ]+)?(?:{_CAP}[ ]+){{0,3}}[\p{{Lu}}][\p{{L}}'’.-]{{2,}}(?:stra(?:ss|ß)e|gasse|straat|gracht|gatan|vägen|vejen|veien|katu|utca)\b(?:[ ]+{_NUMBER})?",
            0.7,
            0,
        ),
        # 12 rue de la Paix, Calle Mayor 3, Rua do Arenque 1634, ul. Miła 53
        (
            rf"(?:{_NUMBER},?[ ]+)?{_LEADING}[ ]+(?:{_SMALL}[ ]+|d['’]|l['’])*(?:{_CAP}(?:[ ]+{_SMALL})?\s*){{1,4}}(?:,?\s*(?:n[ºo°.]\s*)?{_NUMBER})",
            0.8,
            0,
        ),
        (
            rf"{_NUMBER},?[ ]+(?:{_LEADING}|rue|avenue|boulevard|chemin|place|via|calle)[ ]+(?:{_SMALL}[ ]+|d['’]|l['’])*{_CAP}(?:[\s-]+(?:{_SMALL}[ ]+)?{_CAP}){{0,3}}",
            0.8,
            0,
        ),
        # 20789 Allika 46: a number, a name and another number
        (rf"\d{{1,6}}[ ]+(?:{_CAP}(?:[ ]+{_SMALL})?[ ]+){{1,4}}\d{{1,5}}(?:\s?[A-Da-d]\b)?", 0.6, 0),
        # 12 Kálmán Imre u. 94.
        (rf"(?:\d{{1,6}}[ ]+)?(?:{_CAP}[ ]+){{1,3}}(?:u\.|utca|út|tér|krt\.)[ ]+\d{{1,4}}\b\.?", 0.75, 0),
        (rf"\d{{3,6}}[ ]+{_CAP}(?:[ ]+(?!and\b)\p{{L}}[\p{{L}}'’.-]+){{1,2}}[ ]+\d{{1,5}}\b", 0.55, 0),
        (
            r"\d{4,6}[ ]+\p{Ll}[\p{L}'’.-]{4,}(?:[ ]+(?!and\b|or\b|of\b|to\b|in\b)\p{L}[\p{L}.'’-]+)?[ ]+\d{1,5}",
            0.55,
            0,
        ),
    )
)
_BOXES: Final = (
    (
        regex.compile(
            r"(?<!\w)(?:P\.?\s?O\.?\s?Box|Post(?:al)?\s?box|Post\s?Office\s?Box|Postfach|Apartado(?:\sde\sCorreos)?|Casilla|Boîte\spostale|B\.?P\.?|Caixa\sPostal|Postbus|Postboks)\s*\#?\s*\d{1,7}",
            regex.IGNORECASE,
        ),
        0.85,
    ),
    (regex.compile(r"(?<!\w)(?:PSC|CMR|Unit)\s+\d{1,5},?\s*Box\s+\d{1,5}", regex.IGNORECASE), 0.9),
    (regex.compile(r"(?<!\w)(?:APO|FPO|DPO),?\s+A[AEP]\s+\d{5}(?:-\d{4})?"), 0.9),
    (regex.compile(rf"(?<![\w#]){_UNIT}(?!\w)", regex.IGNORECASE), 0.5),
    (regex.compile(r"(?<![\w-])[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}(?!\w)"), 0.7),
    (regex.compile(r"(?<![\w-])[ABCEGHJ-NPRSTVXY]\d[A-Z]\s\d[A-Z]\d(?!\w)"), 0.7),
    # Springfield, IL 62704
    (
        regex.compile(
            rf"(?:{_CAP}\s){{0,2}}{_CAP},\s+(?:AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|PR|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY)\b(?:\s+\d{{5}}(?:-\d{{4}})?(?!\w))?"
        ),
        0.65,
    ),
)
_POSTCODE: Final = regex.compile(
    rf"\b(?:zip(?:\s?code)?|post(?:al)?\s?code|postcode|plz|postleitzahl|cap|cep|code\s+postal|eircode|pin\s?code)\s*(?:is|:|=|\#)?\s*:?\s*({_ZIP}|[A-Z0-9]{{3,4}}[ -]?[A-Z0-9]{{3,4}})(?!\w)",
    regex.IGNORECASE,
)
_CORNER: Final = regex.compile(
    rf"((?:the\s+)?(?:corner|intersection)\s+of\s+(?:{_CAP}|\d+(?:st|nd|rd|th)?)(?:\s+(?:{_CAP}|\d+[\w.]*))*\s+and\s+(?:(?:ul\.|the)\s+)?(?:{_CAP}|\d+(?:st|nd|rd|th)?)(?:\s+(?:{_CAP}|\d+\w*))*)"
)
_PAIR: Final = regex.compile(
    rf"(?<=(?:\bat|\bto|\bis|\bon|:|^|\n)[ ]{{0,2}})(?:{_CAP})(?:\s+(?:{_CAP}|\d+\w*))?\s+and\s+(?:ul\.\s+)?{_CAP}(?:\s+{_CAP})?\s+(?:u\.\s+)?\d{{1,4}}\b\.?"
)
_LEAD_IN: Final = regex.compile(
    r"""(?:\b(?:address(?:es)?(?:\s+(?:here|now))?(?:\s+(?:is|are|was|to|of))?|(?:lives?|living|lived|resid(?:es?|ing)|located|based|office|restaurant|house|home|meet(?:\s+\w+)?|store|shop|apartment|place|property|delivered?|shipp?(?:ed|ing)?|send(?:\s+it)?|sent|off|moved|headquarter(?:s|ed))\s+(?:is\s+)?(?:at|on|to|in)|side\s+of|enter\s+(?:on|at)))
        \s*(?:[:;,-]|the\s+corner\s+of)?\s*
        (?P<find>(?:\d{1,6}(?:\s|,\s))?(?:(?:\p{Lu}|\d)[\p{L}\p{M}'’.\d-]*+[ ]){1,5}\d{1,5}(?:\s?[A-Za-z]\b)?)""",
    regex.VERBOSE,
)

_STATES: Final = r"[A-Z]{2,3}"
_PIECE: Final = regex.compile(
    rf"""(?:[ ]?[,;.]?[ ]*(?:\n[ >*?|\#-]*(?:\n[ ]*)?)?,?[ ]*)
        (?P<piece>{_UNIT} | \#[ ]?\d{{1,5}}[A-Z]?
          | (?:PSC|Unit)\s+\d+,?\s*Box\s+\d+ | (?:APO|FPO|DPO),?\s+A[AEP]\s+\d{{5}}
          | (?:{_STATES}|nan)[ ]+{_ZIP}(?!\w)
          | {_ZIP}(?!\w|[.,]\d)(?:[ ]+{_CAP}(?:[ ]{_CAP}){{0,3}}(?=[ ]*(?:[,.\n;!?]|$)))?
          | {_CAP}(?:[ -](?:{_SMALL}[ ])?{_CAP}){{0,3}}[ ]+{_ZIP}(?!\w|[.,]\d)
          | (?<=\d[A-Z]?[ ]){_CAP}(?:[ -]{_CAP}){{0,2}}(?=[ ]*(?:[\n!?]|\.(?:\s|$)|$))
          | (?<=(?:,|\n)[ >*?|\#-]{{0,6}})(?:{_CAP})(?:[ -](?:{_SMALL}[ ])?{_CAP}){{0,3}}(?:[ ]\({_CAP}\))?(?:(?<=\))[ ]+{_ZIP}(?!\w))?(?=[ ]*(?:[,\n;!?]|\.(?:\s|$)|$)|[ ]+(?:{_STATES}[ ]+)?\d)
          | (?<=(?:,|\n)[ >*?|\#-]{{0,6}})(?:{_STATES}|nan)(?=[ ]*(?:[,.\n]|$)|[ ]+\d)
        )""",
    regex.VERBOSE | regex.MULTILINE,
)
_PIECES, _FAR = 6, 140
_NOT_PLACES: Final = regex.compile(
    r"(?:Phone|Tel|Telephone|Mobile|Fax|E-?mail|Website|Web|Desk|Date|Name|Address|I|The|This|That|Please|Thanks?|Thank|Regards|Best|Sincerely|We|You|He|She|They|It|If|When|And|But|Or|Note|Office|Is|Are|My|Our|Your|Call|Contact|Order|Invoice|Total|Cell|URL|P|M|T|F|SSN|DOB|ID|Hi|Hello|Dear)\b[.:]?",
)


def addresses(page: Page) -> Iterator[Find]:
    """Streets, boxes, flats and postcodes, each with what follows it."""
    text = page.text
    for pattern, score in _STREETS:
        for found in pattern.finditer(text):
            if page.prose(found.start()) or score > 0.7:
                yield _followed(page, found.start(), found.end(), score)
    for pattern, score in _BOXES:
        for found in pattern.finditer(text):
            if page.prose(found.start()) or score > 0.7:
                yield _followed(page, found.start(), found.end(), score)
    for found in _POSTCODE.finditer(text):
        if any(map(str.isdigit, found[1])):
            yield marked(found, 1, "ADDRESS", 0.75)
    for found in _LEAD_IN.finditer(text):
        yield _followed(page, found.start("find"), found.end("find"), 0.7)
    for pattern, score in ((_CORNER, 0.75), (_PAIR, 0.6)):
        for found in pattern.finditer(text):
            group = min(1, pattern.groups)
            yield _followed(page, found.start(group), found.end(group), score)


def _followed(page: Page, start: int, end: int, score: float) -> Find:
    """The address to its end."""
    limit = end + _FAR
    for _ in range(_PIECES):
        more = _PIECE.match(page.text, end, limit)
        if not more or _NOT_PLACES.match(more["piece"]):
            break
        end = more.end()
    return Find(start, end, "ADDRESS", score)
