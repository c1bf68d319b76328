"""Whatever the command line and the reader of plain data are given, they answer in our words."""

from __future__ import annotations

import contextlib
import sys

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import meshcompat as mc
from meshcompat import _travel
from meshcompat.__main__ import main
from meshcompat.testing import fake_world
from meshcompat.verify import command
from tests.support.small_world import KINDS, RANK, ours

FEW, MANY = 60, 3000

OPTIONS = [
    "--shape",
    "--names",
    "-n",
    "--world-size",
    "--device",
    "--timeout",
    "--json",
    "-h",
    "--shape=2",
    "--",
]
VALUES = [
    "verify",
    "cpu",
    "cuda",
    "2,2",
    "a,b",
    "8",
    "-1",
    "0",
    "nan",
    "inf",
    "1e309",
    ",",
    "²",
    "٣",
    "0x8",
    "1_0",
]
ODD = ["", " 8 ", "\ud800", "\x00", "9" * 400, "9" * 5000, "1," * 3000 + "1"]
WORDS = st.sampled_from([*OPTIONS, *VALUES, *ODD])
LINES = st.lists(WORDS | st.text(max_size=6), max_size=8)
ENVIRONMENTS = st.dictionaries(
    st.sampled_from(["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"]),
    st.sampled_from(["0", "1", "4", "", "-1", "x", "²", "9" * 5000, "node0"]),
)

NUMBERS = st.integers(-3, 9) | st.sampled_from([10**400, -(10**400), 2**63, 1.5, float("nan")])
PLAIN = st.none() | st.booleans() | NUMBERS | st.text(max_size=4) | st.sampled_from(["pp", "flat"])
JSON = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def fuzz(strategies, check, count):
    """Check *count* cases, the same in every run, and return how many there were."""
    tried = []

    @seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*strategies))
    def check_one(case):
        tried.append(None)
        check(*case)

    check_one()
    return len(tried)


counts = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])


@counts
def test_any_command_line_is_run_or_refused_with_a_message(count, monkeypatch, capsys, figure):
    told = []
    # As that of a process is, and capsys' is not.
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    monkeypatch.setattr(command, "run", lambda _: 0)

    def check(line, environment):
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code: object = main(line)
        except SystemExit as ended:
            code = ended.code
            written = capsys.readouterr()
            is_told = written.out if code == 0 else written.err
            told.append(is_told or environment.get("RANK", "0") != "0")
        assert code in {0, 2}
        assert all(told)

    figure("fuzz", "command lines", fuzz([LINES, ENVIRONMENTS], check, count))


@counts
def test_any_plain_data_is_read_or_refused_in_our_words(count, figure):
    with fake_world(8, RANK):
        mesh = KINDS["beside a flattened dim"](ours())
        good = mc.mesh_to_dict(mesh)
        fields = sorted(good)

        def check(field, value, read):
            with contextlib.suppress(mc.MeshLayoutError):
                read({**good, field: value} if field in good else value)
            assert mc.mesh_from_dict(good) is mesh

        readers = st.sampled_from([mc.mesh_from_dict, _travel.from_plain])
        cases = [st.sampled_from([*fields, "all"]), JSON, readers]
        figure("fuzz", "plain data", fuzz(cases, check, count))
