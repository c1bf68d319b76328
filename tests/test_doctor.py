"""`meshcompat doctor` on the torch that is installed: what it finds, live, alone and between ranks."""

import json
import threading
from pathlib import Path

import torch
from torch.distributed import HashStore

from meshcompat import _eras
from meshcompat.__main__ import main
from meshcompat.doctor import ranks
from meshcompat.doctor.faults import FAULTS

STORED = json.loads(
    Path(__file__).parent.parent.joinpath("docs", "data", "faults.json").read_text("utf-8")
)


def test_the_doctor_finds_this_torch_its_era_and_its_faults(capsys, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("NCCL_PASSPHRASE", "hunter2")

    assert main(["doctor", "--json"]) == 0

    out = capsys.readouterr().out
    found = json.loads(out)
    assert found["torch"]["release"] == torch.__version__
    assert found["era"]["name"] == _eras.era().name
    assert "gloo" in found["backends"]
    assert found["missing"] == []
    assert found["ranks"] is None
    assert found["environment"]["NCCL_DEBUG"] == "INFO"
    assert "NCCL_PASSPHRASE" in found["environment"]
    assert "hunter2" not in out
    assert found["faults_error"] is None
    release = torch.__version__.partition("+")[0]
    published = {fault["name"]: fault["torch"].get(release) for fault in STORED}
    live = {fault["name"]: fault["verdict"] for fault in found["faults"]}
    assert live.keys() == {fault.name for fault in FAULTS}
    assert all(published[name] in {verdict, None} for name, verdict in live.items())


def test_an_era_is_chosen_by_what_torch_can_do():
    era = _eras.detected()
    assert era is _eras.era()
    newer = _eras.ERAS[_eras.ERAS.index(era) + 1 :]
    owners = {"DeviceMesh": torch.distributed.device_mesh.DeviceMesh}
    owners["_mesh_resources"] = vars(torch.distributed.device_mesh)["_mesh_resources"]
    for other in (era, *newer):
        owner, name = other.capability
        assert hasattr(owners[owner], name) == (other is era)


def talk(world_size, words, *, absent=(), timeout=20.0):
    """Return what rank 0 hears of ranks that are threads."""
    store = HashStore()
    threads = [
        threading.Thread(target=ranks.tell_rank_0, args=(store, rank, words(rank), timeout))
        for rank in range(1, world_size)
        if rank not in absent
    ]
    for thread in threads:
        thread.start()
    heard = ranks.hear_all(store, world_size, words(0), timeout)
    for thread in threads:
        thread.join()
    return heard


def test_rank_0_hears_what_differs():
    heard = talk(4, lambda rank: {"host": f"h{rank // 2}", "torch": "2" if rank < 3 else "1"})
    assert heard.missing == []
    assert heard.hosts == {"h0": [0, 1], "h1": [2, 3]}
    assert heard.differences == [ranks.Difference("torch", {"2": [0, 1, 2], "1": [3]})]
    assert heard.clocks == {}
    assert heard.error is None


def test_a_rank_that_does_not_come_is_named_and_the_others_are_heard():
    heard = talk(3, lambda _rank: {"host": "h"}, absent=[1], timeout=0.5)
    assert heard.missing == [1]
    assert heard.hosts == {"h": [0, 2]}


def test_alone_in_a_world_of_one():
    assert talk(1, lambda _rank: {"host": "h"}).hosts == {"h": [0]}


def test_a_rank_that_leaves_before_it_tells_the_time_is_heard_all_the_same(monkeypatch):
    monkeypatch.setattr(ranks, "_READING_CLOCKS", 0.1)
    store = HashStore()
    store.set("told/1", '{"host": "h"}')
    store.add("here/1", 1)
    store.add("here", 1)
    heard = ranks.hear_all(store, 2, {"host": "h"}, 10)
    assert heard.hosts == {"h": [0, 1]}
    assert heard.clocks == {}
