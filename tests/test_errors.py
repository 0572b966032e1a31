"""How a message quotes what was wrong."""

import pytest

from phi2demo.errors import listed, quoted, shortened

LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Tom's", '"Tom\'s"'),
        ("a\nb", r"'a\nb'"),
        (3, "3"),
        (LONG, f"'{'x' * 60}…'"),
        ([LONG], f"['{'x' * 58}…"),
    ],
)
def test_a_value_is_quoted_as_python_writes_it(value: object, told: str) -> None:
    assert quoted(value) == told


def test_names_are_shortened_each_and_together() -> None:
    assert shortened("a name") == "a name"
    assert listed(["a", LONG]) == f"a, {'x' * 60}…"
    assert listed(map(str, range(22))).endswith("18, 19 and 2 more")
    assert listed(()) == ""
