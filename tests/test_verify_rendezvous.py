"""Ranks that cannot meet: each cause has a message of its own, which says what to do."""

import socket

import pytest
import torch
import torch.distributed as dist

from meshcompat._rank_processes.place import Place
from meshcompat.verify import checks
from meshcompat.verify.launched.command import rendezvous_failure
from meshcompat.verify.launched.rank import Rank
from meshcompat.verify.launched.rendezvous import (
    RendezvousError,
    check_place,
    connect,
    open_server,
)
from tests.support.verify_faults import standard_plan


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def place_of(rank, port, *, world_size=4, host="127.0.0.1"):
    return Place(rank, world_size, rank, host, port, has_store=False, attempt="a", launcher="x")


def test_a_port_in_use_is_told():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RendezvousError, match=f"port {port} cannot be opened on") as raised:
            open_server(place_of(0, port), 1.0)
    assert "where rank 0 runs: Address already in use" in str(raised.value)
    assert "choose another port with MASTER_PORT" in str(raised.value)


def test_a_host_name_that_does_not_resolve_is_told_at_once(port):
    with pytest.raises(RendezvousError, match="the host name 'no-such-host") as raised:
        connect(place_of(1, port, host="no-such-host.invalid"), 3600.0)
    assert "does not resolve on" in str(raised.value)
    assert "set MASTER_ADDR" in str(raised.value)


def test_a_port_where_nobody_listens_is_told(port):
    with pytest.raises(RendezvousError, match=f"nobody listens at 127.0.0.1:{port}") as raised:
        connect(place_of(1, port), 0.5)
    assert "look whether rank 0 was started" in str(raised.value)


def test_a_firewall_is_told(monkeypatch, port):
    def drop(_address, timeout):
        assert timeout <= 0.5
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", drop)
    with pytest.raises(RendezvousError, match="does not answer on") as raised:
        connect(place_of(1, port), 0.5)
    assert "a firewall drops the connection, or the host is down" in str(raised.value)


def test_ranks_that_fit_together_meet(port):
    server = open_server(place_of(0, port), 10.0)
    check_place(place_of(0, port), server)
    client = connect(place_of(1, port), 10.0)
    check_place(place_of(1, port), client)
    server.set("word", "hello")
    assert client.get("word") == b"hello"


def test_ranks_that_were_told_of_different_world_sizes_are_told():
    store = dist.HashStore()
    check_place(place_of(0, 1, world_size=4), store)
    with pytest.raises(RendezvousError, match="rank 5 was told of 8 ranks, and another rank of 4"):
        check_place(place_of(5, 1, world_size=8), store)


def test_two_processes_that_are_the_same_rank_are_told():
    store = dist.HashStore()
    check_place(place_of(2, 1), store)
    with pytest.raises(RendezvousError, match="two processes were told to be rank 2"):
        check_place(place_of(2, 1), store)


def test_a_rank_that_cannot_meet_the_others_says_why_and_fails(port):
    place = place_of(1, port, world_size=2, host="no-such-host.invalid")
    rank = Rank(standard_plan(2), place, torch.device("cpu"), 60.0, checks.all_reduce)
    told = []
    assert not rank.verify(told.append, lambda *_: None)
    assert told == []
    failure = rendezvous_failure(rank)
    assert (failure.kind, failure.ranks) == ("rendezvous", (1,))
    assert "does not resolve on" in failure.message
