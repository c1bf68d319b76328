"""Pictures of meshes: every rank beside its group, on paper, in a terminal and in a file."""

from __future__ import annotations

import doctest
import io
import itertools
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

import meshcompat as mc
from meshcompat import _layout
from meshcompat._drawing.drawing import Drawing
from meshcompat._drawing.palette import COLOURS
from meshcompat._drawing.picture import Cells, Gap, MeshDim, Picture, boxes_of
from meshcompat._drawing.words import mark_of
from meshcompat._rank_text import ranks_text
from meshcompat.testing import fake_world

once = pytest.mark.once
NAMES = ("pp", "dp", "tp")


def layout_of(shape, names=NAMES):
    return mc.MeshLayout(tuple(shape), _layout.dims_of(shape), tuple(names))


def picture_of(shape, per_node=8, rank=None):
    dims = tuple(map(MeshDim, ("",) * len(shape), NAMES, _layout.dims_of(shape)))
    everyone = range(dims[0].axes[0][0] * dims[0].axes[0][1])
    return Picture("some", everyone, dims, dims, boxes_of(everyone, per_node), rank=rank)


def marks_in(text):
    """Return the mark of each rank as it stands in a drawn text."""
    return {int(rank): mark for rank, mark in re.findall(r"[ \[]+(\d+) ([A-Z]+)", text)}


def groups_in(text):
    """Return the groups that a drawn text shows, as sets of ranks."""
    groups = {}
    for rank, mark in marks_in(text).items():
        groups.setdefault(mark, set()).add(rank)
    return sorted(map(sorted, groups.values()))


@once
class TestText:
    @pytest.mark.parametrize(
        ("dim", "groups"),
        [
            ("pp", [[0, 4], [1, 5], [2, 6], [3, 7]]),
            ("dp", [[0, 2], [1, 3], [4, 6], [5, 7]]),
            (-1, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ],
    )
    def test_shows_the_groups_of_a_mesh_dim(self, dim, groups):
        drawing = mc.show(layout_of((2, 2, 2)), dim=dim, nodes=1)
        assert groups_in(drawing.text(80).partition("node 0")[2]) == groups

    @pytest.mark.parametrize("width", [40, 60, 120])
    @pytest.mark.parametrize("shape", [(2, 8, 4), (8, 4096, 4), (1, 72, 1)], ids=str)
    def test_keeps_to_the_width(self, width, shape):
        lines = mc.show(layout_of(shape), rank=3).text(width).splitlines()
        assert max(map(len, lines)) <= width

    def test_of_a_box_has_straight_edges(self):
        text = mc.show(layout_of((2, 5, 3)), nodes=3, rank=17).text(100)
        widths = {len(line) for line in text.splitlines() if line.startswith(("┌", "│", "└"))}
        assert len(widths) == 1

    def test_points_out_a_rank_and_says_so(self):
        text = mc.show(layout_of((2, 2, 2)), dim="tp", rank=5).text(80)
        assert "[5 C]" in text
        assert "rank 5 is in C: 4, 5" in text
        assert text.endswith("[ ] is rank 5; equal letters are one group")

    def test_leaves_out_most_of_a_large_world_and_counts_it(self):
        text = mc.show(layout_of((8, 4096, 4)), dim="tp", nodes=16384, rank=70001).text(80)
        (counts,) = [re.findall(r"(\d+) more ranks", text)]
        drawn = {
            int(rank) for rank in re.findall(r"(\d+) [A-Z]+ *[\]│ ]", text.partition("node")[2])
        }
        assert sum(map(int, counts)) + len(drawn) == 131072
        assert {0, 70001, 131071} <= drawn
        assert len(text.splitlines()) < 60

    def test_leaves_out_ranks_of_a_large_node_and_counts_them(self):
        text = mc.show(layout_of((1, 300, 1)), dim="dp", nodes=1, rank=150).text(80)
        (count,) = re.findall(r"\.\.(\d+)\.\.", text.partition("150 A")[0])
        assert "[150 A]" in text
        assert len(marks_in(text)) + int(count) + 148 == 300
        assert "..148.." in text

    def test_is_drawn_in_letters_where_the_terminal_has_no_lines(self, monkeypatch):
        drawing = mc.show(layout_of((2, 2, 2)), nodes=1)
        assert "┌ node 0 ─" in str(drawing)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        assert "+ node 0 -" in str(drawing)
        assert str(drawing).isascii()

    def test_in_colour_has_the_same_letters(self):
        drawing = mc.show(layout_of((2, 2, 2)), nodes=2, rank=1)
        out = io.StringIO()
        console = Console(
            file=out, width=60, force_terminal=True, color_system="truecolor", legacy_windows=False
        )
        console.print(drawing)
        red, green, blue = bytes.fromhex(COLOURS[0][0][1:])
        assert f"48;2;{red};{green};{blue}m" in out.getvalue()
        plain = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
        assert plain == f"{drawing.text(60)}\n"


@once
class TestFiles:
    @pytest.mark.parametrize("suffix", [".svg", ".html"])
    def test_tell_each_rank_with_coordinate_and_groups(self, suffix, tmp_path):
        path = tmp_path / f"mesh{suffix}"
        mc.show(layout_of((2, 2, 2)), nodes=2).save(path)
        told = "rank 5 at pp=1, dp=0, tp=1\npp B: 1, 5\ndp D: 5, 7\ntp C: 4, 5"
        cells = [each for each in Read.file(path).elements if each.get("aria-label") == told]
        assert [cell.get("tabindex") for cell in cells] == ["0"] * 3

    @pytest.mark.parametrize("suffix", [".svg", ".html"])
    def test_ask_for_nothing_from_elsewhere_and_run_no_script(self, suffix, tmp_path):
        path = tmp_path / f"mesh{suffix}"
        mc.show(layout_of((2, 4, 4)), nodes=4).save(path)
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"https?://[^\"]*", text) in ([], ["http://www.w3.org/2000/svg"])
        assert not re.search(r"<script|<link rel=\"style|@import|url\(|\bon\w+=", text)

    @pytest.mark.parametrize("suffix", [".svg", ".html"])
    def test_escape_the_names_of_users(self, suffix, tmp_path):
        path = tmp_path / f"mesh{suffix}"
        evil = ("<script>", "\"&'", "</style>")
        hosts = [f"<b onclick='x'>{rank // 4}" for rank in range(8)]
        mc.show(layout_of((2, 2, 2), evil), nodes=hosts).save(path)
        shown = "".join(Read.file(path).texts)
        for name in (*evil, hosts[0], hosts[7]):
            assert name in shown
        assert "<script" not in path.read_text(encoding="utf-8")

    @pytest.mark.parametrize("suffix", [".svg", ".html"])
    def test_leave_out_ranks_of_a_large_node_and_count_them(self, suffix, tmp_path):
        path = tmp_path / f"mesh{suffix}"
        mc.show(layout_of((1, 300, 1)), dim="dp", nodes=1).save(path)
        drawn = [each for each in Read.file(path).elements if "tabindex" in each]
        assert f"…{300 - len(drawn)}…" in Read.file(path).texts
        assert 100 < len(drawn) < 200

    def test_are_text_for_the_suffix_txt(self, tmp_path):
        drawing = mc.show(layout_of((2, 2, 2)))
        drawing.save(str(tmp_path / "MESH.TXT"))
        assert (tmp_path / "MESH.TXT").read_text(encoding="utf-8") == f"{drawing.text(80)}\n"

    def test_of_another_suffix_are_refused(self, tmp_path):
        with pytest.raises(mc.MeshLayoutError, match=r"mesh\.png.*none of \.svg, \.html"):
            mc.show(layout_of((2, 2, 2))).save(tmp_path / "mesh.png")
        assert list(tmp_path.iterdir()) == []

    def test_of_svg_are_xml(self):
        text = mc.show(layout_of((2, 2, 2), ("<", "&", '"'))).svg()
        root = ET.fromstring(text)  # noqa: S314  (our own text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"

    def test_of_a_large_world_stay_small(self):
        drawing = mc.show(layout_of((8, 4096, 4)), nodes=16384, rank=70001)
        assert len(drawing.svg()) < 400_000
        assert len(drawing.html()) < 300_000

    def test_a_notebook_shows_a_part_of_a_page(self):
        part = mc.show(layout_of((2, 2, 2)))._repr_html_()
        assert part.startswith('<div class="mesh">')
        assert "<html" not in part

    @pytest.mark.parametrize("colours", COLOURS, ids=str)
    def test_have_letters_that_can_be_read_on_their_colours(self, colours):
        darker, lighter = sorted(map(luminance, colours))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@once
class TestFolding:
    @pytest.mark.parametrize("rank", [None, 0, 100, 511])
    @pytest.mark.parametrize("budget", [8, 24, 64, 512])
    @pytest.mark.parametrize("per_node", [1, 8, 100])
    def test_loses_no_rank(self, rank, budget, per_node):
        picture = picture_of((2, 64, 4), per_node, rank)
        for dim in picture.dims:
            shown, left_out = [], 0
            for item in picture.folded(dim, budget):
                for cell in item.ranks if isinstance(item, Cells) else [item]:
                    if isinstance(cell, Gap):
                        left_out += cell.ranks
                    else:
                        shown.append(cell)
            assert shown == sorted(set(shown))
            assert all(b - a != 2 for a, b in itertools.pairwise(shown)) or per_node == 1
            assert len(shown) + left_out == 512
            assert {0, 511, rank} - {None} <= set(shown)

    def test_finds_ranks_of_hosts_that_are_mixed(self):
        hosts = [f"host {rank % 3}" for rank in range(512)]
        dims = picture_of((2, 64, 4)).dims
        boxes = boxes_of(range(512), hosts)
        picture = Picture("some", range(512), dims, dims, boxes, rank=400)
        (drawn,) = [item for item in picture.folded(dims[0], 24) if item[0] == "host 1"]
        assert 400 in drawn.ranks

    def test_keeps_some_of_the_group_of_the_rank(self):
        picture = picture_of((4, 64, 4), 8, 513)
        (pp, _, _) = picture.dims
        boxes = [item.title for item in picture.folded(pp, 64) if isinstance(item, Cells)]
        assert {"node 0", "node 32", "node 64", "node 96"} <= set(boxes)


@once
class TestWords:
    def test_marks_are_letters(self):
        assert [mark_of(group) for group in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]
        assert len({mark_of(group) for group in range(20000)}) == 20000

    @pytest.mark.parametrize(
        ("ranks", "text"),
        [
            ([3], "3"),
            ([0, 2], "0, 2"),
            (range(8), "0-7"),
            (range(0, 64, 4), "0, 4, ..., 60 (16)"),
            ([0, 1, 2, 3, 32, 33, 34, 35, 36], "0, 1, 2, 3, 32, 33, ..., 36 (9)"),
        ],
    )
    def test_ranks_fit_into_a_line(self, ranks, text):
        assert ranks_text(ranks) == text


@once
class TestRefusals:
    @pytest.mark.parametrize("nodes", [0, 3, -1, True, "ab", ["a"], 2.0])
    def test_nodes_that_do_not_fit(self, nodes):
        with pytest.raises(mc.MeshLayoutError, match="do not fit a world of 8 ranks"):
            mc.show(layout_of((2, 2, 2)), nodes=nodes)

    @pytest.mark.parametrize(
        "layout",
        [
            mc.MeshLayout((4,), (((3, 1),),), ("a",)),
            mc.MeshLayout((8,), (((2, 1), (2, 1)),), ("a",)),
            mc.MeshLayout((4,), (((4, 1),),), ("a", "b")),
        ],
        ids=str,
    )
    def test_layouts_of_no_mesh(self, layout):
        with pytest.raises(mc.MeshLayoutError, match="is the layout of no mesh"):
            mc.show(layout)

    @pytest.mark.parametrize("dim", ["cp", 3, -4, 0.0])
    def test_unknown_mesh_dims(self, dim):
        with pytest.raises(mc.MeshDimError, match=r"unknown mesh dim .*\('pp', 'dp', 'tp'\)"):
            mc.show(layout_of((2, 2, 2)), dim=dim)

    @pytest.mark.parametrize("rank", [8, -1, "0", True])
    def test_ranks_outside(self, rank):
        with pytest.raises(mc.MeshLayoutError, match=r"is not in this mesh; give one of its 8"):
            mc.show(layout_of((2, 2, 2)), rank=rank)


@once
def test_torchrun_tells_the_nodes(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert "node 3" in mc.show(layout_of((2, 2, 2))).text(80)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert "ranks 0-7" in mc.show(layout_of((2, 2, 2))).text(80)


@once
def test_the_example_of_a_drawing_prints_what_it_says():
    (example,) = doctest.DocTestFinder(recurse=False).find(Drawing, "Drawing")
    told = io.StringIO()
    assert doctest.DocTestRunner().run(example, out=told.write).failed == 0, told.getvalue()


@once
class TestDocumentation:
    DOCS = Path(__file__).parent.parent / "docs"

    def test_shows_what_is_printed(self, capsys):
        text = self.DOCS.joinpath("show.md").read_text(encoding="utf-8")
        code, shown = re.search(
            r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL
        ).groups()
        exec(code, {})  # noqa: S102  (it is our own page)
        assert capsys.readouterr().out == shown

    def test_has_the_picture_that_is_drawn(self):
        drawing = mc.show(layout_of((2, 4, 4)), nodes=4, rank=5)
        picture = self.DOCS.joinpath("show", "mesh.svg").read_text(encoding="utf-8")
        assert drawing.svg() == picture


class TestMeshes:
    def test_show_the_groups_that_they_have(self):
        with fake_world(16, rank=6):
            root = mc.init_device_mesh("cpu", (2, 4, 2), mesh_dim_names=NAMES)
            flat = mc.flatten(mc.get_submesh(root, ("pp", "tp")), "pp_tp")
            for mesh, name in [*((root, name) for name in NAMES), (flat, "pp_tp"), (root, "pp_tp")]:
                text = mc.show(mesh, dim=name, nodes=2).text(80)
                mine = marks_in(text.partition("node 0")[2])
                assert [r for r in mine if mine[r] == mine[6]] == mc.get_ranks(root, name)

    def test_of_some_ranks_show_these_ranks(self):
        with fake_world(8, rank=2):
            mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"), ranks=[1, 2, 5, 7])
            text = mc.show(mesh, nodes=2).text(80)
            assert groups_in(text.partition("a: ")[2].partition("b: ")[0]) == [[1, 5], [2, 7]]
            assert "rank 2 is in B: 2, 7" in text

    def test_seen_from_outside_point_no_rank_out(self):
        with fake_world(8, rank=0):
            mesh = mc.init_device_mesh("cpu", (2,), mesh_dim_names=("a",), ranks=[4, 5])
            assert "[ ]" not in mc.show(mesh).text(80)

    def test_tell_the_root_and_numbers_for_names(self):
        with fake_world(8):
            root = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
            part = mc.get_submesh(root, "tp")
            assert (
                repr(mc.show(part)) == "<drawing of mesh (tp=4) of the root (dp=2, tp=4), 8 ranks>"
            )
            assert "mesh (dim_0=8), 8 ranks" in str(mc.show(mc.init_device_mesh("cpu", (8,))))

    def test_refuse_an_unknown_mesh_dim_as_all_verbs_do(self):
        with fake_world(8):
            root = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
            with pytest.raises(mc.MeshDimError, match="unknown mesh dim 'cp': the mesh has"):
                mc.show(root, dim="cp")

    def test_are_drawn_where_there_is_no_world(self):
        with fake_world(8, rank=6):
            root = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
            there = mc.show(root, nodes=2).text(80)
            data = mc.mesh_to_dict(root)
        detached = mc.mesh_from_dict(data, detached=True)
        assert mc.show(detached, nodes=2, rank=6).text(80) == there

    def test_are_not_touched(self):
        with fake_world(8):
            root = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
            before = dict(vars(type(root)))
            mc.show(root).html()
            assert dict(vars(type(root))) == before


class Read(HTMLParser):
    """What a browser finds in a file: the attributes of each element, and the texts."""

    def __init__(self):
        super().__init__()
        self.elements, self.texts = [], []

    @classmethod
    def file(cls, path):
        found = cls()
        found.feed(path.read_text(encoding="utf-8"))
        return found

    def handle_starttag(self, _, attrs):
        self.elements.append(dict(attrs))

    def handle_data(self, data):
        self.texts.append(data)


def luminance(colour):
    """Return the relative luminance of a colour, as WCAG 2 defines it."""
    channels = [value / 255 for value in bytes.fromhex(colour[1:])]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
