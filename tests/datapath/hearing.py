"""A data path that hears, as a process of its own: before two servers whose ports it is given. It says its own.

python -m tests.datapath.hearing FOLDER STT-PORT DIARIZER-PORT
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from api.guard.addressed import Hosts
from api.proxies.audio.inquiry import Diarizer
from api.proxies.audio.sounds import Sounds
from api.proxies.wire import Wire
from api.serve import Server, _listen, configured
from tests.unit.api.proxies.audio.sound import Named
from tests.unit.api.proxies.stage import FakeBackend, app, until_gone


async def main(folder: Path, stt: int, dia: int) -> None:
    """Until it is killed."""
    behind = [FakeBackend("whisper", until_gone, port=stt), FakeBackend("dia", until_gone, port=dia)]
    wire = Wire(Named(*behind), audio=Sounds(folder, lambda: {"dia": Diarizer("dia", "/v1/diarize")}))
    wire.guarded(hosts=Hosts(), origins=None, token=None)
    server = Server(configured(app(), wire))
    with _listen("127.0.0.1", 0) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
