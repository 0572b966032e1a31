import re

import pytest

from phi2demo.ui.markdown_html import render, slug

PICTURE = ("image/svg+xml", b"<svg onload='x'/>")


def find(name: str) -> tuple[str, bytes] | None:
    return PICTURE if name == "loss curve.svg" else None


@pytest.mark.parametrize(
    "text",
    [
        "a <script>alert(1)</script> b",
        "<script>\nalert(1)\n</script>",
        '<img src="x" onerror="alert(1)">',
        '<div onclick="alert(1)">\nblock\n</div>',
        "<style>* { display: none }</style>",
        '<iframe src="https://example.org"></iframe>',
        '<svg><a xlink:href="javascript:alert(1)">x</a></svg>',
        "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,<script>alert(1)</script>)",
        "[a]( java\tscript:alert(1)) [b](vbscript:x) [c](file:///etc/passwd) [d](//example.org/x)",
        "<javascript:alert(1)>",
        '[a](https://example.org/"onmouseover="alert(1))',
        '[a](https://example.org "t" onmouseover="alert(1)")',
        '![" onerror="alert(1)](x.png)',
        "![x](https://example.org/tracker.png)",
        "| <img src=x onerror=alert(1)> |\n| --- |\n| <script>alert(1)</script> |",
        "```html\n<script>alert(1)</script>\n```",
        "`<script>alert(1)</script>`",
        '# <a name="x" onclick="alert(1)">T</a>',
        "<scr<script>ipt>alert(1)</script>",
        "<!-- <script>alert(1)</script> -->",
        "<details open ontoggle=alert(1)>\n\n<summary>s</summary>\n\n</details>",
    ],
)
def test_nothing_of_a_text_runs_or_is_fetched(text: str) -> None:
    """Of every tag in the HTML, name and attributes are those that we write."""
    html = render(text, find_picture=find, home="https://example.org/m").html
    tags = re.findall(r"<\s*/?\s*([a-zA-Z0-9]+)([^>]*)>", html)
    allowed = {"p", "a", "br", "code", "pre", "div", "button", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert {name for name, _ in tags} <= allowed | {"h2", "em"}
    for name, attributes in tags:
        names = set(re.findall(r"([\w-]+)=\"", re.sub(r"=\"[^\"]*\"", '="', attributes)))
        assert names <= {
            "href",
            "target",
            "rel",
            "class",
            "type",
            "tabindex",
            "role",
            "aria-label",
            "id",
            "data-label",
        }, (
            name,
            names,
        )
    for address in re.findall(r'href="([^"]*)"', html):
        assert address.startswith(("https://", "#card-"))


def test_text_around_raw_html_is_kept() -> None:
    assert render("a <b>fat</b> cat").html == "<p>a fat cat</p>\n"
    assert render("<div align=center>\nA &amp; B\n</div>").html == "<p>A &amp; B</p>\n"
    assert render("one<br>two<br/>three").html == "<p>one<br>two<br>three</p>\n"
    assert render(r"\<script\> &lt;b&gt;").html == "<p>&lt;script&gt; &lt;b&gt;</p>\n"


def test_pictures_of_the_card_are_data_and_others_are_named() -> None:
    html = render("![The loss](loss%20curve.svg) ![far](https://x.org/a.png) ![](none.png)", find_picture=find).html
    assert '<img src="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9J3gnLz4=" alt="The loss">' in html
    assert "Picture, not shown here: far" in html
    assert "Picture, not shown here: without a description" in html


def test_links_lead_to_the_web_mail_headings_and_files_at_home() -> None:
    text = "[a](https://x.org/?b=1&c=2) [b](mailto:a@x.org) [c](#My-Part) [d](data/README.md) [e](../../x)"
    html = render(text, home="https://huggingface.co/a/b/blob/main").html
    assert '<a href="https://x.org/?b=1&amp;c=2" target="_blank" rel="noopener noreferrer nofollow">a</a>' in html
    assert '<a href="mailto:a@x.org"' in html
    assert '<a href="#card-my-part">c</a>' in html
    assert '<a href="https://huggingface.co/a/b/blob/main/data/README.md"' in html
    assert "</a> e</p>" in html
    assert render("[d](data/README.md)").html == "<p>d</p>\n"


def test_headings_are_below_the_pages_and_can_be_linked() -> None:
    result = render("# T\n\n## Uses & `code`\n\n### Part\n\n## Part\n\n###### Deep")
    assert result.sections == [("card-uses--code", "Uses & code"), ("card-part-1", "Part")]
    assert '<h2 id="card-t">' in result.html
    assert '<h4 id="card-part">' in result.html
    assert '<h6 id="card-deep">' in result.html
    assert slug("Bias, Risks, and Limitations") == "bias-risks-and-limitations"


def test_tables_scroll_inside_themselves_and_code_can_be_copied() -> None:
    html = render("| a | b |\n| --- | ---: |\n| 1 | `x\\|y` |\n\n```python\nprint('<')\n```").html
    assert html.startswith('<div class="scroll stacks" role="region" aria-label="Table 1" tabindex="0"><table>')
    assert "<code>x|y</code>" in html
    assert '<button type="button" class="copy">Copy</button><pre tabindex="0"><code>print(&#x27;&lt;&#x27;)' in html


def test_deep_nesting_ends() -> None:
    assert render("> " * 500 + "deep\n\n" + "[" * 2000 + "x").html.endswith("x</p>\n")


def test_a_cell_tells_its_column_where_there_is_no_room_for_columns() -> None:
    html = render('| Task | `n` "x" |\n| --- | --- |\n| a | 3 |\n\n| Other |\n| --- |\n| b |').html
    assert '<td data-label="Task">a</td>' in html
    assert '<td data-label="n &quot;x&quot;">3</td>' in html
    assert '<td data-label="Other">b</td>' in html


def test_a_head_without_a_name_is_a_cell_and_tables_are_numbered() -> None:
    html = render("|  | value |\n| --- | --- |\n| a | 3 |\n\n| b |\n| --- |\n| c |").html
    assert "<thead>\n<tr>\n<td></td>\n<th>value</th>\n</tr>" in html
    assert re.findall('aria-label="(.*?)"', html) == ["Table 1", "Table 2"]
