"""The sink as one process: HTTP and SMTP in one event loop."""

import asyncio
from pathlib import Path

from kefu_local.ports import HOST
from kefu_local.sink.behaviour import Switch
from kefu_local.sink.http import CuttableProtocol, make_app
from kefu_local.sink.smtp import make_server
from kefu_local.sink.store import Store
from kefu_local.web import serve_until_stopped


async def serve(port: int, smtp_port: int, file: Path) -> None:
    """Until SIGTERM or SIGINT."""
    store, switch = Store(file), Switch()
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(lambda: make_server(store, switch), HOST, smtp_port)
    try:
        await serve_until_stopped(make_app(store, switch), port, http=CuttableProtocol)
    finally:
        mail.close()
        store.close()
