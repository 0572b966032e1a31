"""shap's text masker with the same masked texts and the same tree, which are built in less time."""

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ENDS_OPEN = re.compile(r"^.*\W$")
_LETTER = re.compile(r"^[A-Za-z]")


def make_masker(tokenizer: Any) -> Any:
    """A `shap.maskers.Text`."""
    import numpy as np
    import shap

    class Text(shap.maskers.Text):
        """Only its tree and, for a tokenizer that adds nothing of its own, its masked texts are built anew."""

        def __call__(self, mask: "NDArray[np.bool_]", s: str) -> "tuple[NDArray[np.str_]]":
            self._update_s_cache(s)
            kept = self._standardize_mask(mask, s)
            added = self.keep_prefix or self.keep_suffix or getattr(self.tokenizer, "sep_token", None) is not None
            if added or not self.collapse_mask_token or self.output_type != "string" or "▁" in s:  # a space to some
                masked: tuple[NDArray[np.str_]] = super().__call__(mask, s)
                return masked
            return (np.array([masked_text(self._segments_s, kept, self.mask_token)]),)

        def clustering(self, s: str) -> "NDArray[np.float64]":
            self._update_s_cache(s)
            separator = getattr(self.tokenizer, "sep_token", None)
            tree = partition_tree(joined_marks(list(self._segments_s)), [] if separator is None else [separator])
            tree[:, 2] = tree[:, 3] / tree[:, 3].max()
            return tree

    return Text(tokenizer)


def masked_text(segments: "NDArray[np.str_]", kept: "NDArray[np.bool_]", mark: str) -> str:
    """The kept segments with `mark` for each run of others, and single spaces."""
    import numpy as np

    first = ~kept  # of each run
    first[1:] &= kept[:-1]
    return " ".join("".join(np.where(kept, segments, " " + mark)[kept | first].tolist()).split())


def joined_marks(segments: list[str]) -> list[str]:
    """Stripped segments; those that go on with a word begin with ##."""
    tokens: list[str] = []
    for at, segment in enumerate(segments):
        inside = at > 0 and not _ENDS_OPEN.match(segments[at - 1]) and _LETTER.match(segment) and tokens[at - 1] != ""
        tokens.append(("##" if inside else "") + segment.strip())
    return tokens


def partition_tree(tokens: list[str], special_tokens: list[str]) -> "NDArray[np.float64]":
    """What `shap.maskers._text.partition_tree` gives: a linkage matrix by merge score.

    There all scores are computed again after each merge; only those of the two neighbours can have changed.
    """
    import numpy as np
    from shap.maskers._text import Token, TokenGroup, merge_score, openers

    count = len(tokens)
    groups = [TokenGroup([Token(token)], at) for at, token in enumerate(tokens)]
    scores = [merge_score(left, right, special_tokens) for left, right in pairwise(groups)]
    tree = np.zeros((count - 1, 4))
    for step in range(count - 1):
        at = int(np.argmax(scores))
        left, right = groups[at], groups.pop(at + 1)
        sizes = sum(tree[group.index - count, 3] if group.index >= count else 1 for group in (left, right))
        tree[step] = left.index, right.index, 10 - scores.pop(at), sizes
        merged = groups[at] = left + right
        merged.index = count + step
        if merged[0].s in openers and right[-1].s == openers[merged[0].s]:
            merged[0].balanced = right[-1].balanced = True
        for pair in (at - 1, at):
            if 0 <= pair < len(scores):
                scores[pair] = merge_score(groups[pair], groups[pair + 1], special_tokens)
    return tree
