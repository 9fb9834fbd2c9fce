"""The identifiers of a person as texts to be looked for, and whether a text holds one.

Nothing in here, or found with it, ever shows a value: a hit is a place and a number.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from provisioning.erasure.stores import Identifier
from provisioning.errors import Permanent

SHORTEST = 6  # characters: what is shorter is found everywhere
_PLUS = re.compile(r"\+[^@]*(?=@)")
_NO_DIGIT = re.compile(r"\D")


class NeedleTooShort(Permanent):
    """An identifier is too short to be searched for: it would be found in words that are nobody's."""

    code = "NEEDLE_TOO_SHORT"
    cure = "Leave it out, or give a longer form of it: a full name instead of a first name."


@dataclass(frozen=True, slots=True)
class Needles:
    """Lower-case texts, none shorter than SHORTEST; `skipped`: the kinds of identifiers that were."""

    texts: tuple[str, ...] = field(repr=False, default=())
    skipped: tuple[str, ...] = ()

    def are_in(self, text: str) -> bool:
        """Whether a text of any store (an object's key, a decrypted value) holds one of them."""
        folded = text.lower()
        return any(needle in folded for needle in self.texts)


def needles_of(identifiers: Iterable[Identifier]) -> Needles:
    """Each identifier in the forms in which it may have been written down."""
    texts, skipped = dict[str, None](), dict[str, None]()
    for each in identifiers:
        long = [form for form in _forms(each) if len(form) >= SHORTEST]
        if not long:
            skipped[each.kind] = None
        texts.update(dict.fromkeys(long))
    return Needles(tuple(texts), tuple(skipped))


def refuse_short(identifiers: Iterable[Identifier]) -> None:
    """For intake. Raises NeedleTooShort, which names the kind and not the value."""
    if short := needles_of(identifiers).skipped:
        raise NeedleTooShort(f"Shorter than {SHORTEST} characters: {', '.join(short)}.", kinds=list(short))


def _forms(identifier: Identifier) -> list[str]:
    value = " ".join(identifier.value.split()).lower()
    forms = [value]
    if "@" in value:
        forms.append(_PLUS.sub("", value))  # ada+news@… is ada@…
    if identifier.kind == "phone":
        digits = _NO_DIGIT.sub("", value)
        forms += [digits, digits.removeprefix("00"), f"+{digits.removeprefix('00')}"]
    if identifier.kind == "name" and value.count(" ") == 1:
        first, last = value.split(" ")
        forms.append(f"{last}, {first}")
    return list(dict.fromkeys(forms))
