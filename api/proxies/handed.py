"""A request of the API, on a connection that is otherwise ours: uvicorn answers it, and gives the connection back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


class Handed(H11Protocol):
    """One request. `back` gets what came behind it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        back: Callable[[bytes], None],
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._back = back
        self._answered = False

    def on_response_complete(self) -> None:
        """Give the connection back, once the request is complete too."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._answered = True
        self.flow.resume_reading()
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.DONE:
            self._give_back()
        else:
            # Of a client that never sends the rest there is nothing to be had.
            patience, ending = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(patience, ending)

    def data_received(self, data: bytes) -> None:
        """More of the request: of one that is answered already it is passed over."""
        if not self._answered:
            super().data_received(data)
            return
        self.conn.receive_data(data)
        try:
            while (event := self.conn.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    self._unset_keepalive_if_required()
                    self._give_back()
                    return
        except h11.RemoteProtocolError:
            self.transport.close()

    def _give_back(self) -> None:
        rest, _ = self.conn.trailing_data
        self.connections.discard(self)
        self._back(rest)
