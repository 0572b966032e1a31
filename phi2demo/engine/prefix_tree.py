"""Which token prefixes have their keys and values kept, and where. Knows nothing of torch."""

from collections.abc import Sequence


class PrefixTree:
    """A trie over token ids whose nodes are slots of a store, numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._children)

    def known(self, ids: Sequence[int]) -> list[int]:
        """Slots of the longest prefix of `ids` that is there."""
        slots: list[int] = []
        node = -1
        for token in ids:
            slot = self._children.get((node, token))
            if slot is None:
                break
            slots.append(slot)
            node = slot
        return slots

    def add(self, slots: list[int], ids: Sequence[int]) -> None:
        """Continue the path `slots` with new nodes for `ids`; their slots are appended to it."""
        node = slots[-1] if slots else -1
        for token in ids:
            slot = len(self._children)
            self._children[node, token] = slot
            slots.append(slot)
            node = slot

    def clear(self) -> None:
        """Forget all prefixes; slots are numbered from 0 again."""
        self._children.clear()
