"""Test kit for code that works with device meshes and process groups.

Two kinds of worlds, one way to write a case, ``fn(*args, **kwargs)``, that runs in both:

* :func:`fake_world`, :func:`each_rank`, :func:`on_every_rank`: any number of ranks in one
  process, milliseconds, no communication. For ranks, shapes, names, and the order of groups.
* :class:`GlooPool`: real processes with working collectives. For sums, hangs, and everything
  that ranks do to each other.

:func:`recorded_groups` tells which process groups were asked for, in either.

A suite usually keeps one pool for the whole run::

    @pytest.fixture(scope="session")
    def pool():
        with GlooPool(world_size=8) as pool:
            yield pool


    def sum_of_ranks():
        total = torch.tensor([torch.distributed.get_rank()])
        torch.distributed.all_reduce(total)
        return total.item()


    def test_all_reduce_sums_over_all_ranks(pool):
        assert pool.run(sum_of_ranks) == [28] * 8

The kit needs torch, the standard library, and of this package what reads torch's private state;
nothing else of the package imports it.
"""

from meshcompat.testing.fake_world import each_rank, fake_world, on_every_rank
from meshcompat.testing.gloo_pool import GlooPool
from meshcompat.testing.rank_errors import RankDied, RankError, RankFailure, RankTimeout
from meshcompat.testing.recorded_groups import GroupRecord, recorded_groups

__all__ = [
    "GlooPool",
    "GroupRecord",
    "RankDied",
    "RankError",
    "RankFailure",
    "RankTimeout",
    "each_rank",
    "fake_world",
    "on_every_rank",
    "recorded_groups",
]
