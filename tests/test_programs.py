"""Generated programs of mesh operations give what plain enumeration gives, on every rank."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from meshcompat import _groups, _layout
from tests.support.programs import BLOCK, check_block


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
    figure("programs", "runs on a rank", sum(program.world_size for program in programs))


def planted(original):
    """Return faults by what they are, each as a place and what is put there."""
    return {
        "the parts of a split dim change places": (
            _layout,
            "split",
            lambda *args: (parts := original(*args)) and parts[::-1],
        ),
        "joined dims vary in the wrong order": (
            _layout,
            "join",
            lambda dims: original(list(dims)[::-1]),
        ),
        "ranks make groups in different orders": (
            _layout,
            "cosets",
            lambda *args: list(original(*args))[:: -1 if dist.get_rank() == 1 else 1],
        ),
        "groups of equal ranks are not shared": (
            _groups,
            "find",
            lambda root, axes, made_with, share: original(
                root, axes, made_with, share=share and len(root.groups) < 2
            ),
        ),
    }


@pytest.mark.once  # about the check itself
@pytest.mark.property
@pytest.mark.parametrize("fault", planted(None))
def test_a_planted_fault_is_noticed(fault, monkeypatch):
    place, name, _ = planted(None)[fault]
    _, _, wrong = planted(getattr(place, name))[fault]
    monkeypatch.setattr(place, name, wrong)

    with pytest.raises(AssertionError, match="a program in a world of"):
        check_block(0, 30)
