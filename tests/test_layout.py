"""The integer algebra, exhaustively for small shapes; the oracle is plain enumeration."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from meshcompat import _layout

SHAPES = {
    f"{count} dims": [
        shape for shape in itertools.product(sizes, repeat=count) if math.prod(shape) <= most
    ]
    for count, sizes, most in [
        (1, range(1, 13), 12),
        (2, (1, 2, 3, 4, 6), 12),
        (3, (1, 2, 3), 12),
        (4, (1, 2, 3), 8),
    ]
} | {"5 dims": [(2, 1, 3, 1, 2), (2, 2, 2, 2, 2), (1, 1, 1, 1, 1)]}

FACTORS = {
    total: [
        shape
        for count in range(1, 5)
        for shape in itertools.product(range(1, total + 1), repeat=count)
        if math.prod(shape) == total and (count == 1 or 1 not in shape)
    ]
    for total in (1, 2, 3, 4, 6, 8, 12, 16)
}
"""Every way to write a number as an ordered product of factors above 1."""


def id_of(shape):
    return "x".join(map(str, shape))


every_shape = pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)


def picks(shape):
    """Yield every ordered choice of dims of *shape*: indices, and the positions as an array."""
    grid = np.arange(math.prod(shape)).reshape(shape)
    for count in range(len(shape) + 1):
        for chosen in itertools.permutations(range(len(shape)), count):
            rest = [index for index in range(len(shape)) if index not in chosen]
            # The cosets in the order of the root, each in the order of the choice.
            yield (
                chosen,
                grid.transpose([*rest, *chosen]).reshape(-1, *(shape[index] for index in chosen)),
            )


def every_pick(shapes):
    for shape in shapes:
        for chosen, cosets in picks(shape):
            yield shape, chosen, cosets


def chosen_dims(shape, chosen):
    dims = _layout.dims_of(shape)
    return [dims[index] for index in chosen]


@every_shape
def test_dims_of_are_the_steps_of_a_row_major_array(shapes):
    for shape in shapes:
        grid = np.arange(math.prod(shape)).reshape(shape)
        for index, axes in enumerate(_layout.dims_of(shape)):
            line = np.moveaxis(grid, index, 0).reshape(shape[index], -1)[:, 0]
            assert _layout.offsets(axes) == line.tolist()
            assert _layout.size_of(axes) == shape[index]


@every_shape
def test_join_lists_positions_with_the_last_dim_fastest(shapes):
    for shape, chosen, cosets in every_pick(shapes):
        joined = _layout.join(chosen_dims(shape, chosen))
        assert _layout.offsets(joined) == cosets[0].flatten().tolist()
        assert _layout.size_of(joined) == cosets[0].size
        assert _layout.canonical(joined) == joined


@every_shape
def test_equal_axes_mean_equal_positions_and_the_other_way_round(shapes):
    axes_of = {}
    for shape, chosen, cosets in every_pick(shapes):
        joined = _layout.join(chosen_dims(shape, chosen))
        assert axes_of.setdefault(tuple(cosets[0].flatten()), joined) == joined
    assert len(set(axes_of.values())) == len(axes_of)


@every_shape
def test_outermost_first_is_the_same_ranks_in_ascending_order(shapes):
    for shape, chosen, cosets in every_pick(shapes):
        ordered = _layout.outermost_first(_layout.join(chosen_dims(shape, chosen)))
        assert _layout.offsets(ordered) == sorted(cosets[0].flatten().tolist())


@every_shape
def test_cosets_are_all_groups_in_ascending_order_of_their_first_rank(shapes):
    for shape, chosen, cosets in every_pick(shapes):
        joined = _layout.join(chosen_dims(shape, chosen))
        assert (
            list(_layout.cosets(joined, math.prod(shape)))
            == cosets.reshape(len(cosets), -1).tolist()
        )


@every_shape
def test_start_and_coordinate_place_a_position_in_its_coset(shapes):
    for shape, chosen, cosets in every_pick(shapes):
        joined = _layout.join(chosen_dims(shape, chosen))
        for coset in cosets.reshape(len(cosets), -1).tolist():
            found = [(_layout.start_of(joined, p), _layout.coordinate(joined, p)) for p in coset]
            assert found == [(coset[0], index) for index in range(len(coset))]


@every_shape
def test_derive_finds_the_dims_of_every_coset_of_every_choice(shapes):
    for shape, chosen, cosets in every_pick(shapes):
        sizes = cosets.shape[1:]
        for coset in cosets:
            derived = _layout.derive(coset.flatten().tolist(), sizes)
            assert derived == tuple(chosen_dims(shape, chosen))


@pytest.mark.parametrize("total", [1, 2, 3, 4, 6])
def test_derive_finds_a_layout_exactly_where_there_is_one(total):
    layouts = {
        tuple(cosets[0].flatten())
        for shape in FACTORS[total]
        for chosen, cosets in picks(shape)
        if len(chosen) == len(shape)
    }
    for order in itertools.permutations(range(total)):
        for shape in FACTORS[total]:
            derived = _layout.derive(order, shape)
            has_layout = order in layouts and _is_separable(np.reshape(order, shape))
            assert (derived is not None) == has_layout
            if derived is not None:
                joined = [axis for axes in derived for axis in axes]
                assert tuple(_layout.offsets(joined)) == order


@pytest.mark.parametrize(
    "positions",
    [(0, 1, 2, 4), (0, 0, 0, 0), (0, 1, 0, 1), (5, 6, 8, 7), (3, 2, 1, 0), (0, 1, 4, 6)],
    ids=id_of,
)
@pytest.mark.parametrize("shape", [(4,), (2, 2)], ids=id_of)
def test_derive_refuses_positions_that_no_layout_gives(positions, shape):
    assert _layout.derive(positions, shape) is None


@every_shape
def test_split_gives_dims_exactly_where_the_strides_allow_it(shapes):
    for shape, chosen, cosets in every_pick(shapes):
        joined = _layout.join(chosen_dims(shape, chosen))
        for sizes in FACTORS.get(cosets[0].size, ()):
            wanted = cosets[0].reshape(sizes)
            parts = _layout.split(joined, sizes)
            assert (parts is not None) == _is_separable(wanted)
            if parts is not None:
                assert [_layout.offsets(axes) for axes in parts] == _lines(wanted)
                assert _layout.join(parts) == joined


def test_split_takes_sizes_of_one_anywhere():
    assert _layout.split(((6, 2),), (1, 3, 1, 2, 1)) == ((), ((3, 4),), (), ((2, 2),), ())
    assert _layout.split((), (1, 1)) == ((), ())


@pytest.mark.parametrize("sizes", [(2, 2), (5,), (3, 4), ()], ids=id_of)
def test_split_refuses_sizes_that_do_not_multiply_up(sizes):
    assert _layout.split(((6, 1),), sizes) is None


@pytest.mark.parametrize("total", [6, 8, 12, 24])
def test_complement_exists_exactly_where_the_positions_tile_the_list(total):
    pairs = [(size, stride) for size in (1, 2, 3, 4) for stride in range(1, 9)]
    for axes in itertools.combinations_with_replacement(pairs, 2):
        starts = _tiling(_offsets(axes), total)
        complement = _layout.complement(axes, total)
        assert (complement is not None) == (starts is not None)
        if complement is not None:
            assert _layout.offsets(complement) == starts


def test_cosets_refuse_axes_that_do_not_tile():
    with pytest.raises(ValueError, match="do not tile 6 positions"):
        list(_layout.cosets(((4, 1),), 6))


def test_mesh_layout_has_the_shape_of_its_dims():
    layout = _layout.MeshLayout((2, 4), (((2, 4), (2, 1)), (), ((2, 2),)), None)
    assert layout.shape == (4, 1, 2)


def test_layout_needs_no_torch():
    """Checked in an interpreter of its own, where nobody has imported torch before."""
    code = "import sys, meshcompat._layout; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _offsets(axes):
    return [
        sum(step * stride for step, (_, stride) in zip(steps, axes, strict=True))
        for steps in itertools.product(*(range(size) for size, _ in axes))
    ]


def _lines(array):
    """Return the first line of *array* along each of its dims."""
    return [
        np.moveaxis(array, index, 0).reshape(size, -1)[:, 0].tolist()
        for index, size in enumerate(array.shape)
    ]


def _is_separable(array):
    """Return whether every entry is its first one plus a step along each dim."""
    steps = np.ix_(*(np.array(line) - array.flat[0] for line in _lines(array)))
    return bool((sum(steps) + array.flat[0] == array).all())


def _tiling(offsets, total):
    """Return where the copies begin that cover ``range(total)`` once, or None: greedily."""
    starts = []
    left = set(range(total))
    while left:
        start = min(left)
        copy = [start + offset for offset in offsets]
        if len(set(copy)) < len(copy) or not left.issuperset(copy):
            return None
        starts.append(start)
        left.difference_update(copy)
    return starts
