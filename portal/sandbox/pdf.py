"""One page of text as a PDF file, written by hand: lines of Helvetica at given places, and rules between them.

Only what the standard fonts can show in Western encoding is shown; any other character becomes a question mark.
"""

from dataclasses import dataclass, field

WIDTH, HEIGHT = 595, 842  # A4 in points

# Widths of Helvetica's characters from the space on, in thousandths of the size, as Adobe's metrics give them; what is
# beyond is as wide as a digit. They serve to set sums flush right.
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
)  # fmt: skip
_DIGIT_WIDTH = 556
_CAPITAL_WIDTH = 667


@dataclass
class Page:
    """A page that is filled from above; `y` counts from the top edge, all measures are in points."""

    title: str
    _content: list[bytes] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, size: float = 10, bold: bool = False, grey: bool = False) -> None:
        """Write one line whose baseline is `y` below the top."""
        font, shade = ("F2" if bold else "F1"), ("0.4" if grey else "0")
        head = f"BT {shade} g /{font} {size:g} Tf {x:.2f} {HEIGHT - y:.2f} Td (".encode("ascii")
        self._content.append(head + _escaped(words) + b") Tj ET")

    def text_right(self, x: float, y: float, words: str, *, size: float = 10, bold: bool = False) -> None:
        """Write one line that ends at `x`."""
        self.text(x - width(words, size), y, words, size=size, bold=bold)

    def rule(self, y: float, left: float, right: float) -> None:
        """Draw a thin line across."""
        self._content.append(
            f"0.8 G 0.5 w {left:.2f} {HEIGHT - y:.2f} m {right:.2f} {HEIGHT - y:.2f} l S".encode("ascii")
        )

    def file(self) -> bytes:
        """Return the whole file."""
        content = b"\n".join(self._content)
        return _file(
            [
                b"<< /Type /Catalog /Pages 2 0 R >>",
                b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Contents 6 0 R"
                " /Resources << /Font << /F1 4 0 R /F2 5 0 R >> >> >>".encode("ascii"),
                _font("Helvetica"),
                _font("Helvetica-Bold"),
                f"<< /Length {len(content)} >>\nstream\n".encode("ascii") + content + b"\nendstream",
                b"<< /Title (" + _escaped(self.title) + b") >>",
            ]
        )


def width(words: str, size: float) -> float:
    """Return about how wide a line is: exact for figures, near enough for other characters."""
    return sum(_width_of(letter) for letter in words) * size / 1000


def fitting(words: str, room: float) -> str:
    """Return a line of the usual size, cut where it would run out of its room."""
    if width(words, 10) <= room:
        return words
    while words and width(words + "\u2026", 10) > room:
        words = words[:-1]
    return words + "\u2026"


def _width_of(letter: str) -> int:
    place = ord(letter) - 32
    if 0 <= place < len(_WIDTHS):
        return _WIDTHS[place]
    return _CAPITAL_WIDTH if letter.isupper() else _DIGIT_WIDTH


def _escaped(words: str) -> bytes:
    raw = "".join(letter if letter.isprintable() else " " for letter in words).encode("cp1252", "replace")
    return raw.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _font(name: str) -> bytes:
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode("ascii")


def _file(objects: list[bytes]) -> bytes:
    """Number the objects from 1 on, and end with the table of where each begins."""
    # The second line tells programs that copy files that this one is not text.
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode("ascii") + body + b"\nendobj\n"
    table = b"".join(f"{offset:010d} 00000 n \n".encode("ascii") for offset in offsets)
    size, start = len(objects) + 1, len(out)
    out += f"xref\n0 {size}\n".encode("ascii") + b"0000000000 65535 f \n" + table
    return (
        out
        + f"trailer\n<< /Size {size} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{start}\n%%EOF\n".encode(
            "ascii"
        )
    )
