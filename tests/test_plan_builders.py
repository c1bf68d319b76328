"""A plan equals what the builders make, and refuses what they refuse in the same words."""

from __future__ import annotations

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat.plan import report
from meshcompat.plan.arguments import request_of
from meshcompat.plan.request import Request, Split
from meshcompat.testing import fake_world, recorded_groups
from tests.support import native
from tests.support.plan_cases import make, make_by_torch, requests

CASES = 60
MANY = 500


def attempt(call, request):
    """Return what a call gives, and its refusal as type and words; one of them is None."""
    try:
        return call(request), None
    except mc.MeshCompatError as error:
        return None, (type(error), str(error))


def check(request):
    """Compare the plan of a request with what is made of it; return whether it fits."""
    with fake_world(request.world_size, request.rank), recorded_groups() as groups:
        made, refusal = attempt(make, request)
        plan, refusal_on_paper = attempt(report.plan_of, request)
        assert refusal_on_paper == refusal
        if plan is None:
            # A second factorisation is asked for when the root is there.
            assert not groups or request.splits
            return False
        document = report.document_of(plan)
        assert [mesh["name"] for mesh in document["meshes"]] == list(made.meshes)
        for mesh in document["meshes"]:
            check_mesh(mesh, made.meshes[mesh["name"]], groups)
        assert document["groups_per_rank"]["meshcompat"] == made.groups
    return True


def check_mesh(planned, mesh, groups):
    """Compare one mesh of a plan with the mesh that was made."""
    assert tuple(planned["mesh_dim_names"]) == mesh.mesh_dim_names
    assert tuple(planned["shape"]) == tuple(mesh.shape)
    for index, dim in enumerate(planned["dims"]):
        group = mesh.get_group(index)
        assert dim["ranks"] == dist.get_process_group_ranks(group)
        assert dim["size"] == len(dim["ranks"])
        assert dim["groups"] == dist.get_world_size() // dim["size"]
        assert group is dist.group.WORLD or tuple(dim["ranks"]) in {each.ranks for each in groups}
    layout = mc.layout_of(mesh)
    assert [tuple(map(tuple, dim["axes"])) for dim in planned["dims"]] == list(layout.dims)


SAME_RANKS = [
    # Experts over the ranks of tp, of dp and of the world: what they share, and what not.
    Request(16, sizes={"pp": 2, "tp": 4, "ep": 4}, rank=5),
    Request(16, sizes={"pp": 2, "tp": 2, "ep": 2, "cp": 2}, rank=3),
    Request(8, sizes={"ep": 8}, rank=1),
    Request(8, sizes={"tp": 8, "ep": 4}, splits=(Split("tp", (8, 1), ("x", "y")),)),
    # One mesh dim in several sizes under the same names.
    request_of({"mesh": "a=2,b=4", "unflatten": ["b=2x2:x,y", "b=4x1:x,y", "b=2x2:y,x"]}),
]


@pytest.mark.parametrize("request_", SAME_RANKS, ids=str)
def test_a_plan_counts_what_is_shared_as_the_builders_do(request_):
    assert check(request_)


def check_all(count, seed):
    fitting = sum(map(check, requests(count, seed)))
    assert count // 3 < fitting < count


def test_a_plan_equals_what_the_builders_make():
    check_all(CASES, seed=1)


@pytest.mark.soak
def test_many_plans_equal_what_the_builders_make():
    check_all(MANY, seed=2)


def check_torch(request):
    """Compare the number of groups with what torch's own calls make; return whether it fits."""
    with fake_world(request.world_size, request.rank):
        made, _ = attempt(make, request)
    if made is None:
        return False
    counts = report.plan_of(request).counts
    with fake_world(request.world_size, request.rank):
        assert counts.torch.groups == make_by_torch(request, made)
    return True


@pytest.mark.parametrize(
    ("count", "seed"), [(CASES, 3), pytest.param(MANY, 4, marks=pytest.mark.soak)]
)
def test_the_groups_of_torch_are_what_its_own_calls_make(count, seed):
    try:
        native.require("_unflatten")
    except native.Absent as absent:
        pytest.skip(f"{absent}: a plan counts the calls of torch 2.10 and later")
    assert sum(map(check_torch, requests(count, seed))) > count // 3
