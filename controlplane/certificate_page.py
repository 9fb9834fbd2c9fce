"""A certificate of erasure for people: the same sections on a page and on paper, from the signed document alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

STAGES = {
    "live": "Nothing is left in running systems. Copies that run out later are listed below, with their dates.",
    "final": "Nothing is left in running systems, and the last date of every listed copy has passed.",
}
SCOPES = {"tenant": "a whole tenant", "subject": "one person within a tenant"}
NEVER = "no date known"
COUNTED = ("planned", "deleted", "absent", "retained", "remaining")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence, facts by name, and a table: each may be empty."""

    title: str
    said: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def page(document: Mapping[str, Any], *, notes: Sequence[str] = ()) -> SafeString:
    """The fragment that a page of the admin includes. `document` is the whole signed one, `notes` what a check said."""
    context = {"sections": list(sections(document, notes=notes)), "document": document}
    return render_to_string("admin/parts/certificate.html", context)


def sections(document: Mapping[str, Any], *, notes: Sequence[str] = ()) -> Iterator[Section]:
    """In the order in which whoever asked for the erasure would ask: what, when, where, what stays, who says so."""
    yield _what(document, notes)
    yield _when(document)
    yield Section(
        "What was erased, store by store",
        "Counted before and after by another role than the one that deleted.",
        head=("Store", *(word.title() for word in COUNTED), "Verdict", "Seen as"),
        rows=tuple(
            (store["store"], *(f"{store[word]:,}" for word in COUNTED), store["verdict"], store["vantage"])
            for store in document["stores"]
        ),
    )
    yield Section(
        "How its absence was proved",
        facts=(
            *((store["store"], f"{store['control']}; evidence {store['evidence']}") for store in document["stores"]),
            ("identifiers searched", _needles(document["needles"])),
            ("neighbours", "unchanged; nothing beyond the plan was deleted"),
        ),
    )
    yield _table(
        "What is kept, and why", document["retained"], locator="Where", n="Items", ground="Ground", until="Until"
    )
    yield _table("Copies that run out later", document["residue"], what="What", until="Until")
    yield _table("What this does not cover", document["not_covered"], what="What", reason="Why")
    yield _who(document)


def _what(document: Mapping[str, Any], notes: Sequence[str]) -> Section:
    scope = document["scope"]
    return Section(
        "Certificate of erasure",
        STAGES[document["stage"]],
        facts=(
            ("certificate", document["id"]),
            ("erasure request", document["request"]),
            ("of", f"{SCOPES[scope['kind']]}, {scope['ref']}"),
            ("issued", moment(document["issued_at"])),
            *((("takes the place of", document["supersedes"]),) if document["supersedes"] else ()),
            *(("note", note) for note in notes),
        ),
    )


def _when(document: Mapping[str, Any]) -> Section:
    clock, plan, keys = document["clock"], document["plan"], document["keys"]
    return Section(
        "When, and on whose word",
        facts=(
            ("received", moment(clock["received_at"])),
            ("due", moment(clock["due_at"]) + (", extended" if clock["extended"] else "")),
            ("plan", plan["digest"]),
            ("proposed by", plan["proposed_by"]),
            ("approved by", f"{plan['approved_by']}, {moment(plan['approved_at'])}"),
            ("writers shut out", moment(document["fence"]["closed_at"])),
            *((f"keys {name.replace('_', ' ')}", moment(at)) for name, at in keys.items() if at),
        ),
    )


def _who(document: Mapping[str, Any]) -> Section:
    stone, log, signature = document["tombstone"], document["audit"], document.get("signature")
    return Section(
        "How to check this",
        "Only the signed file proves it; this page shows what it says. Verify it with the public key alone:"
        " python -m provisioning.erasure.certificate CERTIFICATE PUBLIC_KEY STATUS_LIST",
        facts=(
            ("tombstone", f"number {stone['seq']}, {stone['hash']}"),
            ("audit log", f"chain {log['chain']}, {log['size']} entries, ends with {log['head']}"),
            ("status list", document["status_url"] or "ask whoever issued this"),
            *((("signed with", f"{signature['alg']} key {signature['key_id']}"),) if signature else ()),
        ),
    )


def _table(title: str, items: Sequence[Mapping[str, Any]], **columns: str) -> Section:
    if not items:
        return Section(title, "Nothing.")
    rows = tuple(tuple(_cell(name, item.get(name)) for name in columns) for item in items)
    return Section(title, head=tuple(columns.values()), rows=rows)


def _cell(name: str, value: Any) -> str:
    if name == "until":
        return moment(value) if value else NEVER
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _needles(needles: Mapping[str, Any]) -> str:
    return f"{needles['searched']} in {needles['places']} places: found in none"


def moment(text: str | None) -> str:
    """As people write it, with its zone; a date without a time stays one."""
    if not text:
        return NEVER
    if len(text) == len("2026-11-21"):
        return f"{date.fromisoformat(text):%d %B %Y}"
    return f"{datetime.fromisoformat(text):%d %B %Y %H:%M %Z}"
