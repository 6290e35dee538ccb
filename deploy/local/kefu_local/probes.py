"""Is it ready? Each probe answers False, never an error, while what it asks is not there yet."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from kefu_local.ports import HOST

PROBE_S = 3.0

Probe = Callable[[], Awaitable[bool]]


async def http_status(port: int, path: str) -> int | None:
    """The status of a GET on 127.0.0.1, or None. By hand: a client library costs more than the request."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            words = (await reader.readline()).split()
            return int(words[1])
    except (OSError, TimeoutError, ValueError, IndexError):
        return None
    finally:
        if writer is not None:
            writer.close()


def http_ready(port: int, path: str = "/readyz") -> Probe:
    async def probe() -> bool:
        status = await http_status(port, path)
        return status is not None and 200 <= status < 300

    return probe


def postgres_ready(dsn: str) -> Probe:
    async def probe() -> bool:
        try:
            connection = await asyncpg.connect(dsn, timeout=PROBE_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    return probe


def kafka_ready(port: int) -> Probe:
    async def probe() -> bool:
        if not await _accepts(port):
            return False
        admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=int(PROBE_S * 1000))
        try:
            async with asyncio.timeout(PROBE_S):
                await admin.start()
                return bool((await admin.describe_cluster())["brokers"])
        except (OSError, TimeoutError, KafkaError):
            return False
        finally:
            await admin.close()

    return probe


async def _accepts(port: int) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(HOST, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
