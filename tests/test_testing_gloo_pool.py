"""The kit's pool on a good day: what runs on ranks, with what, in which world."""

import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass

import pytest
import torch
import torch.distributed as dist

from meshcompat.testing import GlooPool, RankFailure

pytestmark = pytest.mark.multiprocess

STATE = []


@dataclass
class Box:
    """Defined here, so that it reaches a rank only if the rank finds this file."""

    value: int


@pytest.fixture(scope="module")
def pool():
    with GlooPool(world_size=4, timeout=60, grace=0.5) as pool:
        yield pool


def sum_of_ranks(group=None):
    total = torch.tensor([dist.get_rank()])
    dist.all_reduce(total, group=group)
    return total.item()


def open_box(box):
    return Box(box.value + dist.get_rank())


def remember(value):
    STATE.append(value)
    return len(STATE)


def test_pool_returns_results_in_rank_order(pool):
    assert pool.run(dist.get_rank) == [0, 1, 2, 3]


def test_pool_runs_collectives_that_compute(pool):
    assert pool.run(sum_of_ranks) == [6] * 4


def test_pool_runs_groups_of_some_ranks(pool):
    def sum_in_pairs():
        groups = [dist.new_group([0, 2]), dist.new_group([1, 3])]
        return sum_of_ranks(groups[dist.get_rank() % 2])

    assert pool.run(sum_in_pairs) == [2, 4, 2, 4]


def test_pool_passes_arguments(pool):
    assert pool.run(divmod, 17, 5) == [(3, 2)] * 4
    assert pool.run(sorted, [2, 3, 1], reverse=True) == [[3, 2, 1]] * 4


def test_pool_sends_and_returns_objects_of_the_test_module(pool):
    assert pool.run(open_box, Box(40)) == [Box(40), Box(41), Box(42), Box(43)]


@pytest.mark.parametrize("factor", [2, 3])
def test_pool_sends_closures(pool, factor):
    def inner(value):
        return value * factor

    def outer(value, *, offset=1):
        return inner(value) + offset + dist.get_rank()

    assert pool.run(outer, 10) == [10 * factor + 1 + rank for rank in range(4)]
    assert pool.run(functools.partial(outer, 10, offset=0)) == [
        10 * factor + rank for rank in range(4)
    ]


def test_pool_sends_functions_whose_globals_no_module_has(pool):
    namespace = {"torch": torch, "base": 40}
    exec("def made(): return base + torch.distributed.get_rank()", namespace)  # noqa: S102
    assert pool.run(namespace["made"]) == [40, 41, 42, 43]


def test_pool_sends_closures_that_call_themselves(pool):
    def factorial(number, *, base=1):
        return base if number < 2 else number * factorial(number - 1, base=base)

    assert pool.run(factorial, 5) == [120] * 4


def test_pool_sends_and_returns_objects_of_a_local_class(pool):
    @dataclass
    class Local:
        value: int

    def add_rank(local):
        return Local(local.value + dist.get_rank())

    assert pool.run(add_rank, Local(40)) == [Local(40), Local(41), Local(42), Local(43)]


def test_pool_shows_the_line_of_a_closure_that_fails(pool):
    def fail():
        raise LookupError(dist.get_rank())

    with pytest.raises(RankFailure, match=r"raise LookupError\(dist.get_rank\(\)\)") as caught:
        pool.run(fail)
    assert __file__ in str(caught.value)


def test_pool_returns_tensors(pool):
    results = pool.run(lambda: torch.full((2, 3), dist.get_rank()))
    assert [tensor.shape for tensor in results] == [(2, 3)] * 4
    assert [int(tensor.max()) for tensor in results] == [0, 1, 2, 3]


def test_pool_sends_and_returns_more_than_a_pipe_holds(pool):
    many = bytes(3_000_000)
    assert pool.run(lambda data: data + b"1", many) == [many + b"1"] * 4


def test_pool_starts_each_case_with_a_new_world(pool):
    def name_of_new_group():
        return dist.new_group([0, 1, 2, 3]) is not None and dist.get_backend()

    def destroy():
        dist.barrier()  # or a rank could still be connecting to one that is gone
        dist.destroy_process_group()

    pool.run(destroy)
    assert pool.run(name_of_new_group) == ["gloo"] * 4


def test_pool_keeps_the_world_when_asked_to(pool):
    def keep_group():
        STATE[:] = [dist.new_group([0, 1, 2, 3])]

    def use_group():
        return sum_of_ranks(STATE[0])

    pool.run(keep_group)
    assert pool.run(use_group, fresh=False) == [6] * 4


def test_pool_makes_a_new_world_after_a_failure_also_when_asked_to_keep_it(pool):
    def leave_unequal_groups():
        if dist.get_rank() == 0:
            dist.new_group([0], use_local_synchronization=True)
        raise ValueError

    def use_new_group():
        return sum_of_ranks(dist.new_group([0, 1, 2, 3]))

    with pytest.raises(RuntimeError, match="ValueError"):
        pool.run(leave_unequal_groups)
    assert pool.run(use_new_group, fresh=False) == [6] * 4


def test_pool_keeps_its_processes_from_case_to_case(pool):
    first = pool.run(os.getpid)
    assert tuple(first) == pool.pids
    assert pool.run(os.getpid) == first
    assert os.getpid() not in first


def test_pool_keeps_module_state_until_restart(pool):
    pool.restart()
    assert [pool.run(remember, 1), pool.run(remember, 1)] == [[1] * 4, [2] * 4]
    pool.restart()
    assert pool.run(remember, 1) == [1] * 4


def test_pool_sets_what_torchrun_sets(pool):
    def place():
        return [
            os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        ]

    assert pool.run(place) == [[str(rank), str(rank), "4", "4"] for rank in range(4)]


def test_pool_prints_what_ranks_print(pool, capsys):
    def speak():
        print("hello from", dist.get_rank())  # noqa: T201
        os.write(2, b"and below Python\n")

    pool.run(speak)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "hello" in line] == [
        f"[rank {r}] hello from {r}" for r in range(4)
    ]
    assert len([line for line in lines if "below Python" in line]) == 4
    pool.run(dist.get_rank)
    assert "hello" not in capsys.readouterr().out


def test_pool_limits_collectives_to_less_than_a_case(pool):
    def wait_for_nobody():
        if dist.get_rank() == 0:
            dist.recv(torch.zeros(1), src=1)

    started = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 0 raised"):
        pool.run(wait_for_nobody, timeout=6)
    assert time.monotonic() - started < 6


def test_pools_of_several_sizes_live_side_by_side(pool):
    with GlooPool(world_size=1) as one, GlooPool(world_size=3) as three:
        assert pool.run(sum_of_ranks) == [6] * 4
        assert three.run(sum_of_ranks) == [3] * 3
        assert one.run(sum_of_ranks) == [0]


def test_pool_starts_no_process_before_it_is_used():
    with GlooPool(world_size=2) as idle:
        assert idle.pids == ()


def test_pool_runs_fifty_cases_on_the_same_processes(pool):
    pool.run(sum_of_ranks)
    pids = pool.pids
    for _ in range(25):
        assert pool.run(sum_of_ranks) == [6] * 4
        assert pool.run(sum_of_ranks, fresh=False) == [6] * 4
    assert pool.pids == pids


def test_pool_refuses_a_world_without_ranks():
    with pytest.raises(ValueError, match="at least 1"):
        GlooPool(world_size=0)


def test_pool_refuses_to_run_after_close():
    closed = GlooPool(world_size=1)
    closed.close()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        closed.run(dist.get_rank)


def test_pool_refuses_what_cannot_travel_and_goes_on(pool):
    with pytest.raises(TypeError, match="cannot be sent"):
        pool.run(id, threading.Lock())
    assert pool.run(dist.get_rank) == [0, 1, 2, 3]


# What a user's program defines in its main module, which is a file or a notebook.
PROGRAM = """
    from dataclasses import dataclass

    import torch.distributed as dist

    from meshcompat.testing import GlooPool

    STATE = []

    @dataclass
    class Box:
        value: int

    def open_box(box):
        STATE.append(box)
        return Box(box.value + dist.get_rank()), len(STATE)

    if __name__ == "__main__":
        with GlooPool(world_size=2) as pool:
            print(pool.run(open_box, Box(40)))
            print(pool.run(open_box, Box(41)))
            try:
                print(pool.run(lambda: Box(dist.get_rank())))
            except TypeError as error:
                print(error)
"""


def printed(*arguments, **options):
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
        capture_output=True,
        text=True,
        **options,
    )
    return done.stdout.splitlines()


@pytest.mark.once
def test_pool_runs_functions_of_a_script(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    assert printed(tmp_path / "program.py") == [
        "[(Box(value=40), 1), (Box(value=41), 1)]",
        "[(Box(value=41), 2), (Box(value=42), 2)]",
        "[Box(value=0), Box(value=1)]",
    ]


@pytest.mark.once
def test_pool_runs_functions_of_a_notebook():
    # No rank can load the module, so that each case begins with what the caller has.
    assert printed("-", input=textwrap.dedent(PROGRAM)) == [
        "[(Box(value=40), 1), (Box(value=41), 1)]",
        "[(Box(value=41), 1), (Box(value=42), 1)]",
        "[Box(value=0), Box(value=1)]",
    ]


@pytest.mark.once
def test_pool_needs_cloudpickle_only_for_functions_that_have_no_name(tmp_path):
    (tmp_path / "cloudpickle.py").write_text("raise ImportError('not installed')")
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    *boxes, error = printed(tmp_path / "program.py")
    assert boxes == [
        "[(Box(value=40), 1), (Box(value=41), 1)]",
        "[(Box(value=41), 2), (Box(value=42), 2)]",
    ]
    assert error.startswith("cannot be sent to another process: no name leads to '<lambda>'")
    assert 'pip install "meshcompat[testing]"' in error


def test_pool_cannot_be_used_on_a_rank(pool):
    def nest():
        GlooPool(world_size=1).run(dist.get_rank)

    with pytest.raises(RuntimeError, match="on a rank of another pool"):
        pool.run(nest)
