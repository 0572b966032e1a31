import io
import zipfile
from pathlib import Path

import pytest

from phi2demo.errors import InputError
from phi2demo.ui.files import MAX_BYTES, read_document, unwrap

TEXT = "Der Zug fährt um acht.\n\nIt leaves at eight."


def pdf_with(*lines: str, password: str | None = None) -> bytes:
    """A one-page PDF with these lines in it; without any, a blank page."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    page = writer.add_blank_page(width=600, height=800)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
    )
    stream = DecodedStreamObject()
    shown = "".join(f"({line}) Tj T* " for line in lines)
    stream.set_data(f"BT /F1 12 Tf 14 TL 50 750 Td {shown} ET".encode("latin-1"))
    page[NameObject("/Contents")] = stream
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    assert PdfReader(buffer)
    return buffer.getvalue()


def docx_with(*paragraphs: str) -> bytes:
    from docx import Document

    document = Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "eight", "platform 4"
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", TEXT.encode()),
        ("a.MD", TEXT.encode()),
        ("bom.txt", b"\xef\xbb\xbf" + TEXT.encode()),
        ("utf16.txt", TEXT.encode("utf-16")),
        ("windows.txt", TEXT.replace("\n", "\r\n").encode()),
    ],
)
def test_plain_text_is_read_as_it_is(tmp_path: Path, name: str, data: bytes) -> None:
    assert read_document(write(tmp_path, name, data)) == TEXT


def test_a_pdf_gives_its_text(tmp_path: Path) -> None:
    data = pdf_with("The museum opens at ten in the morning and", "closes at six.", "Monday")
    text = read_document(write(tmp_path, "a.pdf", data))
    assert text == "The museum opens at ten in the morning and closes at six.\nMonday"


def test_a_word_document_gives_paragraphs_and_tables(tmp_path: Path) -> None:
    text = read_document(write(tmp_path, "a.docx", docx_with("The train leaves.", "It is late.")))
    assert text == "The train leaves.\nIt is late.\neight\tplatform 4"


def test_a_merged_cell_is_read_once_however_wide_it_says_it_is(tmp_path: Path) -> None:
    from docx import Document
    from docx.oxml.ns import qn

    document = Document()
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(1, 0)).text = "both rows"
    wide = table.cell(0, 1).merge(table.cell(0, 2))
    wide.text, table.cell(1, 1).text, table.cell(1, 2).text = "wide", "left", "right"
    wide._tc.tcPr.find(qn("w:gridSpan")).set(qn("w:val"), "2000000000")
    document.save(str(tmp_path / "a.docx"))
    assert read_document(tmp_path / "a.docx") == "both rows\twide\n\tleft\tright"


def test_a_word_document_is_read_no_further_than_a_text_may_be_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docx.text.paragraph import Paragraph

    read: list[str] = []
    monkeypatch.setattr(Paragraph, "text", property(lambda paragraph: read.append("x" * 400_000) or read[-1]))
    with pytest.raises(InputError, match=r"a\.docx has more than 1,000,000 characters\. Paste the part you need\."):
        read_document(write(tmp_path, "a.docx", docx_with(*["long"] * 9)))
    assert len(read) == 3


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.exe", b"MZ", "not one of .txt, .md, .pdf, .docx"),
        ("empty.txt", b"", "is empty"),
        ("spaces.txt", b"  \n ", "is empty"),
        ("image.txt", b"\x89PNG\r\n\x1a\n\x00\x00", "holds a PNG image"),
        ("photo.md", b"\xff\xd8\xff\xe0", "holds a JPEG image"),
        ("nul.txt", b"abc\x00def", "NUL bytes"),
        ("latin.txt", "fährt".encode("latin-1"), "is not in UTF-8 \\(byte 2 "),
        ("big.txt", b"a" * (MAX_BYTES + 1), "at most 10 MB"),
        ("long.txt", b"word " * 300_000, "at most 1,000,000"),
        ("text.pdf", b"just words", "is not a PDF"),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj\n<<", "damaged PDF"),
        ("scan.pdf", pdf_with(), "scanned"),
        ("secret.pdf", pdf_with("hidden", password="word"), "password"),
        ("text.docx", b"just words", "not a Word document"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_document(write(tmp_path, name, data))


def test_a_zip_that_is_no_document_and_one_that_unpacks_to_too_much(tmp_path: Path) -> None:
    for name, members, says in (
        ("other.docx", {"a.txt": b"a"}, "not a Word document"),
        ("bomb.docx", {f"{index}.xml": bytes(30 * 2**20) for index in range(7)}, "unpacks to 210 MB"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        with pytest.raises(InputError, match=says):
            read_document(tmp_path / name)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("A line that fills the page goes\non in the next one.", "A line that fills the page goes on in the next one."),
        ("The word is cut at an exam-\nple of a long line here", "The word is cut at an example of a long line here"),
        ("Title\nA line that fills the whole page", "Title\nA line that fills the whole page"),
        ("First paragraph is this long.\n\nSecond paragraph.", "First paragraph is this long.\n\nSecond paragraph."),
    ],
)
def test_printed_lines_become_paragraphs(printed: str, expected: str) -> None:
    assert unwrap(printed) == expected
