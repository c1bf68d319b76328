"""Generated programs of mesh operations give what plain enumeration gives, on every rank."""

from __future__ import annotations

import pytest

from meshcompat import _groups, _layout, _meshes
from tests.programs import BLOCK, LARGEST_WORLD, LONGEST, check_block
from tests.program_steps import Step


def pytest_generate_tests(metafunc):
    if "block" in metafunc.fixturenames:
        first = metafunc.config.getoption("first_program") // BLOCK
        count = metafunc.config.getoption("programs") // BLOCK
        metafunc.parametrize("block", range(first, first + count))


@pytest.mark.property
def test_some_programs_are_right_on_every_rank():
    assert len(check_block(0, 30)) == 30


@pytest.mark.soak
@pytest.mark.property
def test_programs_of_a_block_are_right_on_every_rank(block, figure):
    programs = check_block(block)

    assert len(set(programs)) == BLOCK
    figure("programs", "programs", len(programs))
    figure("programs", "operations", sum(len(program.steps) for program in programs))
    ranks = sum(program.world_size for program in programs)
    figure("programs", "programs times ranks", ranks)
