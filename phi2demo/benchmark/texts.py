"""Texts of 20 to 150 words with an output each, written for the benchmark. Knows nothing of models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A text, and the output whose probability is explained."""

    text: str
    output: str


EXAMPLES = (
    Example(
        "The last ferry to the island leaves at nine tonight, but the harbour office warns that strong winds may delay it.",
        " The last ferry may be late because of the wind.",
    ),
    Example(
        "My grandmother kept bees behind the house for forty years. She never wore a veil, and she spoke to the hives "
        "every morning before breakfast. When she died, my uncle sold the hives to a neighbour, and the garden has been "
        "quiet since then.",
        " She kept bees for forty years, and they were sold when she died.",
    ),
    Example(
        "The old lighthouse on the northern cliff was built by fishermen who had lost too many boats to the rocks. Every "
        "evening a keeper climbed the stairs and lit the lamp. When electricity came to the island, the last keeper "
        "stayed on for ten more years, because nobody wanted him to leave. Today a small museum shows his coat, his "
        "boots and the book in which he wrote down every storm.",
        " The lighthouse is now a museum about its last keeper.",
    ),
    Example(
        "The film begins slowly, with long shots of an empty town and almost no music. I was ready to leave after twenty "
        "minutes. Then the daughter comes home, and everything changes: the dialogue is quick and funny, the two leading "
        "actors are wonderful together, and the story takes a turn that I did not see coming. The ending is a little too "
        "neat, and one song is repeated far too often, but these are small faults. I have seen many films about families "
        "this year, and this is the one that I would watch again tomorrow.",
        " positive",
    ),
    Example(
        "For a simple soup you need two onions, three carrots, a stick of celery and a handful of lentils. Chop the "
        "vegetables into small pieces and fry them gently in oil until they are soft, which takes about ten minutes. Add "
        "the lentils, a litre of water and a spoon of salt, and let the pot stand on a low flame for half an hour. Do not "
        "cover it completely, or it will boil over. Taste the soup before you serve it. Some people like a little lemon "
        "juice or pepper at the end, and others stir in a spoon of yoghurt. It keeps for three days in a cold place and "
        "tastes even better on the second day, when the lentils have become soft.",
        " Fry the vegetables, add lentils and water, and cook for half an hour.",
    ),
    Example(
        "The town council met on Tuesday evening to decide what should happen to the old railway station, which has stood "
        "empty since the line was closed eleven years ago. Three plans were on the table. The first would turn the "
        "building into a library with a small café. The second would sell it to a company that wants to build flats. The "
        "third, brought forward by a group of young people, would make it a place for music and sport. More than a "
        "hundred citizens came to listen, and many of them spoke. Most were against the sale. After three hours the mayor "
        "said that the council needed better numbers, above all for the roof, which has been leaking for years. The "
        "decision was put off until the spring. Until then the station will stay closed, but the waiting room may be used "
        "for an exhibition of old photographs.",
        " The council put off its decision about the old railway station until the spring.",
    ),
)
