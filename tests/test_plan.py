"""`meshcompat plan`: what it reads, what it prints, what it warns of, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import meshcompat as mc
from meshcompat.__main__ import main
from meshcompat._drawing.drawing import Drawing
from meshcompat.plan import files, report
from meshcompat.plan.arguments import request_of
from meshcompat.plan.cautions import cautions_of
from meshcompat.plan.nearest import changes_of
from meshcompat.plan.paper import meshes_of

pytestmark = pytest.mark.once

JOB = {"world_size": 64, "pp": 2, "tp": 4, "ep": 8}
WORDS = ("--world-size", "64", "--pp", "2", "--tp", "4", "--ep", "8")


def examples():
    """Return the command lines of the documentation, each with what it shows below."""
    text = Path(__file__).parent.parent.joinpath("docs", "plan.md").read_text(encoding="utf-8")
    return re.findall(r"```console\n\$ (.*)\n((?:.*\n)*?)```", text)


def plan_of(**given):
    return report.plan_of(request_of(given))


def codes_of(**given):
    request = request_of(given)
    return [caution.code for caution in cautions_of(request, meshes_of(request))]


def run(capsys, *words):
    """Return the exit code and what stands on both streams."""
    try:
        code: object = main(["plan", *words])
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr()
    return code, told.out, told.err


class TestJson:
    def test_is_what_the_documentation_promises(self, capsys):
        code, out, err = run(capsys, *WORDS, "--rank", "5", "--json")
        assert (code, err) == (0, "")
        document = json.loads(out)
        assert {key: document[key] for key in list(document)[:4]} == {
            "world_size": 64,
            "gpus_per_node": 8,
            "strategy": "fsdp2",
            "rank": 5,
        }
        assert list(document)[4:] == ["meshes", "groups_per_rank", "warnings"]
        names = [mesh["name"] for mesh in document["meshes"]]
        assert names == ["root", "dp", "dp_shard_cp", "dp_cp", "moe"]
        assert document["meshes"][0]["shape"] == [2, 1, 8, 1, 4]
        assert document["meshes"][0]["dims"][0] == {
            "name": "pp",
            "size": 2,
            "axes": [[2, 32]],
            "ranks": [5, 37],
            "groups": 32,
            "nodes": 2,
        }
        assert document["meshes"][4]["mesh_dim_names"] == ["ep_shard", "ep"]
        assert document["groups_per_rank"] == {"torch": 11, "meshcompat": 6, "floor": 6}
        assert document["warnings"] == []

    def test_of_what_does_not_fit_says_why(self, capsys):
        code, out, err = run(capsys, "--world-size", "64", "--tp", "3", "--json")
        assert (code, err) == (1, "")
        document = json.loads(out)
        assert (document["meshes"], document["groups_per_rank"]) == ([], None)
        assert document["warnings"][0]["code"] == "does-not-fit"
        assert "world_size 64 is no multiple of" in document["warnings"][0]["message"]
        assert {"code": "fits", "message": "--tp 2 or 4"} in document["warnings"]


class TestText:
    @pytest.mark.parametrize("columns", [60, 80, 120])
    @pytest.mark.parametrize(
        "words",
        [
            WORDS,
            ("--world-size", "131072", "--tp", "16", "--pp", "8", "--dp-replicate", "4"),
            (
                "--mesh",
                "a_dim_with_a_long_name=4,b=4,c=4",
                "--flatten",
                "ac=a_dim_with_a_long_name,c",
            ),
        ],
        ids=["fsdp2", "large", "own"],
    )
    def test_keeps_to_the_width(self, capsys, monkeypatch, columns, words):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, _ = run(capsys, *words)
        assert code == 0
        assert max(map(len, out.splitlines())) <= columns

    def test_needs_no_second_line_for_a_mesh_dim_in_80_columns(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        _, out, _ = run(capsys, *WORDS)
        assert "(size, stride)  ranks of rank 0's group" in out

    def test_tells_every_mesh_dim_in_a_line(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        _, out, _ = run(capsys, *WORDS, "--rank", "9")
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert lines[0] == "64 ranks on 8 nodes of 8 GPUs, fsdp2"
        assert "pp 2 32 2 (2, 32) 9, 41" in lines
        assert "cp 1 64 1 - 9" in lines
        assert "dp_cp 8 8 4 (8, 4) 1, 5, 9, 13, 17, 21, 25, 29" in lines
        assert "moe (ep_shard=4, ep=8)" in lines
        assert "with torch's calls 11 9 4.6 GB" in lines
        assert "with meshcompat 6 5 2.6 GB" in lines

    def test_counts_memory_by_the_size_that_is_given(self, capsys):
        _, out, _ = run(capsys, *WORDS, "--comm-mb", "100.5")
        assert re.search(r"with meshcompat +6 +5 +502\.5 MB", out)

    def test_of_ddp_has_no_mesh(self, capsys):
        code, out, _ = run(capsys, "--world-size", "16", "--strategy", "ddp")
        assert (code, out.count("\n")) == (0, 2)
        assert "DDP has no mesh" in out

    def test_of_what_does_not_fit_stands_on_standard_error(self, capsys):
        code, out, err = run(capsys, "--world-size", "8", "--tp", "3")
        assert (code, out) == (1, "")
        assert "pp_size * cp_size * tp_size = 1 * 1 * 3 = 3" in err
        assert "each of these alone fits: --tp 2 or 4; --world-size 6 or 9" in err

    @pytest.mark.parametrize("rich", ["there", "absent"])
    def test_is_coloured_in_a_terminal_where_rich_is_there(self, capsys, monkeypatch, rich):
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.delenv("NO_COLOR", raising=False)
        _, plain, _ = run(capsys, "--world-size", "64", "--tp", "16")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        if rich == "absent":
            monkeypatch.setitem(sys.modules, "rich.console", None)
        _, out, _ = run(capsys, "--world-size", "64", "--tp", "16")
        assert ("\x1b[33mwarning: tp-across-nodes" in out) == (rich == "there")
        assert re.sub(r"\x1b\[[\d;]*m", "", out) == plain
        monkeypatch.setenv("NO_COLOR", "")  # as https://no-color.org has it, this does not count
        assert run(capsys, "--world-size", "64", "--tp", "16")[1] == out
        monkeypatch.setenv("NO_COLOR", "1")
        assert run(capsys, "--world-size", "64", "--tp", "16")[1] == plain

    def test_fits_the_terminal_with_a_very_long_name(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "60")
        name = "a_mesh_dim_with_a_name_" * 6
        code, out, _ = run(capsys, "--mesh", f"{name}=2,b=4", "--flatten", f"{name}2=b")
        assert code == 0
        assert max(map(len, out.splitlines())) <= 60
        assert name in out.replace("\n  ", "")

    def test_a_check_prints_nothing(self, capsys):
        assert run(capsys, *WORDS, "--check") == (0, "", "")
        assert run(capsys, *WORDS, "--cp", "3", "--check") == (1, "", "")


class TestFiles:
    def test_have_the_keys_of_the_flags_and_flags_come_first(self, tmp_path, capsys):
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"world-size": 64, "pp": 4, "tp": 4, "ep": 8}))
        _, from_file, _ = run(capsys, str(job), "--pp", "2", "--json")
        assert from_file == run(capsys, *WORDS, "--json")[1]

    def test_can_be_toml(self, tmp_path, capsys):
        pytest.importorskip(
            "tomllib" if sys.version_info >= (3, 11) else "tomli", reason="needed to read TOML"
        )
        job = tmp_path / "job.toml"
        job.write_text(
            'world_size = 64\nunflatten = ["dp=2x4:a,b"]\n'
            '[mesh]\npp = 2\ndp = 8\ntp = 4\n[flatten]\ndp_tp = ["dp", "tp"]\n'
        )
        flags = (
            "--mesh",
            "pp=2,dp=8,tp=4",
            "--flatten",
            "dp_tp=dp,tp",
            "--unflatten",
            "dp=2x4:a,b",
        )
        _, from_file, _ = run(capsys, str(job), "--json")
        assert from_file == run(capsys, *flags, "--json")[1]

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("job.yaml", "", "must end in .toml or .json"),
            ("job.json", "{", "cannot read"),
            ("job.json", "[1]", "must hold keys and values"),
            ("job.json", '{"world_size": 8, "tpp": 2}', "unknown keys tpp; known are dp,"),
            ("job.json", '{"tp": 2, "world_size": 8, "tp": 4}', "key 'tp' twice; give it once"),
            ("job.json", '{"mesh": {"a": 2, "a": 4}}', "it gives the key 'a' twice"),
            ("job.json", '{"world_size": 8, "world-size": 4}', "the key 'world_size' twice"),
            ("job.json", '{"world_size": ' + "[" * 10**5, "nested too deeply; give keys and"),
            ("job.toml", "world_size = " + "[" * 10**5, "nested too deeply; give keys and"),
            ("job.json", '{"world_size": true}', "--world-size True must be a whole number"),
            ("job.json", '{"world_size": 8, "tp": "2"}', "--tp '2' must be a whole number"),
            ("job.json", '{"world_size": 8, "tp": 2.5}', "--tp 2.5 must be a whole number"),
            ("job.json", '{"world_size": 8, "strategy": "fsdp1"}', "'fsdp1' is none of fsdp2,"),
            ("job.json", '{"mesh": {"a": "2"}}', "must be mesh dims and sizes"),
            ("job.json", '{"mesh": {"a": 2}, "flatten": {"b": 2}}', "--flatten 'b' must join"),
            ("job.json", '{"mesh": {"a": 2}, "unflatten": 3}', "--unflatten 3 must be text"),
            ("job.json", '{"world_size": 8, "comm_mb": "x"}', "--comm-mb 'x' must be a number"),
        ],
    )
    def test_that_cannot_be_read_are_a_wrong_call(self, tmp_path, capsys, name, text, said):
        if name.endswith(".toml") and sys.version_info < (3, 11):
            pytest.importorskip("tomli", reason="needed to read TOML")
        (tmp_path / name).write_text(text)
        code, out, err = run(capsys, str(tmp_path / name))
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("name", "text"), [("job.json", '{"world_size": 8}'), ("job.toml", "world_size = 8")]
    )
    def test_may_begin_with_a_mark_of_their_encoding(self, tmp_path, capsys, name, text):
        if name.endswith(".toml") and sys.version_info < (3, 11):
            pytest.importorskip("tomli", reason="needed to read TOML")
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert run(capsys, str(tmp_path / name), "--check") == (0, "", "")

    def test_are_named_where_they_do_not_go_with_a_flag(self, tmp_path, capsys):
        job = tmp_path / "job.json"
        job.write_text('{"world_size": 8, "tp": 2, "pp": 2}')
        code, _, err = run(capsys, str(job), "--mesh", "a=2", "--pp", "1")
        assert code == 2
        assert f"--mesh is a mesh of your own, and goes without tp in {str(job)!r}, --pp" in err
        job.write_text('{"mesh": "a=2"}')
        _, _, err = run(capsys, str(job), "--tp", "2")
        assert f"mesh in {str(job)!r} is a mesh of your own, and goes without --tp" in err

    def test_that_are_not_there_are_a_wrong_call(self, tmp_path, capsys):
        code, _, err = run(capsys, str(tmp_path / "none.json"))
        assert code == 2
        assert "No such file or directory" in err

    def test_of_toml_need_tomli_on_old_python(self, monkeypatch):
        for name in ("tomllib", "tomli"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ValueError, match="install tomli, or give JSON"):
            files.read("job.toml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --world-size"),
        (("--world-size", "0"), "--world-size 0 must be a whole number from 1 to"),
        (("--world-size", "1048577"), "from 1 to 1048576"),
        (("--world-size", "8", "--rank", "8"), "--rank 8 must be a whole number from 0 to 7"),
        (("--world-size", "8", "--gpus-per-node", "0"), "--gpus-per-node 0"),
        (("--world-size", "8", "--comm-mb", "0"), "--comm-mb 0.0"),
        (("--world-size", "8", "--comm-mb", "nan"), "--comm-mb nan"),
        (("--world-size", "8", "--tp", "x"), "invalid int value: 'x'"),
        (("--world-size", "8", "--flatten", "a=dp"), "--flatten goes with --mesh"),
        (("--mesh", "a=2", "--tp", "2", "--strategy", "ddp"), "goes without --tp, --strategy"),
        (("--mesh", "a=two"), "must be mesh dims and sizes, such as pp=2,dp=8"),
        (("--mesh", "a"), "must be mesh dims and sizes"),
        (("--mesh", "a=2,b=2", "--flatten", "ab"), "--flatten 'ab' must be such as dp_tp=dp,tp"),
        (("--mesh", "a=2,b=2", "--flatten", "c=a", "--flatten", "c=b"), "names 'c' twice"),
        (("--mesh", "a=4", "--unflatten", "a=2:2:x"), None),
        (("--mesh", "a=4", "--unflatten", "a=2*2:x,y"), "must be sizes and names"),
        (
            ("--mesh", "a=4", *("--unflatten", "a=2x2:x,y") * 2),
            "twice into the same sizes and names",
        ),
        (("--world-size", "4", "--strategy", "ddp", "--unflatten", "a=2:x"), "ddp has no mesh"),
        (("--world-size", "4", "--svg", "/nowhere/mesh.svg"), "cannot write '/nowhere/mesh.svg'"),
    ],
)
def test_a_wrong_call_is_said_in_one_line(capsys, words, said):
    code, out, err = run(capsys, *words)
    if said is None:  # a name may have a colon; that the sizes do not fit is for the builders
        assert (code, out) == (1, "")
        return
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_size_below_1_counts_as_in_the_builders():
    assert plan_of(world_size=8, tp=0, cp=-3, dp=0).meshes == plan_of(world_size=8).meshes


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "error", "said"),
        [
            ({"mesh": "a=2,a=4"}, mc.MeshLayoutError, "repeat a name"),
            ({"mesh": "a=0"}, mc.MeshLayoutError, r"shape \(0,\) must be one or more positive"),
            ({"mesh": "a=-4,b=2"}, mc.MeshLayoutError, r"shape \(-4, 2\) must be"),
            ({"mesh": "a=2,b=4", "world_size": 9}, mc.MeshLayoutError, r"2 \* 4 = 8 ranks"),
            ({"mesh": "a=2,b=4", "flatten": "x=b,a"}, mc.MeshLayoutError, "out of order"),
            ({"mesh": "a=2,b=4", "flatten": "a=a,b"}, mc.MeshLayoutError, "needs a new name"),
            ({"mesh": "a=2,b=4", "unflatten": "c=2x2:x,y"}, mc.MeshDimError, "unknown mesh dim"),
            ({"mesh": "a=8", "unflatten": "a=2x2:x,y"}, mc.MeshLayoutError, r"2 \* 2 = 4"),
            ({"mesh": "a=8", "unflatten": "a=2x4:x"}, mc.MeshLayoutError, "must be 2 names"),
            (
                {"mesh": "a=2,b=3,c=6", "flatten": "ac=a,c", "unflatten": "ac=3x4:x,y"},
                mc.MeshLayoutError,
                r"made of parts of sizes \(2, 6\)",
            ),
        ],
    )
    def test_are_those_of_the_builders(self, given, error, said):
        with pytest.raises(error, match=said):
            plan_of(**given)

    @pytest.mark.parametrize(
        ("given", "changes"),
        [
            ({"world_size": 64, "tp": 3, "ep": 8}, ["--tp 2 or 4", "--world-size 48 or 72"]),
            ({"world_size": 8, "dp_replicate": 8}, ["--dp-replicate 4", "--world-size 16"]),
            ({"mesh": "a=2,b=3", "world_size": 8}, ["b of 4", "--world-size 6"]),
            ({"world_size": 8, "ep": 3, "pp": 2}, ["--ep 2 or 4", "--world-size 6 or 12"]),
            ({"world_size": 8, "strategy": "ddp", "tp": 2}, ["--tp 1"]),
            (
                {"world_size": 8, "tp": None, "cp": 1, "pp": 3},
                ["--pp 2 or 4", "--world-size 6 or 9"],
            ),
        ],
    )
    def test_come_with_the_nearest_sizes_that_fit(self, given, changes):
        assert changes_of(request_of(given)) == changes

    @pytest.mark.parametrize("given", [{"world_size": 64, "tp": 3}, {"world_size": 36, "tp": 8}])
    def test_come_with_changes_that_do_fit(self, given):
        for change in changes_of(request_of(given)):
            flag, *sizes = change.replace(" or", "").split()
            for size in sizes:
                assert plan_of(**{**given, flag.strip("-").replace("-", "_"): int(size)}).meshes


class TestWarnings:
    @pytest.mark.parametrize(
        ("given", "codes"),
        [
            (JOB, []),
            ({**JOB, "gpus_per_node": 2}, ["tp-across-nodes", "ep-across-nodes"]),
            ({"world_size": 24, "tp": 3}, ["tp-across-nodes"]),
            ({"world_size": 64, "tp": 8, "cp": 2}, ["cp-across-nodes"]),
            ({"world_size": 64, "tp": 2, "cp": 2}, []),
            ({"world_size": 64, "ep": 16}, ["ep-across-nodes"]),
            ({"world_size": 12}, ["partial-node"]),
            ({"world_size": 4}, []),
            ({"world_size": 64, "dp_replicate": 16}, ["node-across-replicas"]),
            ({"world_size": 64, "dp_replicate": 8}, []),
            ({"world_size": 8, "dp_replicate": 2}, []),
            ({"world_size": 8, "tp": 8}, ["size-1"]),
            ({"world_size": 8, "tp": 4, "cp": 1}, ["size-1"]),
            ({"world_size": 8, "tp": 8, "strategy": "megatron-fsdp"}, ["size-1"]),
            ({"mesh": "pp=2,dp=1,tp=4"}, ["size-1"]),
            ({"world_size": 1}, []),
            (
                {"mesh": "pp=2,dp=8", "flatten": "all=pp,dp", "unflatten": "all=2x8:a,ep"},
                [],
            ),
            (
                {"mesh": "dp=8,pp=2", "flatten": "all=dp,pp", "unflatten": "all=2x8:a,ep"},
                ["ep-across-stages"],
            ),
            ({"world_size": 16, "strategy": "ddp"}, []),
        ],
        ids=str,
    )
    def test_are_for_what_matters(self, given, codes):
        assert codes_of(**given) == codes

    def test_name_the_group_and_sizes_that_stay_inside(self, capsys):
        _, out, _ = run(capsys, "--world-size", "24", "--tp", "3", "--rank", "7")
        told = " ".join(out.split())
        assert (
            "warning: tp-across-nodes: groups of tp leave a node of 8 GPUs: rank 7's group (6-8) is "
            "on 2 nodes; tp 2 or 4 stays inside a node"
        ) in told
        _, out, _ = run(capsys, "--world-size", "64", "--dp-replicate", "16")
        assert "a node has 8; dp_replicate 8 keeps them whole" in " ".join(out.split())
        _, out, _ = run(capsys, "--mesh", "dp_replicate=16,tp=4")
        assert " ".join(out.split()).endswith("a replica has runs of 4 ranks, a node has 8")
        _, out, _ = run(capsys, "--world-size", "24", "--tp", "3", "--rank", "0")
        assert "(0-2) is on one node, but others are on more" in " ".join(out.split())


class TestPictures:
    def test_are_drawn_into_files(self, tmp_path, capsys):
        svg, html = tmp_path / "job.svg", tmp_path / "job.html"
        code, out, _ = run(capsys, *WORDS, "--svg", str(svg), "--html", str(html), "--json")
        assert code == 0
        json.loads(out)
        for path in (svg, html):
            text = path.read_text(encoding="utf-8")
            assert "64 ranks on 8 nodes of 8 GPUs, fsdp2" in text
            assert "moe: ep: 8 groups of 8 ranks; rank 0 is in A: 0-7" in text

    def test_of_ddp_are_only_a_title(self, tmp_path, capsys):
        path = tmp_path / "job.svg"
        words = ("--world-size", "8", "--strategy", "ddp", "--svg", str(path))
        assert run(capsys, *words)[0] == 0
        assert "8 ranks on 1 node of 8 GPUs, ddp" in path.read_text(encoding="utf-8")

    def test_of_what_does_not_fit_are_not_drawn(self, tmp_path, capsys):
        assert (
            run(capsys, "--world-size", "8", "--tp", "3", "--svg", str(tmp_path / "a.svg"))[0] == 1
        )
        assert list(tmp_path.iterdir()) == []


def calls_for(world_size, path):
    """Return how many functions are called to plan and draw a world; a clock would tell of the machine."""
    calls = 0

    def count(_frame, event, _about):
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        plan = plan_of(world_size=world_size, tp=8, pp=8, cp=2, dp_replicate=4, ep=64)
        document = json.dumps(report.document_of(plan))
        lines = list(report.lines_of(plan, 80))
        Drawing(report.picture_of(plan)).save(path)
    finally:
        sys.setprofile(before)
    assert len(document) > 4_000
    assert lines
    assert path.stat().st_size > 10_000
    return calls


def test_a_large_world_is_planned_and_drawn_in_few_calls_per_rank(tmp_path):
    """A million calls take a third of a second: 131,072 ranks stay under one."""
    fewer, more = (calls_for(size, tmp_path / "a.svg") for size in (16_384, 131_072))
    assert (more - fewer) / (131_072 - 16_384) < 8
    assert more < 2_000_000


def test_torch_is_not_imported():
    code = (
        "import sys\nfrom meshcompat.__main__ import main\n"
        f"main(['plan', *{WORDS!r}])\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(mc.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=root)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example[0])
def test_the_documentation_shows_what_is_printed(example, capsys, monkeypatch):
    line, shown = example
    monkeypatch.setenv("COLUMNS", "110")
    _, out, err = run(capsys, *shlex.split(line.removeprefix("meshcompat plan ")))
    assert err + out == shown


def test_names_that_a_terminal_cannot_show_are_spelled_out():
    command = [sys.executable, "-m", "meshcompat", "plan", "--mesh", "\u00e9\u4e2d=2"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    root = Path(mc.__file__).parent.parent
    done = subprocess.run(command, check=True, capture_output=True, cwd=root, env=environment)
    assert rb"\xe9\u4e2d" in done.stdout
