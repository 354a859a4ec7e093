"""Runs the simulator in another program's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Generator

import uvicorn

from .app import Simulator

HOST = "127.0.0.1"

MOUNTS = {
    "OpenAI": "/openai/v1",
    "Anthropic": "/anthropic",
    "Gemini API": "/google",
    "Vertex AI": "/vertex",
    "Vertex AI's token endpoint": "/vertex/token",
    "Groq": "/groq/openai/v1",
    "Bedrock": "/bedrock",
    "Google Cloud Storage": "/storage",
    "Amazon S3": "/s3",
    "Mistral": "/mistral/v1",
    "anything OpenAI-compatible": "/compatible/v1",
}
"""The base URL for each provider's clients, relative to the server's."""


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the program around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _listener(port: int) -> socket.socket:
    # Named as TCP, so that event loops turn off the delay of small packets: answers would end 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.asynccontextmanager
async def running_simulator(simulator: Simulator | None = None, *, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve a simulator in this event loop for as long as the context lasts.

    Args:
        simulator: What to serve; a new one by default.
        port: The port; 0 finds a free one.

    Yields:
        The base URL, such as `http://127.0.0.1:40123`, without a slash at the end.

    Raises:
        OSError: The port is taken.
    """
    listener = _listener(port)
    config = uvicorn.Config(
        simulator or Simulator(),
        log_config=None,  # the program configures logging
        lifespan="off",
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="simulator")
    try:
        while not server.started:
            await asyncio.wait((running,), timeout=0.005)
            if running.done():
                await running
                raise RuntimeError("the simulator's server ended before it had started")
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()
