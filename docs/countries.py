"""Writes src/places/countries.txt, the countries and their telephone numbers: ``.venv/bin/python docs/countries.py``.

Numbers and names come from the package phonenumbers (Apache License 2.0), which has them from Google's libphonenumber and the
Unicode CLDR. Regions that share a calling code are told apart by the patterns of their numbers, which needs the package regex
(``pip install regex``): it alone says whether the beginning of a number can still become one of a pattern.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import phonenumbers
import regex
from phonenumbers.geodata.locale import LOCALE_DATA

OUTPUT = Path(__file__).parents[1] / "src/places/countries.txt"

NAMED = {
    "800": "international freephone",
    "808": "international shared cost",
    "870": "Inmarsat",
    "878": "universal personal telecommunications",
    "881": "global mobile satellite",
    "8810": "ICO",
    "8811": "ICO",
    "8812": "Ellipso",
    "8813": "Ellipso",
    "8816": "Iridium",
    "8817": "Iridium",
    "8818": "Globalstar",
    "8819": "Globalstar",
    "882": "international networks",
    "883": "international networks",
    "888": "disaster relief",
    "979": "international premium rate",
    "991": "international public correspondence trial",
}
"""Codes of no country: ITU-T E.164, "List of assigned country codes" (annex to Operational Bulletin 1114), with its notes."""

OTHERS = {"EU": "European Union", "AP": "Asia/Pacific"}
"""What registries write where an address belongs to no single country."""

NAMES = {"AC": "Ascension Island", "TA": "Tristan da Cunha", "XK": "Kosovo"}
"""Regions that have numbers of their own and no name in the package: ISO 3166-1 reserves or leaves them to users."""

SHARED_TYPES = ("toll_free", "premium_rate", "personal_number")
"""Numbers of these kinds begin alike in all of North America, and are of no one country there (NANPA: 5XX, 8XX, 900)."""

TYPES = (
    *("fixed_line", "mobile", "shared_cost", "voip", "pager", "uan", "voicemail"),
    *SHARED_TYPES,
)
DEEPEST = 6
"""Digits behind the calling code that are looked at: where patterns still overlap there, the code's main region has them."""


OVERLAID = {"EH": ("2125288", "2125289")}
"""Numbers that libphonenumber finds in the code's main region, though the patterns of another have them (Laayoune)."""


def names() -> dict[str, str]:
    """English names by region."""
    found = {}
    for region, texts in LOCALE_DATA.items():
        name = texts["en"]
        while name.startswith("*"):  # the same as in another language
            name = texts[name[1:]]
        found[region] = name
    return found | NAMES | OTHERS


def may_be(region: str, begin: str, code: int) -> bool:
    """Whether a number that begins so can become one of the region, as libphonenumber tells regions apart."""
    metadata: Any = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata.leading_digits:
        return partly(metadata.leading_digits + r"\d*", begin)
    kinds = [getattr(metadata, kind) for kind in TYPES if code != 1 or kind not in SHARED_TYPES]
    return partly(metadata.general_desc.national_number_pattern, begin) and any(
        partly(kind.national_number_pattern, begin) for kind in kinds if kind and kind.national_number_pattern
    )


def is_sure(region: str, begin: str) -> bool:
    """Whether the leading digits that the region goes by, if any, are all there."""
    leading = phonenumbers.PhoneMetadata.metadata_for_region(region).leading_digits
    return not leading or regex.match(leading, begin) is not None


def partly(pattern: str, begin: str) -> bool:
    """Whether a text that begins so can match."""
    return regex.fullmatch(pattern, begin, partial=True) is not None


def tell_apart(code: int, regions: tuple[str, ...], begin: str) -> list[tuple[str, str]]:
    """Beginnings of numbers and the region of each, none of which repeats what a shorter one says."""
    possible = [region for region in regions if may_be(region, begin, code)]
    least = 3 if code == 1 else 0  # area codes of North America
    if not possible:
        return []
    if len(begin) >= DEEPEST or (len(possible) == 1 and len(begin) >= least and is_sure(possible[0], begin)):
        return [(begin, possible[0])]
    deeper = [each for digit in "0123456789" for each in tell_apart(code, tuple(possible), begin + digit)]
    # Where but one digit can follow, what is shorter would say too much.
    if len(begin) >= least and len({longer[len(begin)] for longer, _ in deeper}) > 1:
        here = {region for _, region in deeper}
        if len(here) == 1:
            return [(begin, *here)]
        # What has no other possibility but the main region is said once.
        main = possible[0]
        if main in here and len(begin) > 0:
            return [(begin, main), *(each for each in deeper if each[1] != main)]
    return deeper


def prefixes() -> Iterator[tuple[str, str]]:
    """Beginnings of international numbers and the region of each."""
    for code, regions in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()):
        if len(regions) == 1 and regions[0] != phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
            yield str(code), regions[0]
        elif len(regions) > 1:
            yield from ((f"{code}{begin}", region) for begin, region in tell_apart(code, regions, ""))


def main() -> None:
    """Writes the file."""
    codes: dict[str, list[str]] = {region: [] for region in names()}
    for prefix, region in prefixes():
        codes[region].append(prefix)
    for region, those in OVERLAID.items():
        codes[region] += those
    for prefix, name in NAMED.items():
        codes.setdefault(name, []).append(prefix)
    codes.setdefault("North America, no single country", []).append("1")
    lines = [
        f"# Made by docs/countries.py of phonenumbers {phonenumbers.__version__} (Apache License 2.0,",
        "# https://github.com/daviddrysdale/python-phonenumbers). Code, name and beginnings of numbers, separated by tabs;",
        "# - is no country.",
    ]
    for region, name in sorted(names().items()):
        lines.append(f"{region}\t{name}\t{' '.join(codes.pop(region))}")
    lines += [f"-\t{name}\t{' '.join(those)}" for name, those in sorted(codes.items())]
    OUTPUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
