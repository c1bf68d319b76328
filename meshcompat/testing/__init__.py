"""Test kit for code that works with device meshes and process groups: docs/testing.md.

Two kinds of worlds, one way to write a case, ``fn(*args, **kwargs)``, that runs in both:

* :func:`fake_world`, :func:`each_rank`, :func:`on_every_rank`: any number of ranks in one
  process, milliseconds, no communication. For ranks, shapes, names, and the order of groups.
* :class:`GlooPool`: real processes with working collectives. For sums, hangs, and everything
  that ranks do to each other.

:func:`recorded_groups` tells which process groups were asked for, in either; :func:`assert_mesh`
compares a mesh with plain lists; :func:`reset` forgets what code under test has left behind.

pytest has both as fixtures, ``mesh_world`` and ``gloo_ranks``, wherever meshcompat is installed::

    @pytest.mark.mesh_world(8, rank=3)
    def test_ranks_of_a_mesh(mesh_world):
        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        assert_mesh(mesh, groups={"dp": [3, 7], "tp": [0, 1, 2, 3]})


    def sum_of_ranks():
        total = torch.tensor([torch.distributed.get_rank()])
        torch.distributed.all_reduce(total)
        return total.item()


    @pytest.mark.gloo_ranks(8)
    def test_all_reduce_sums_over_all_ranks(gloo_ranks):
        assert gloo_ranks.run(sum_of_ranks) == [28] * 8

Nothing else of the package imports the kit.
"""

from meshcompat.testing.assertions import assert_mesh
from meshcompat.testing.fake_world import each_rank, fake_world, on_every_rank, reset
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
    "assert_mesh",
    "each_rank",
    "fake_world",
    "on_every_rank",
    "recorded_groups",
    "reset",
]
