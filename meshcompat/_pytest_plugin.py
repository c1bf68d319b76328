"""The kit's fixtures for pytest. Loaded in every run of pytest: torch waits until a test asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshcompat.testing import GlooPool

_MARKERS = {
    "mesh_world(world_size, rank=0)": "the fake world of the fixture mesh_world; with several "
    "ranks, such as rank=range(8), the test runs once on each",
    "gloo_ranks(world_size=4, **options)": "the real ranks of the fixture gloo_ranks; options are "
    "those of meshcompat.testing.GlooPool",
}
_DEFAULT_RANKS = 4


class MeshWorld(NamedTuple):
    """The fake world that a test is in, as the fixture ``mesh_world`` gives it."""

    world_size: int
    rank: int


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test run on each of the ranks that its marker names."""
    marker = metafunc.definition.get_closest_marker("mesh_world")
    if "mesh_world" not in metafunc.fixturenames or marker is None:
        return
    world_size, rank = _asked_world(*marker.args, **marker.kwargs)
    if not isinstance(rank, int):
        worlds = [MeshWorld(world_size, one) for one in rank]
        ids = [f"rank{world.rank}" for world in worlds]
        metafunc.parametrize("mesh_world", worlds, ids=ids, indirect=True)


def _asked_world(world_size: int, rank: Any = 0) -> tuple[int, Any]:
    return world_size, rank


@pytest.fixture
def mesh_world(request: pytest.FixtureRequest) -> Iterator[MeshWorld]:
    """Be one rank of a fake world; ``@pytest.mark.mesh_world(8, rank=3)`` says which, of how many.

    The world is made of torch's fake backend: ranks, shapes and the order of groups are real,
    collectives compute nothing. It ends with the test.
    """
    from meshcompat.testing import fake_world  # noqa: PLC0415  (imports torch)

    marker = request.node.get_closest_marker("mesh_world")
    if marker is None:
        raise pytest.UsageError(
            f"{request.node.nodeid} uses the fixture mesh_world and does not say how many ranks "
            f"the world has; add a marker such as @pytest.mark.mesh_world(8, rank=3)"
        )
    world = getattr(request, "param", None) or MeshWorld(
        *_asked_world(*marker.args, **marker.kwargs)
    )
    with fake_world(world.world_size, world.rank):
        yield world


@pytest.fixture
def gloo_ranks(request: pytest.FixtureRequest, _pool_of: Callable[..., GlooPool]) -> GlooPool:
    """Real ranks that talk over gloo; ``@pytest.mark.gloo_ranks(8)`` says how many, by default 4.

    Tests with the same marker share the processes, and each case begins with a new default
    process group. A rank that raises, dies or hangs is named, and the run goes on.
    """
    marker = request.node.get_closest_marker("gloo_ranks")
    args, options = ((), {}) if marker is None else (marker.args, marker.kwargs)
    return _pool_of(*args, **options)


@pytest.fixture(scope="session")
def _pool_of() -> Iterator[Callable[..., GlooPool]]:
    """Give the pool of some options, one for the whole run."""
    from meshcompat.testing import GlooPool  # noqa: PLC0415  (imports torch)

    pools: dict[str, GlooPool] = {}

    def pool_of(world_size: int = _DEFAULT_RANKS, **options: Any) -> GlooPool:
        key = repr((world_size, sorted(options.items())))
        if key not in pools:
            pools[key] = GlooPool(world_size, **options)
        return pools[key]

    try:
        yield pool_of
    finally:
        for pool in pools.values():
            pool.close()
