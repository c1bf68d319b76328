"""The kit's fixtures, in the suite of somebody else: what they give, and what they cost."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import meshcompat

SUITE = """
    import time

    import pytest
    import torch
    import torch.distributed as dist

    import meshcompat as mc
    from meshcompat.testing import assert_mesh


    @pytest.mark.mesh_world(8, rank=3)
    def test_one_rank(mesh_world):
        assert tuple(mesh_world) == (8, 3) == (dist.get_world_size(), dist.get_rank())
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        assert_mesh(mesh, groups={"dp": [3, 7], "tp": [0, 1, 2, 3]})


    @pytest.mark.mesh_world(4, rank=(1, 3))
    def test_some_ranks(mesh_world):
        assert dist.get_rank() == mesh_world.rank


    def test_no_marker(mesh_world):
        pass


    def test_the_world_has_ended():
        assert not dist.is_initialized()


    def sum_of_ranks():
        total = torch.tensor([dist.get_rank()])
        dist.all_reduce(total)
        return total.item()


    def hang_on_two():
        if dist.get_rank() == 2:
            time.sleep(600)


    def fail_on_one():
        if dist.get_rank() == 1:
            raise LookupError("nothing here")


    @pytest.mark.gloo_ranks(3, timeout=8)  # on a busy machine, ranks 0 and 1 may need seconds
    def test_a_hang(gloo_ranks):
        gloo_ranks.run(hang_on_two)


    @pytest.mark.gloo_ranks(3, timeout=60)
    def test_a_failure(gloo_ranks):
        gloo_ranks.run(fail_on_one)


    @pytest.mark.gloo_ranks(3, timeout=60)
    def test_sums(gloo_ranks):
        assert gloo_ranks.run(sum_of_ranks) == [3, 3, 3]
"""


def run_suite(folder, text, *arguments):
    """Run pytest as somebody else would, whose suite is one file that no import finds."""
    (folder / "suite").mkdir()
    (folder / "suite" / "test_theirs.py").write_text(textwrap.dedent(text))
    options = "--strict-markers --import-mode=importlib"
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\ntestpaths = suite\n")
    program = "import sys, pytest; sys.path.remove(''); sys.exit(pytest.main())"
    return subprocess.run(
        [sys.executable, "-c", program, "-p", "meshcompat._pytest_plugin", "-v", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(meshcompat.__file__).parent.parent),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.once
@pytest.mark.multiprocess
def test_fixtures_give_worlds_and_name_the_rank_that_hangs(tmp_path):
    printed = run_suite(tmp_path, SUITE).stdout
    for name in (
        *("test_one_rank", "test_some_ranks[rank1]", "test_some_ranks[rank3]"),
        *("test_the_world_has_ended", "test_sums"),
    ):
        assert f"::{name} PASSED" in printed
    assert "::test_no_marker ERROR" in printed
    assert "add a marker such as @pytest.mark.mesh_world(8, rank=3)" in printed
    assert "rank 2 still ran after 8 s in 'hang_on_two' on a pool of 3" in printed
    assert "rank 1 raised in 'fail_on_one' on a pool of 3" in printed
    assert "2 failed, 5 passed, 1 error" in printed


@pytest.mark.once
def test_the_plugin_costs_next_to_nothing_where_no_test_asks_for_it(tmp_path):
    """Imports are counted, since clocks lie on a busy machine: one takes less than a millisecond."""
    code = """
        import sys

        import pytest

        before = set(sys.modules)
        import meshcompat._pytest_plugin

        new = set(sys.modules) - before
        ours = {name for name in new if name.partition(".")[0] == "meshcompat"}
        print("torch" in sys.modules, ",".join(sorted(ours)), *sorted(new - ours))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    has_torch, ours, *others = done.stdout.split()
    assert has_torch == "False"
    names = ("", "._errors", "._pytest_plugin", "._release", "._travel")
    assert ours.split(",") == [f"meshcompat{name}" for name in names]
    assert len(others) <= 3, others
    suite = """
        import sys

        def test_of_something_else():
            assert "torch" not in sys.modules
    """
    assert "1 passed" in run_suite(tmp_path, suite).stdout


@pytest.mark.mesh_world(8, rank=5)
def test_the_fixture_gives_the_world_that_the_marker_says(mesh_world):
    assert mesh_world == (8, 5)


@pytest.mark.multiprocess
@pytest.mark.gloo_ranks(2)
def test_the_fixture_gives_real_ranks(gloo_ranks):
    assert gloo_ranks.run(os.getppid) == [gloo_ranks.run(os.getppid)[0]] * 2
