"""A certificate that people can read: all it says is on the page and on the paper, and nothing in it is markup."""

import re
import zlib
from base64 import a85decode
from typing import Any

from controlplane.certificate_page import page
from controlplane.certificate_pdf import pdf
from tests.provisioning.erasure.test_certificate import LIVE, changed

SAID = ("48,211", "pool_rows", "control:invoice", "tax law", "31 December 2036", "base backups of cluster eu-1", "W-12")


def text_of(paper: bytes) -> str:
    """What the paper shows: the texts of its pages' streams, one after the other."""
    streams = re.findall(rb"stream\r?\n(.*?)~>endstream", paper, re.DOTALL)
    pages = b"".join(zlib.decompress(a85decode(stream)) for stream in streams)
    texts = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", pages)
    shown = b" ".join(re.sub(rb"\\([()\\])", rb"\1", text) for text in texts)
    return re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), shown).decode("cp1252")


def test_the_page_and_the_paper_say_what_the_document_says() -> None:
    shown: dict[str, Any] = {**LIVE, "signature": {"alg": "Ed25519", "key_id": "abcd", "value": "x"}}
    notes = ("LATE: by a day",)
    for text in (str(page(shown, notes=notes)), text_of(pdf(shown, notes=notes))):
        for words in (*SAID, LIVE["id"], LIVE["request"], *notes, "abcd"):
            assert words in text, words
    assert pdf(shown) == pdf(shown)
    assert pdf(shown).startswith(b"%PDF-")


def test_what_somebody_typed_is_no_markup() -> None:
    typed = changed("retained.0.ground", "<b>§ 147 AO</b> & Ελλάδα")
    assert "&lt;b&gt;§ 147 AO&lt;/b&gt; &amp; Ελλάδα" in str(page(typed))
    assert "<b>§ 147 AO</b> & \\u0395" in text_of(pdf(typed))
