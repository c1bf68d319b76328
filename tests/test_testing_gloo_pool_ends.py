"""The kit's pool on a bad day: who is to blame is named, the pool goes on, nothing is left."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from meshcompat.testing import GlooPool, RankDied, RankError, RankFailure, RankTimeout

pytestmark = [pytest.mark.multiprocess, pytest.mark.processes]


@pytest.fixture(scope="module")
def shared_pool():
    with GlooPool(world_size=4, timeout=60, grace=0.3) as pool:
        yield pool


@pytest.fixture
def pool(shared_pool):
    """A pool that every test must leave usable, whatever it did to it."""
    yield shared_pool
    assert shared_pool.run(sum_of_ranks) == [6] * 4


def sum_of_ranks():
    total = torch.tensor([dist.get_rank()])
    dist.all_reduce(total)
    return total.item()


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until_ended(pids, seconds=10):
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [pid for pid in pids if is_running(pid)]


def deep_inside(rank):
    if dist.get_rank() == rank:
        raise LookupError(f"nothing on rank {rank}")


def fail_on(rank):
    deep_inside(rank)


def fail_on_one_while_others_wait(rank):
    deep_inside(rank)
    return sum_of_ranks()


def end_process_on(rank, how):
    if dist.get_rank() == rank:
        how()
    time.sleep(0.05)


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def exit_with_seven():
    os._exit(7)


def abort():
    os.write(2, b"last words\n")
    os.abort()


def hang_forever():
    threading.Event().wait()


def hang_on(ranks):
    if dist.get_rank() in ranks:
        hang_forever()


# One rank raises.


def test_failure_names_the_rank_and_shows_its_whole_traceback(pool):
    with pytest.raises(RankFailure) as caught:
        pool.run(fail_on, 2)
    error = caught.value
    assert (error.rank, error.ranks, list(error.tracebacks)) == (2, (2,), [2])
    assert "in fail_on" in error.tracebacks[2]
    assert "in deep_inside" in error.tracebacks[2]
    assert "LookupError: nothing on rank 2" in str(error)
    assert 'raise LookupError(f"nothing on rank {rank}")' in str(error)


def test_failure_keeps_the_processes_when_all_ranks_answer(pool):
    pids = pool.pids
    with pytest.raises(RankFailure):
        pool.run(fail_on, 0)
    assert pool.run(os.getpid) == list(pids)


def test_failure_names_the_first_rank_and_lists_the_others(pool):
    def fail_late_by_rank():
        time.sleep(0.05 * (4 - dist.get_rank()))
        raise OSError(f"from {dist.get_rank()}")

    with pytest.raises(RankFailure, match="rank 3 raised") as caught:
        pool.run(fail_late_by_rank)
    assert list(caught.value.tracebacks) == [3, 2, 1, 0]
    assert "--- rank 0: OSError: from 0" in str(caught.value)
    assert str(caught.value).count("Traceback") == 1


def test_failure_while_others_wait_in_a_collective_ends_after_the_grace(pool):
    started = time.monotonic()
    with pytest.raises(RankFailure) as caught:
        pool.run(fail_on_one_while_others_wait, 1)
    assert time.monotonic() - started < 5
    assert caught.value.rank == 1
    assert set(caught.value.stacks) == {0, 2, 3}
    assert all("sum_of_ranks" in stack for stack in caught.value.stacks.values())
    assert "ranks 0, 2, 3: still running" in str(caught.value)


def test_failure_by_sys_exit_does_not_end_the_rank(pool):
    pids = pool.pids
    with pytest.raises(RankFailure, match="SystemExit"):
        pool.run(sys.exit, 3)
    assert pool.pids == pids


def test_failure_of_an_assert_in_a_local_function_shows_its_values(pool):
    def claim():
        one = dist.get_rank() + 1
        assert one == 40

    with pytest.raises(RankFailure, match=r"assert \d == 40"):
        pool.run(claim)


def test_failure_tells_a_result_that_cannot_be_sent(pool):
    with pytest.raises(RankFailure, match="the result cannot be sent back"):
        pool.run(threading.Lock)


# The process of a rank ends.


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        (kill_self, -signal.SIGKILL, "rank 2 was killed by SIGKILL"),
        (exit_with_seven, 7, "rank 2 exited with status 7"),
        (abort, -signal.SIGABRT, "rank 2 was killed by SIGABRT"),
    ],
)
def test_death_names_the_rank_and_how_it_ended(pool, how, code, words):
    with pytest.raises(RankDied, match=words) as caught:
        pool.run(end_process_on, 2, how)
    assert caught.value.ranks == (2,)
    assert caught.value.exit_codes == {2: code}


def test_death_shows_the_last_words_and_the_stack(pool):
    with pytest.raises(RankDied) as caught:
        pool.run(end_process_on, 1, abort)
    assert "last words" in caught.value.outputs[1]
    assert "Fatal Python error: Aborted" in str(caught.value)
    assert "in end_process_on" in str(caught.value)


def test_death_while_others_wait_names_the_dead_not_the_waiting(pool):
    def die_while_others_wait():
        if dist.get_rank() == 3:
            kill_self()
        return sum_of_ranks()

    with pytest.raises(RankDied, match="rank 3 was killed by SIGKILL") as caught:
        pool.run(die_while_others_wait)
    assert caught.value.ranks == (3,)


def test_death_of_several_ranks_names_them_all(pool):
    def die_if_odd():
        if dist.get_rank() % 2:
            exit_with_seven()

    with pytest.raises(RankDied) as caught:
        pool.run(die_if_odd)
    assert caught.value.ranks == (1, 3)


@pytest.mark.parametrize("rank", range(4))
def test_death_between_cases_is_named_by_the_next_case(pool, rank):
    pool.start()
    os.kill(pool.pids[rank], signal.SIGKILL)
    assert wait_until_ended([pool.pids[rank]]) == []
    with pytest.raises(RankDied, match=f"rank {rank} was killed by SIGKILL"):
        pool.run(dist.get_rank)


def test_death_ends_the_other_processes_too(pool):
    pids = pool.pids
    with pytest.raises(RankDied):
        pool.run(end_process_on, 0, exit_with_seven)
    assert wait_until_ended(pids) == []


# A rank does not come back.


def test_timeout_names_the_ranks_that_hang_with_their_stack(pool):
    started = time.monotonic()
    with pytest.raises(RankTimeout, match="ranks 1, 3 still ran after 2 s") as caught:
        pool.run(hang_on, [1, 3], timeout=2)
    assert time.monotonic() - started < 8
    assert caught.value.ranks == (1, 3)
    assert all("in hang_forever" in stack for stack in caught.value.stacks.values())
    assert str(caught.value).count("in hang_forever") == 1


def test_timeout_names_a_rank_that_cannot_answer(pool):
    def stop_on_three():
        if dist.get_rank() == 3:
            os.kill(os.getpid(), signal.SIGSTOP)

    with pytest.raises(RankTimeout, match="gave no answer") as caught:
        pool.run(stop_on_three, timeout=2)
    assert caught.value.ranks == (3,)


def test_timeout_leaves_no_process(pool):
    pids = pool.pids
    with pytest.raises(RankTimeout):
        pool.run(hang_on, [0, 1, 2, 3], timeout=2)
    assert wait_until_ended(pids) == []


def test_interrupt_of_the_caller_ends_the_case_and_the_pool_goes_on(pool):
    pool.start()
    pids = pool.pids
    main_thread = threading.main_thread().ident
    timer = threading.Timer(0.5, signal.pthread_kill, [main_thread, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.run(hang_on, [0])
    timer.join()
    assert wait_until_ended(pids) == []


def test_errors_have_one_base():
    assert issubclass(RankError, RuntimeError)
    assert all(issubclass(kind, RankError) for kind in (RankFailure, RankDied, RankTimeout))


# Nothing is left behind.


def test_close_leaves_no_process_and_no_descriptor(tmp_path):
    # Whoever shares the seed must be gone before it can go.
    script = """
    import os, subprocess
    from meshcompat.testing import GlooPool
    import torch.distributed as dist

    def open_files():
        return len(os.listdir("/proc/self/fd"))

    def children():
        listed = subprocess.run(["ps", "-o", "comm=", "--ppid", str(os.getpid())], capture_output=True, text=True)
        return [name for name in listed.stdout.split() if name != "ps"]

    if __name__ == "__main__":
        before = open_files()
        with GlooPool(world_size=3) as pool:
            assert pool.run(dist.get_rank) == [0, 1, 2]
            pool.restart()
            assert pool.run(dist.get_rank) == [0, 1, 2]
            assert len(children()) == 1, children()
        assert children() == [], children()
        assert open_files() == before, (open_files(), before)
        print("clean")
    """
    ended = run_script(tmp_path / "script.py", script)
    assert ended.stdout.split() == ["clean"], ended.stderr


@pytest.mark.parametrize(
    ("is_busy", "ending"),
    [(False, "pass"), (True, "pass"), (True, "os.kill(os.getpid(), signal.SIGKILL)")],
    ids=["idle-exit", "busy-exit", "busy-killed"],
)
def test_end_of_the_caller_ends_all_processes(tmp_path, is_busy, ending):
    script = f"""
    import os, signal, threading, time
    from meshcompat.testing import GlooPool

    def spin():
        while True:
            pass

    def seed_of(pid):
        return int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])

    if __name__ == "__main__":
        pool = GlooPool(world_size=2)
        pool.start()
        print(*pool.pids, seed_of(pool.pids[0]), flush=True)
        if {is_busy}:
            threading.Thread(target=pool.run, args=[spin], daemon=True).start()
            time.sleep(0.3)
        {ending}
    """
    ended = run_script(tmp_path / "script.py", script)
    pids = [int(word) for word in ended.stdout.split()]
    assert len(pids) == 3, ended.stderr
    assert wait_until_ended(pids) == []
    assert list(tmp_path.glob("ranks-*")) == []


def test_lost_pool_leaves_no_process():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = GlooPool(world_size=2)
        pool.start()
        pids = pool.pids
        del pool
    assert wait_until_ended(pids) == []


@pytest.mark.usefixtures("pool")
def test_start_tells_why_a_module_cannot_be_preloaded():
    with (
        GlooPool(world_size=2, preload=["no_such_module"]) as other,
        pytest.raises(RuntimeError, match="No module named 'no_such_module'"),
    ):
        other.start()
    assert other.pids == ()


def test_death_of_the_process_that_ranks_are_forked_from_is_told_and_mended(tmp_path):
    # In a process of its own: all pools of a process share the one that is killed here.
    done = run_script(
        tmp_path / "caller.py",
        """
        import os
        import signal
        import time
        from pathlib import Path

        import torch.distributed as dist

        from meshcompat.testing import GlooPool

        if __name__ == "__main__":
            with GlooPool(world_size=2) as pool:
                pool.start()
                stat = Path(f"/proc/{pool.pids[0]}/stat").read_text()
                os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
                while any(Path(f"/proc/{pid}").exists() for pid in pool.pids):
                    time.sleep(0.02)
                try:
                    pool.run(dist.get_rank)
                except RuntimeError as error:
                    print(error)
                print(pool.run(dist.get_rank))
        """,
    )
    assert "the process that ranks are forked from has ended" in done.stdout
    assert done.stdout.endswith("[0, 1]\n")


def run_script(path, text):
    """Run a script as a user would: its functions live in its main module."""
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, str(path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TMPDIR": str(path.parent),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
