"""One post: who may, what it says, and what becomes of each of its events."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from opentelemetry.trace import Span, SpanKind, StatusCode

from kefu_common.directory_follower import Directory
from kefu_common.events.directory import Site
from kefu_common.events.envelope import CONTENT_TYPE
from kefu_common.http.auth import Principal
from kefu_common.http.problems import BadRequest, Invalid, PayloadTooLarge, Problem, Unavailable
from kefu_common.kafka.producer import Outgoing
from kefu_common.kafka.topics import INTERACTIONS
from kefu_common.mail_tags import ticket_of_interaction
from kefu_common.telemetry import metrics, tracing
from kefu_intake.api import body as bodies
from kefu_intake.api.files import Files
from kefu_intake.domain.forms import SCOPES, Form, FormInvalid, NotJson, read_form, read_json, take_form
from kefu_intake.domain.long_bodies import is_long
from kefu_intake.domain.stamping import out_of_time, record_key, stamp
from kefu_intake.publisher import Fate, Publisher

_RETRY_AFTER_S: Final = 1
_REFUSALS: Final = {
    Fate.UNCONFIRMED: "Kafka has not confirmed the event; post the same again",
    Fate.NO_ROOM: "too many events wait for Kafka; post the same again",
}
_CONTENT_TYPE_HEADER: Final = ("content-type", CONTENT_TYPE.encode())


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that is on the topic."""

    id: str
    interaction: str
    event: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of an array that is not; `id` is None when it has none that could be read."""

    id: str | None
    problem: Problem


@dataclass(frozen=True, slots=True)
class Ready:
    """An event that only lacks Kafka's confirmation."""

    accepted: Accepted
    type: str
    record: Outgoing


@dataclass(frozen=True, slots=True)
class Long:
    """A checked e-mail whose bodies belong into the object store first."""

    form: Form


@dataclass(frozen=True, slots=True)
class Judged:
    """An array whose events were checked and stamped, and the span in which they are published."""

    who: Principal
    span: Span | None
    context: str | None
    items: list[Ready | Long | Refused]


class Acceptance:
    """What happens to a post after its body was read."""

    def __init__(
        self,
        directory: Directory,
        publisher: Publisher,
        files: Files,
        prefix: str,
        now: Callable[[], datetime],
    ) -> None:
        self._directory = directory
        self._publisher = publisher
        self._files = files
        self._topic = prefix + INTERACTIONS.name
        self._now = now

    async def one(self, path: str, body: bytes | bytearray, who: Principal, context: str | None) -> Accepted:
        """Accept a single event.

        Raises:
            Problem: it is not on the topic, or nobody knows (503).
        """
        try:
            form = read_form(path, body)
        except NotJson as error:
            raise _not_json(error) from None
        except FormInvalid as error:
            raise Invalid(error.complaints) from None
        self._check(form, who)
        return await self.form(form, who, context)

    async def item(self, path: str, item: object, who: Principal, context: str | None) -> Accepted:
        """The same for JSON that was put together already. Raises `Problem`."""
        try:
            form = take_form(path, item)
        except FormInvalid as error:
            raise Invalid(error.complaints) from None
        self._check(form, who)
        return await self.form(form, who, context)

    async def form(self, form: Form, who: Principal, context: str | None) -> Accepted:
        """Publish one event that was checked. Raises `Problem`."""
        if is_long(form):
            form = await self._files.lay_aside(form, who.account)
        span = self._span(who, context, 1)
        with tracing.in_context(span):
            ready = self._ready(form, who, tracing.traceparent_of(span) if span is not None else context)
            [result] = await self._publish([ready], span)
        if isinstance(result, Refused):
            raise result.problem
        return result

    def judge(self, path: str, body: bytes | bytearray, who: Principal, context: str | None) -> Judged:
        """Check the events of an array, each as if it came alone. Nothing of the body is kept.

        Raises:
            Problem: the body is no JSON, or has too many items.
        """
        items, oversized = _items(body)
        span = self._span(who, context, len(items))
        parent = tracing.traceparent_of(span) if span is not None else context
        judged = [self._judge(path, item, n in oversized, who, parent) for n, item in enumerate(items)]
        return Judged(who, span, parent, judged)

    async def many(self, judged: Judged) -> list[Accepted | Refused]:
        """Publish what may be accepted of an array; the answers are in order."""
        with tracing.in_context(judged.span):
            items = [await self._laid_aside(i, judged) if isinstance(i, Long) else i for i in judged.items]
            good = [item for item in items if isinstance(item, Ready)]
            results = iter(await self._publish(good, judged.span))
        return [next(results) if isinstance(item, Ready) else item for item in items]

    async def _laid_aside(self, long: Long, judged: Judged) -> Ready | Refused:
        try:
            form = await self._files.lay_aside(long.form, judged.who.account)
            return self._ready(form, judged.who, judged.context)
        except Problem as problem:
            return Refused(long.form["id"], problem)

    def _judge(
        self, path: str, item: object, is_oversized: bool, who: Principal, context: str | None
    ) -> Ready | Long | Refused:
        try:
            if is_oversized:
                raise PayloadTooLarge(bodies.EVENT_TOO_LARGE)
            form = take_form(path, item)
            self._check(form, who)
            return Long(form) if is_long(form) else self._ready(form, who, context)
        except FormInvalid as error:
            return Refused(_id_of(item), Invalid(error.complaints))
        except Problem as problem:
            return Refused(_id_of(item), problem)

    def _check(self, form: Form, who: Principal) -> None:
        site = form["site"]
        who.need(SCOPES[form["type"]])
        who.need_site(site)
        found = [complaint] if (complaint := out_of_time(form["occurred_at"], self._now())) else []
        if self._directory.get(who.account, "site", Site, site) is None:
            found.append(("site", "the directory has no such site"))
        if ticket_of_interaction(form["interaction"]) is not None:
            found.append(("interaction", "ticket- and a UUID name a ticket's own e-mails: expected another id"))
        if found:
            raise Invalid(found)

    def _ready(self, form: Form, who: Principal, context: str | None) -> Ready:
        site = self._directory.get(who.account, "site", Site, form["site"])
        event = stamp(form, who.account, who.adapter, "CN" if site is None else site.region, context)
        headers = (_CONTENT_TYPE_HEADER, ("traceparent", context.encode())) if context else (_CONTENT_TYPE_HEADER,)
        record = Outgoing(self._topic, record_key(event), event.to_bytes(), headers)
        if record.size > record.at_most:
            raise PayloadTooLarge("the event is too large once it is written")
        return Ready(Accepted(form["id"], event.subject, event.id), event.type, record)

    async def _publish(self, ready: Sequence[Ready], span: Span | None) -> Iterable[Accepted | Refused]:
        fates = await self._publisher.publish([each.record for each in ready])
        if span is not None and any(fate is not Fate.CONFIRMED for fate in fates):
            span.set_status(StatusCode.ERROR)
        return [_result(each, fate) for each, fate in zip(ready, fates, strict=True)]

    def _span(self, who: Principal, context: str | None, count: int) -> Span | None:
        if not tracing.is_sampled(context):
            return None
        attributes: dict[str, Any] = {
            "kefu.account": who.account,
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": self._topic,
            "messaging.batch.message_count": count,
        }
        return tracing.start_span(f"publish {INTERACTIONS.name}", SpanKind.PRODUCER, context, attributes)


def _result(ready: Ready, fate: Fate) -> Accepted | Refused:
    if fate is not Fate.CONFIRMED:
        return Refused(ready.accepted.id, Unavailable(_REFUSALS[fate], _RETRY_AFTER_S))
    metrics.EVENTS_ACCEPTED.labels(ready.type).inc()
    return ready.accepted


def _items(body: bytes | bytearray) -> tuple[list[object], frozenset[int]]:
    try:
        items = read_json(body)
    except NotJson as error:
        raise _not_json(error) from None
    assert isinstance(items, list)
    if len(items) > bodies.MAX_ARRAY_EVENTS:
        raise bodies.too_many()
    return items, bodies.oversized_items(body)


def _not_json(error: NotJson) -> BadRequest:
    return BadRequest(f"the body is not JSON: {error}")


def _id_of(item: object) -> str | None:
    id = item.get("id") if isinstance(item, dict) else None
    return id[:200] if isinstance(id, str) else None
