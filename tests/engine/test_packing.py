""""""

import numpy as np

from phi2demo.engine.packing import PrefixTree, Segment, make_groups, make_pack


def test_a_tree_knows_the_longest_prefix() -> None:
    tree = PrefixTree()
    path: list[int] = []
    tree.add(path, (5, 6, 7))
    assert path == [0, 1, 2]
    assert tree.known((5, 6, 9)) == [0, 1]
    assert tree.known((6,)) == []
    branch = tree.known((5, 6, 9))
    tree.add(branch, (9,))
    assert branch == [0, 1, 3]
    assert tree.known((5, 6, 9)) == [0, 1, 3]
    tree.clear()
    assert (len(tree), tree.known((5,))) == (0, [])


def test_a_shared_prefix_is_in_a_pack_once() -> None:
    tree = PrefixTree()
    pack = make_pack(tree, [(1, 2, 3), (1, 2, 4), (1, 2, 3)], [(7,), (8, 9), (7, 8)])
    assert pack.tokens.tolist() == [1, 2, 3, 4, 7, 8, 9, 7, 8]
    assert pack.positions.tolist() == [0, 1, 2, 2, 3, 3, 4, 3, 4]
    assert (pack.first_slot, pack.prefix_tokens, len(tree)) == (0, 4, 4)
    again = make_pack(tree, [(1, 2, 3, 5)], [(7,)])
    assert again.tokens.tolist() == [5, 7]
    assert again.positions.tolist() == [3, 4]
    assert again.first_slot == 4, "tails are not kept: their slots are used again"


def test_every_query_sees_its_own_past() -> None:
    pack = make_pack(PrefixTree(), [(1, 2), (1, 3, 4)], [(7, 8), (9,)])
    seen: dict[int, list[int]] = {}
    for group in pack.groups:
        visible = group.visible.reshape(-1, group.visible.shape[-1])
        keys = np.repeat(group.keys, group.queries.shape[1], axis=0)
        for number, position in zip(group.numbers, group.real, strict=True):
            seen[int(number)] = keys[position][visible[position]].tolist()
    # packed as 1 2 | 3 4 | 7 8 | 9
    assert seen == {0: [0], 1: [0, 1], 2: [0, 2], 3: [0, 2, 3], 4: [0, 1, 4], 5: [0, 1, 4, 5], 6: [0, 2, 3, 6]}


def test_neighbours_of_one_length_need_no_gathering() -> None:
    alike = [Segment(first, 4, list(range(10))) for first in (8, 12, 16)]
    assert [group.run(8) for group in make_groups(alike)] == [slice(0, 12)]
    assert [group.run() for group in make_groups(alike[::2])] == [None]
    padded = [Segment(0, 3, list(range(9))), Segment(3, 4, list(range(10)))]
    assert [group.run() for group in make_groups(padded)] == [None]


def test_segments_of_unlike_shape_are_apart() -> None:
    alike = [Segment(first, 4, list(range(10))) for first in (0, 4, 8)]
    assert len(make_groups(alike)) == 1
    assert len(make_groups([*alike, Segment(12, 40, list(range(50)))])) == 2
    assert make_groups([]) == ()
