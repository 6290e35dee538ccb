"""Following `kefu.directory.v1`: the whole directory in memory, current within moments, alive without Postgres."""

import asyncio
from typing import Any, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from kefu_common.events.directory import (
    DIRECTORY_EVENT_MODELS,
    DIRECTORY_MODELS,
    Agent,
    ApiKey,
    DirectoryObject,
    Kind,
    MailAddress,
    Role,
    Secret,
)
from kefu_common.events.envelope import Unreadable, read_event
from kefu_common.http.problems import Unavailable
from kefu_common.kafka.topics import DIRECTORY
from kefu_common.permissions import permissions_of
from kefu_common.telemetry import logs, metrics
from kefu_common.tokens import SESSION_SIGNER

log = logs.get(__name__)
T = TypeVar("T", bound=DirectoryObject)


class Directory:
    """What the directory says now: objects by (account, kind, id), and keys by their hash."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, Kind, str], int] = {}
        self._objects: dict[tuple[str, Kind], dict[str, DirectoryObject]] = {}
        self._keys: dict[str, tuple[str, ApiKey]] = {}
        self._sites_by_address: dict[str, tuple[str, str]] = {}

    def get(self, account: str, kind: Kind, model: type[T], id: str) -> T | None:
        """One object, or None."""
        found = self._objects.get((account, kind), {}).get(id)
        return found if isinstance(found, model) else None

    def all(self, account: str, kind: Kind, model: type[T]) -> list[T]:
        """All objects of a kind in an account, by id."""
        found = self._objects.get((account, kind), {})
        return [o for _, o in sorted(found.items()) if isinstance(o, model)]

    def key_by_hash(self, hash: str) -> tuple[str, ApiKey] | None:
        """The account and key whose secret has, or until it was rotated had, this SHA-256."""
        return self._keys.get(hash)

    def site_by_address(self, address: str) -> tuple[str, str] | None:
        """The account and site whose mail comes in at this address, in lower case and without a `+…` part."""
        return self._sites_by_address.get(address)

    def apply(self, account: str, kind: Kind, id: str, version: int, body: dict[str, Any] | None) -> None:
        """Take over a newer state; None deletes. A version not above the known one changes nothing.

        What a newer writer added to an object is ignored.
        """
        place = (account, kind, id)
        if version <= self._versions.get(place, 0):
            return
        # First, so that a body that is none leaves everything as it was, the old key included.
        new = None if body is None else DIRECTORY_MODELS[kind].model_validate(body, extra="ignore")
        known = self._objects.setdefault((account, kind), {})
        match known.pop(id, None):
            case ApiKey() as old:
                for hash in old.hashes:
                    self._keys.pop(hash, None)
            case MailAddress() as old_address:
                # Another account may have it by now: its entry can come first.
                if self._sites_by_address.get(old_address.address) == (account, old_address.site):
                    del self._sites_by_address[old_address.address]
        match new:
            case ApiKey():
                self._keys |= dict.fromkeys(new.hashes, (account, new))
            case MailAddress():
                self._sites_by_address[new.address] = (account, new.site)
        if new is not None:
            known[id] = new
        self._versions[place] = version


class DirectoryFollower:
    """Reads the topic from its beginning and stays with it. Not a group member: every process needs all of it."""

    def __init__(self, bootstrap: str, prefix: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._topic = prefix + DIRECTORY.name
        self._client_id = client_id
        self._caught_up = asyncio.Event()
        self.directory = Directory()

    @property
    def problem(self) -> str | None:
        """Why it cannot be relied on yet, for /readyz."""
        return None if self._caught_up.is_set() else "directory: not read to its end yet"

    async def by_hash(self, hash: str) -> tuple[str, ApiKey] | None:
        """The account and key of which a secret has this hash. Raises `Unavailable` while it may yet turn up."""
        found = self.directory.key_by_hash(hash)
        if found is None:
            self._need_all()
        return found

    async def by_id(self, account: str, id: str) -> ApiKey | None:
        """An account's key by its id. Raises `Unavailable` while it may yet turn up."""
        found = self.directory.get(account, "key", ApiKey, id)
        if found is None:
            self._need_all()
        return found

    async def permissions(self, account: str, agent: str) -> frozenset[str] | None:
        """What the agent's roles permit now. Raises `Unavailable` while the agent may yet turn up."""
        found = self.directory.get(account, "agent", Agent, agent)
        if found is None:
            self._need_all()
            return None
        defined = {role.id: role for role in self.directory.all(account, "role", Role)}
        return permissions_of(found.roles, defined)

    async def token_secret(self, account: str) -> str | None:
        """The sealed secret that signs the account's tokens. Raises `Unavailable` while it may yet turn up."""
        found = self.directory.get(account, "secret", Secret, SESSION_SIGNER)
        if found is None:
            self._need_all()
            return None
        return found.sealed

    async def is_over(self, _session: UUID) -> bool:
        """Only routing knows which sessions were ended; elsewhere a token lasts for its few minutes."""
        return False

    def _need_all(self) -> None:
        if self.problem is not None:
            raise Unavailable("the directory has not been read yet")

    async def wait_until_caught_up(self) -> None:
        """Return once everything that was on the topic at the start has been read."""
        await self._caught_up.wait()

    async def run(self) -> None:
        """Follow until cancelled; waits out a Kafka that is away, then begins anew (versions make that harmless)."""
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                client_id=self._client_id,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            try:
                await consumer.start()
                await self._follow(consumer)
            except KafkaError as error:
                log.warning("directory_waits", error=type(error).__name__)
                await asyncio.sleep(1)
            finally:
                await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        tp = TopicPartition(self._topic, 0)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        while True:
            if (await consumer.position(tp)) >= end:
                self._caught_up.set()
            batches = await consumer.getmany(timeout_ms=500, max_records=2000)
            for records in batches.values():
                for record in records:
                    self._take(record.value, record.offset)

    def _take(self, value: bytes | None, offset: int) -> None:
        try:
            event = read_event(value, DIRECTORY_EVENT_MODELS)
            entry = event.data
            # An entry that is not deleted and has no body is broken: it fails as an empty body.
            body = None if entry.deleted else entry.body or {}
            if entry.kind in DIRECTORY_MODELS:
                self.directory.apply(event.account, entry.kind, entry.object_id, entry.version, body)
        except (Unreadable, ValidationError) as error:
            # The object stays as it was; a newer version of it will come. Nothing else waits for it.
            metrics.DEAD_LETTERS.labels(DIRECTORY.name, "unreadable").inc()
            log.error("directory_entry_unreadable", offset=offset, error=type(error).__name__)
