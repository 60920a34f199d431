"""Who makes a server public without a token is told so, with what to do."""

from __future__ import annotations

import asyncio
import logging
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from api.guard import addressed
from api.guard.addressed import own_addresses, public
from api.serve import Options, serve
from tests.security.conftest import WORD

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
     |-- 192.168.1.20
        /32 host LOCAL
     |-- 100.101.102.103
        /32 host LOCAL
     |-- 8.8.4.4
        /32 host LOCAL
     |-- 8.8.4.255
        /32 link BROADCAST
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 04 40 00 82     eth0
26064700000000000000000000001111 04 40 00 00     eth0
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    return tmp_path


@pytest.mark.parametrize(
    ("bound", "found"),
    [
        ("0.0.0.0", ("8.8.4.4",)),
        ("::", ("8.8.4.4", "2606:4700::1111")),
        ("127.0.0.1", ()),
        ("192.168.1.20", ()),
        ("100.101.102.103", ()),
        ("169.254.1.1", ()),
        ("fe80::1", ()),
        ("8.8.4.4", ("8.8.4.4",)),
        ("2606:4700::1111", ("2606:4700::1111",)),
    ],
)
def test_what_the_internet_can_reach(kernel: Path, bound: str, found: tuple[str, ...]) -> None:
    assert public(bound, kernel) == found


def test_a_machine_without_ipv6(kernel: Path) -> None:
    (kernel / "if_inet6").unlink()
    assert public("::", kernel) == ("8.8.4.4",)


def test_a_machine_that_is_no_linux(tmp_path: Path) -> None:
    """The address is one to which something can be bound."""
    for address in own_addresses(tmp_path / "none"):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((str(address), 0))


def test_this_machine_knows_its_own_addresses() -> None:
    assert ip_address("127.0.0.1") in own_addresses()


async def started(options: Options, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Serve until it says that it does."""
    monkeypatch.setattr(addressed, "own_addresses", lambda _: [ip_address("127.0.0.1"), ip_address("8.8.4.4")])
    said = ""
    async with asyncio.timeout(20):
        task = asyncio.create_task(serve(options, {}))
        while " keeps " not in said:
            said += capsys.readouterr().out
            await asyncio.sleep(0.02)
            assert not task.done(), task.exception()
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("0.0.0.0", False, True), (None, False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],
)
async def test_a_public_server_without_a_token_is_warned_of(
    host: str | None,
    token: bool,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "desired.yaml").write_text("services: {}\n")
    (tmp_path / "token").write_text(WORD)
    (tmp_path / "token").chmod(0o600)
    options = Options(
        desired=tmp_path / "desired.yaml",
        host=host,
        port=0,
        data=tmp_path / "data",
        token_file=tmp_path / "token" if token else None,
    )
    with caplog.at_level(logging.WARNING):
        await started(options, monkeypatch, capsys)
    told = [record.getMessage() for record in caplog.records if "internet" in record.getMessage()]
    assert len(told) == warned
    for words in told:
        assert "8.8.4.4" in words
        assert "127.0.0.1" not in words
        assert "--host" in words
        assert "--token-file" in words
