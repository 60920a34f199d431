"""The shell that stays open for the facts of a scan, on real OpenSSH."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.linkdown import CommandTimeout, LinkDown
from reconciler.remote import RemoteHost
from tests.unit.reconciler.test_ssh import SSHD, Sshd, begun, link_to, serving

pytestmark = pytest.mark.skipif(not SSHD.exists(), reason="OpenSSH's server is not installed")
MARK = "=0123 end\n"
END = f"printf %s '{MARK[:-1]}'; echo"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with serving(tmp_path / "sshd", "MaxSessions 10") as running:
        yield running


async def test_one_shell_answers_question_after_question(server: Sshd) -> None:
    async with link_to(server) as link:
        answers = [await link.ask(f"echo $$ {n}\n{END}", MARK, timeout=5) for n in range(3)]
    pids = {answer.split()[0] for answer in answers}
    assert [answer.split()[1] for answer in answers] == ["0", "1", "2"]
    assert len(pids) == 1


async def test_questions_at_the_same_time_take_turns(server: Sshd) -> None:
    async with link_to(server) as link:
        answers = await asyncio.gather(*(link.ask(f"sleep 0.1; echo {n}\n{END}", MARK, timeout=5) for n in range(5)))
    assert answers == [f"{n}\n{MARK}" for n in range(5)]


async def test_nothing_in_a_question_can_eat_the_next_one(server: Sshd) -> None:
    async with link_to(server) as link:
        first, second = await asyncio.gather(
            link.ask(f'cat; read x; echo "[$x]"\n{END}', MARK, timeout=5),
            link.ask(f"echo two\n{END}", MARK, timeout=5),
        )
    assert (first, second) == (f"[]\n{MARK}", f"two\n{MARK}")


async def test_a_look_may_do_what_it_likes_to_its_own_part_of_the_shell(server: Sshd, tmp_path: Path) -> None:
    script = f"f() {{ echo mine; }}; exec 9<{tmp_path}; printf '%s ' $$; exit 3"
    async with link_to(server) as link:
        host = RemoteHost(link, "/nowhere", "sparkkeep")
        first, second = [await host.look(script, timeout=5) for _ in range(2)]
        left = "f 2>/dev/null || echo no function; [ -e /proc/$$/fd/9 ] || echo no file"
        assert await host.look(left, timeout=5) == "no function\nno file\n"
    assert first == second != ""


async def test_a_look_that_was_cut_short_is_no_answer(server: Sshd) -> None:
    async with link_to(server) as link:
        with pytest.raises(LinkDown, match="in the middle of a question"):
            await RemoteHost(link, "/nowhere", "sparkkeep").look("echo half; kill -9 $$", timeout=5)


async def test_what_stands_on_stderr_is_no_answer(server: Sshd) -> None:
    async with link_to(server) as link:
        assert await link.ask(f"echo noise >&2; echo said\n{END}", MARK, timeout=5) == f"said\n{MARK}"


async def test_a_shell_that_ended_between_questions_is_replaced(server: Sshd, tmp_path: Path) -> None:
    async with link_to(server) as link:
        assert await link.ask(f"echo one\n(sleep 0.1; kill -9 $$) & {END}", MARK, timeout=5) == f"one\n{MARK}"
        await asyncio.sleep(0.4)
        assert await link.ask(f"echo two\n{END}", MARK, timeout=5) == f"two\n{MARK}"
        assert link.connects == 1


async def test_a_shell_that_ends_in_the_middle_leaves_an_answer_without_its_mark(server: Sshd) -> None:
    async with link_to(server) as link:
        assert await link.ask(f"echo half; exit 3\n{END}", MARK, timeout=5) == "half\n"
        assert await link.ask(f"echo whole\n{END}", MARK, timeout=5) == f"whole\n{MARK}"


async def test_a_question_that_is_not_answered_in_time_is_given_up(server: Sshd) -> None:
    async with link_to(server) as link:
        with pytest.raises(CommandTimeout):
            await link.ask(f"sleep 20\n{END}", MARK, timeout=0.4)
        assert await link.ask(f"echo next\n{END}", MARK, timeout=5) == f"next\n{MARK}"
        assert link.connects == 1


async def test_the_shell_gives_its_seat_to_whoever_needs_one(server: Sshd) -> None:
    """A standing shell, a pull and four log tails: nobody waits for a seat that only convenience holds."""
    async with link_to(server) as link:
        first = await link.ask(f"echo $$\n{END}", MARK, timeout=5)
        busy = [asyncio.create_task(link.run("sleep 20", timeout=60)) for _ in range(4)]
        await asyncio.sleep(0.4)
        assert (await link.run("echo fifth", timeout=5)).stdout == "fifth\n"
        assert await link.ask(f"echo $$\n{END}", MARK, timeout=5) != first
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_a_server_with_one_session_gets_its_commands_too(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd", "MaxSessions 1") as server:
        async with link_to(server) as link:
            for n in range(3):
                assert await link.ask(f"echo {n}\n{END}", MARK, timeout=5) == f"{n}\n{MARK}"
                assert (await link.run("echo ran", timeout=5)).stdout == "ran\n"
            assert link.connects == 1


async def test_a_connection_that_breaks_while_asked_is_link_down(server: Sshd, tmp_path: Path) -> None:
    async with link_to(server) as link:
        asking = asyncio.create_task(link.ask(f"echo $$ > {tmp_path}/pid; sleep 20\n{END}", MARK, timeout=30))
        await begun(tmp_path / "pid")
        for pid in server.sessions():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(LinkDown) as caught:
            await asking
        assert caught.value.reason == "ConnectionLost"
        assert await link.ask(f"echo back\n{END}", MARK, timeout=5) == f"back\n{MARK}"
