"""Which names a tenant's file may have. Another program may read a name differently from how it was written."""

import unicodedata
from urllib.parse import unquote

MOST_NAME_BYTES = 900  # Amazon S3 keys end at 1,024 bytes, prefix included
SLASHES = "\\\u2044\u2215\u2216\u2571\u2572\u27cb\u27cd\u29f5\u29f8"
LOOKS_LIKE_A_SLASH = dict.fromkeys(map(ord, SLASHES), "/")  # beside those that Unicode's NFKC turns into one


def is_safe(name: str) -> bool:
    """Whether a name stays below its prefix however it is read: as it is, decoded, normalised, or as it looks.

    So `..` is refused, and so are `%2e%2e` and `%252e%252e`, full-width dots, and whatever gains a slash on the way.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    if size > MOST_NAME_BYTES or not name.isprintable():
        return False
    read = name
    while (once := unicodedata.normalize("NFKC", unquote(read, errors="replace"))) != read:
        read = once  # a full-width percent sign is one only now
    read = read.translate(LOOKS_LIKE_A_SLASH)
    same_folders = read.count("/") == name.count("/")
    return same_folders and read.isprintable() and all(part.strip(" .") for part in read.split("/"))
