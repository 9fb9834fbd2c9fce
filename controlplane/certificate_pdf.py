"""A certificate of erasure on paper. What it proves is in the signed file; the paper says how to check that."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from controlplane.certificate_page import Section, sections
from provisioning.erasure.certificate import canonical

MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8.5, leading=11)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=7, leading=9, wordWrap="CJK")  # hashes have no spaces to break at
HEAD = ParagraphStyle("head", parent=SMALL, fontName="Helvetica-Bold")
TITLE = ParagraphStyle("title", parent=BODY, fontName="Helvetica-Bold", fontSize=17, leading=22)
SUBTITLE = ParagraphStyle("subtitle", parent=BODY, fontName="Helvetica-Bold", fontSize=11, leading=15, spaceBefore=9)
LINES = TableStyle(
    [
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.HexColor("#9ca3af")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ]
)


def pdf(document: Mapping[str, Any], *, notes: Sequence[str] = ()) -> bytes:
    """A4, from the whole signed document. The same one gives the same bytes: a paper can be compared with the file."""
    digest = sha256(canonical(document)).hexdigest()
    out = BytesIO()
    paper = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=f"Certificate of erasure {document['id']}",
        author="Tenure",
        invariant=1,
    )

    def foot(canvas: Any, made: Any) -> None:
        canvas.setFont("Helvetica", 6.5)
        canvas.drawString(MARGIN, 10 * mm, f"SHA-256 of the signed file: {digest}")
        canvas.drawRightString(A4[0] - MARGIN, 10 * mm, f"page {made.page}")

    flowing = [part for number, each in enumerate(sections(document, notes=notes)) for part in _part(each, number)]
    paper.build(flowing, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _part(section: Section, number: int) -> Iterator[Flowable]:
    yield Paragraph(_text(section.title), SUBTITLE if number else TITLE)
    if section.said:
        yield Paragraph(_text(section.said), BODY)
    if section.facts:
        rows = [
            [Paragraph(_text(name.capitalize()), HEAD), Paragraph(_text(value), SMALL)] for name, value in section.facts
        ]
        yield Table(rows, colWidths=[0.22 * WIDTH, 0.78 * WIDTH], style=LINES, hAlign="LEFT")
    if section.rows:
        head = [Paragraph(_text(name), HEAD) for name in section.head]
        rows = [head, *([Paragraph(_text(value), SMALL) for value in row] for row in section.rows)]
        yield Table(rows, colWidths=[WIDTH / len(head)] * len(head), style=LINES, repeatRows=1, hAlign="LEFT")
    yield Spacer(1, 2 * mm)


def _text(value: str) -> str:
    """For the fonts that every reader has: what they cannot draw is written as its number, never left out."""
    return escape(value.encode("cp1252", "backslashreplace").decode("cp1252"))
