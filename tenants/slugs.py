"""Which slugs a tenant may have: a DNS label that nobody can mistake for one of our own host names."""

import re

from tenants.errors import TenureError

SLUG = re.compile(r"[a-z][a-z0-9-]{1,46}[a-z0-9]")  # RFC 1035 §2.3.1, shortened so that prefixes and suffixes still fit

RESERVED = frozenset(
    "admin api app assets auth billing blog cdn console control dashboard dev docs ftp health help internal localhost "
    "login mail media metrics ns1 ns2 ops postgres public root signup smtp sso staging static status support system "
    "template tenure test www".split()
)


class BadSlug(TenureError):
    """The slug cannot be part of a host name."""

    code = "BAD_SLUG"
    cure = "Use 3 to 48 characters a-z, 0-9 and -, beginning with a letter and not ending with -."


class ReservedSlug(TenureError):
    """The slug is kept for the product's own host names."""

    code = "RESERVED_SLUG"
    cure = "Choose another slug, for example with the customer's name in it."


def checked_slug(slug: str) -> str:
    """The slug itself, or BadSlug / ReservedSlug. ASCII only: look-alikes are refused with the rest."""
    if not SLUG.fullmatch(slug):
        raise BadSlug(f"{slug[:60]!r} is not a usable slug.")
    if slug in RESERVED or slug.startswith(("xn--", "t-")):
        raise ReservedSlug(f"{slug!r} is reserved.")
    return slug
