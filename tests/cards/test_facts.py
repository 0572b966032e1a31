""""""

import pytest

from phi2demo.cards.facts import NOT_STATED, find_data_set


@pytest.mark.parametrize(
    ("name", "licence", "share_alike"),
    [
        ("tatoeba.en-de", "CC BY 2.0 FR", False),
        ("african_storybook.en-fr", "CC BY", False),
        ("african_storybook_en", "CC BY", False),
        ("wikipedia2015_leads", "CC BY-SA 3.0", True),
        ("wikipedia2015_first_sentence", "CC BY-SA 3.0", True),
        ("gap_sentences.wikipedia2015_leads", "CC BY-SA 3.0", True),
        ("scitldr_a", "Apache-2.0", False),
        ("squad_v1.1_dev", "CC BY-SA 4.0", True),
        ("tinystories_sample", "CDLA-Sharing-1.0", False),
        ("rt_polarity", "CC BY 4.0", False),
    ],
)
def test_licences(name: str, licence: str, share_alike: bool) -> None:
    result = find_data_set(name)
    assert (result.licence, result.share_alike) == (licence, share_alike)
    assert result.attribution != NOT_STATED
    assert result.note


def test_pages_and_pairs_of_one_collection_are_told_apart() -> None:
    assert find_data_set("african_storybook.en-fr").languages == ("en", "fr")
    assert find_data_set("african_storybook_en").languages == ("en",)


def test_an_unknown_set_is_named_and_nothing_more() -> None:
    result = find_data_set("my_letters")
    assert (result.title, result.licence, result.attribution) == ("my_letters", NOT_STATED, NOT_STATED)
