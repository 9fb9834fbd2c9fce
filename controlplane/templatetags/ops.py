"""Template tags of the admin's own components: badges, times, ids. Each renders text for people, never bare colour."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from controlplane.admin import words
from controlplane.admin.actors import actor
from controlplane.admin.labels import label
from controlplane.admin.redaction import redacted
from controlplane.admin.words import NOTHING

register = template.Library()

MS = 1_000  # of a second


@register.simple_tag
def badge(kind: str, state: str, text: str = "") -> SafeString:
    """A state as icon and word. `text` replaces the word where a page can say it better."""
    shown = label(kind, state)
    return format_html(
        '<span class="tn-badge tn-{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>{}</span>',
        shown.tone,
        shown.icon,
        text or shown.word,
    )


@register.simple_tag
def counted_badge(kind: str, state: str, number: int) -> SafeString:
    """How many are in a state: `3 error`."""
    return badge(kind, state, f"{number} {label(kind, state).word}")


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html('<span class="material-symbols-outlined tn-icon" aria-hidden="true">{}</span>', name)


@register.simple_tag
def moment(at: datetime | None, missing: str = NOTHING) -> SafeString:
    """A point in time, absolute with its zone and relative beside it. ops.js counts the relative part on."""
    if at is None:
        return format_html('<span class="tn-faint">{}</span>', missing)
    at = at.astimezone(timezone.get_default_timezone())
    now = timezone.now()
    day = "" if at.date() == now.date() else "%d %b " if at.year == now.year else "%d %b %Y "
    shown = at.strftime(f"{day}%H:%M:%S UTC" if not day else f"{day}%H:%M UTC")
    return format_html(
        '<time datetime="{}"><span>{}</span> <span class="tn-faint" data-ago>{}</span></time>',
        at.isoformat(timespec="milliseconds"),
        shown,
        words.ago(now - at),
    )


@register.simple_tag
def now_moment() -> SafeString:
    return moment(timezone.now())


@register.filter
def as_moment(text: str) -> SafeString:
    """A time that is stored as ISO 8601 text."""
    return moment(datetime.fromisoformat(text))


@register.inclusion_tag("admin/parts/filter_row.html")
def filter_row(cl: Any, spec: Any) -> dict[str, Any]:
    """The choices of one filter, as links that keep the others."""
    return {"title": spec.title, "choices": list(spec.choices(cl))}


@register.simple_tag
def page_url(cl: Any, step: int) -> str:
    """The same list, that many pages on."""
    url: str = cl.get_query_string({"p": cl.page_num + step})
    return url


@register.simple_tag
def who(row: Any, field: str = "actor") -> SafeString:
    """Who did it, of a row read by `with_actor_names`."""
    return actor(row, field)


@register.simple_tag
def ident(value: str, what: str = "id") -> SafeString:
    """An id in monospace with a button that copies it."""
    return format_html(
        '<span class="tn-ident"><code>{0}</code><button type="button" class="tn-copy" data-copy="{0}" '
        'aria-label="Copy {1} {0}"><span class="material-symbols-outlined" aria-hidden="true">content_copy</span>'
        "</button></span>",
        value,
        what,
    )


@register.filter
def duration(length: timedelta | float | None) -> str:
    return words.duration(length)


@register.filter
def ms(milliseconds: float) -> str:
    """`812 ms`; as a duration from a second on."""
    return f"{milliseconds:.0f} ms" if milliseconds < MS else words.duration(milliseconds / MS)


@register.filter
def brief(length: timedelta) -> str:
    return words.brief(length)


@register.filter
def size(count: int) -> str:
    return words.size(count)


@register.filter
def number(count: int | None) -> str:
    """`48,211`; a question mark where nobody knows."""
    return "?" if count is None else f"{count:,}"


@register.filter
def pretty(value: Mapping[str, Any]) -> str:
    """JSON for reading, with anything that is named like a secret blanked."""
    return json.dumps(redacted(value), indent=2, ensure_ascii=False, default=str)


@register.filter
def percent(share: float) -> str:
    """A share of 1 as a CSS percentage, with a point in every locale."""
    return f"{share * 100:.3f}%"


@register.filter
def state_word(state: str, kind: str) -> str:
    """The word of a state, where a badge would be too loud."""
    return label(kind, state).word


@register.simple_tag
def legend(kind: str, *states: str) -> SafeString:
    """What the squares of a drawing mean: letter, colour and word of each state."""
    shown = [label(kind, state) for state in states]
    square = '<span><span class="tn-square tn-{}">{}</span> {}</span>'
    return format_html_join(" ", square, ((each.tone, each.letter, each.word) for each in shown))
