"""Groups that are split off from a world with a bound device: no GPU here, but the same calls."""

from __future__ import annotations

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat._eras import process_groups
from meshcompat.testing import each_rank


@pytest.mark.parametrize("ranks", [[1, 2, 5, 7], list(range(8))], ids=["some ranks", "all ranks"])
def test_every_rank_of_the_world_has_a_part_in_each_split(monkeypatch, ranks):
    splits = []

    def split_group(*, split_ranks, timeout, **_):
        splits.append(split_ranks)
        groups = [dist.new_group(part, timeout=timeout) for part in split_ranks]
        return next(group for group in groups if group != dist.GroupMember.NON_GROUP_MEMBER)

    monkeypatch.setattr(dist, "split_group", split_group, raising=False)
    monkeypatch.setattr(process_groups, "splits_world", lambda _: True)
    for rank in each_rank(8):
        mesh = mc.init_device_mesh(
            "cpu", (2, len(ranks) // 2), mesh_dim_names=("dp", "tp"), ranks=ranks, timeout=60
        )
        mc.flatten(mesh, "dp_tp")
        assert mc.is_member(mesh) == (rank in ranks)
        if rank in ranks:
            assert dist.get_process_group_ranks(mesh.get_group("tp")) == mc.get_ranks(mesh, "tp")
    for split in splits:
        assert sorted(rank for part in split for rank in part) == list(range(8))
    assert len(splits) == 3 * 8
