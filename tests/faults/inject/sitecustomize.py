"""Read by every Python that has this folder on PYTHONPATH: lets a service die, or misbehave, at an exact point.

KEFU_TEST_ORDERS names the folder of one service's orders. A file there is named after a point and holds a number n:
at the n-th time that the process reaches the point it removes the file and kills itself (-9). A file named after a
broken build makes the process one for as long as it lies there. Product code knows nothing of this: each module is
changed right after its import.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import ModuleType
from typing import Any

_ORDERS = os.environ.get("KEFU_TEST_ORDERS", "")
_in_batch: ContextVar[bool] = ContextVar("in_batch", default=False)
_database: ContextVar[Any] = ContextVar("database", default=None)


def _reach(point: str) -> None:
    path = os.path.join(_ORDERS, point)
    try:
        with open(path, encoding="ascii") as file:
            left = int(file.read())
    except FileNotFoundError:
        return
    if left > 1:
        with open(f"{path}.next", "w", encoding="ascii") as file:
            file.write(str(left - 1))
        os.replace(f"{path}.next", path)
        return
    os.unlink(path)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_build(broken: str) -> bool:
    return os.path.exists(os.path.join(_ORDERS, broken))


def _around(owner: Any, name: str, what: str) -> None:
    """Make `before_<what>` and `after_<what>` points of an async function."""
    original = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        _reach(f"before_{what}")
        result = await original(*args, **kwargs)
        _reach(f"after_{what}")
        return result

    setattr(owner, name, wrapped)


def _database_module(module: Any) -> None:
    original = module.Database.transaction

    @asynccontextmanager
    async def transaction(self: Any) -> AsyncIterator[Any]:
        async with original(self) as tx:
            token = _database.set(self)
            try:
                yield tx
            finally:
                _database.reset(token)
            _reach("before_batch_commit" if _in_batch.get() else "before_commit")
        _reach("after_batch_commit" if _in_batch.get() else "after_commit")

    module.Database.transaction = transaction


def _consumer_module(module: Any) -> None:
    original = module.BatchConsumer._work_off

    async def work_off(self: Any, records: Any) -> None:
        if _is_build("acks_first"):
            await self._consumer().commit()
        token = _in_batch.set(True)
        try:
            await original(self, records)
        finally:
            _in_batch.reset(token)

    module.BatchConsumer._work_off = work_off
    _around(module.BatchConsumer, "_commit", "ack")


def _producer_module(module: Any) -> None:
    _around(module.EventProducer, "confirm", "send")
    # Between handing the records to the client and its confirmation.
    _around(module, "_settled", "confirmation")


def _beginnings_module(module: Any) -> None:
    original = module.read

    async def read(tx: Any, batch: Any, *others: Any) -> Any:
        if _is_build("no_inbox"):
            new = set(batch.first)
        elif _is_build("inbox_outside"):
            async with _database.get().pool.acquire() as other, other.transaction():
                new = {row["event"] for row in await other.fetch(module.inbox.RECORD, *batch.arguments)}
        else:
            return await original(tx, batch, *others)
        return replace(await original(tx, module.inbox.incoming([]), *others), new=new)

    module.read = read


def _relay_module(module: Any) -> None:
    original = module.Relay._send

    async def send(self: Any, ready: Any) -> Any:
        if _is_build("deletes_first"):
            ids = [row["id"] for row, _ in ready]
            await self._db.pool.execute("delete from outbox where id = any($1::bigint[])", ids)
        return await original(self, ready)

    module.Relay._send = send


def _sending_module(module: Any) -> None:
    """A clock that runs faster for leases: what a dead sender had in hand is taken over after seconds."""
    module.LEASE_S, module.LONGEST_S = 9, 3


def _sms_module(module: Any) -> None:
    _around(module.SmsGateway, "deliver", "sms")


def _email_module(module: Any) -> None:
    _around(module.MailServer, "deliver", "email")


_CHANGES: dict[str, Callable[[Any], None]] = {
    "kefu_common.postgres.database": _database_module,
    "kefu_common.postgres.relay": _relay_module,
    "kefu_common.kafka.consumer": _consumer_module,
    "kefu_common.kafka.producer": _producer_module,
    "kefu_routing.store.beginnings": _beginnings_module,
    "kefu_notifications.domain.sending": _sending_module,
    "kefu_notifications.handlers.sms": _sms_module,
    "kefu_notifications.handlers.email": _email_module,
}


class _Changing(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, change: Callable[[Any], None]) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        change = _CHANGES.get(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path) if change is not None else None
        if change is None or spec is None or spec.loader is None:
            return None
        spec.loader = _Changing(spec.loader, change)
        return spec


if _ORDERS:
    sys.meta_path.insert(0, _Finder())
