"""Serving a small application on 127.0.0.1 until this process is told to stop."""

import asyncio

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kefu_local.ports import HOST


async def serve_until_stopped(app: FastAPI, port: int, *, http: type[asyncio.Protocol] = HttpToolsProtocol) -> None:
    """SIGTERM and SIGINT let open requests end within 3 s."""
    config = uvicorn.Config(
        app, host=HOST, port=port, http=http, log_level="warning", access_log=False, timeout_graceful_shutdown=3
    )
    await uvicorn.Server(config).serve()
