"""What must be true of every load, whatever was killed meanwhile. Each check returns the offenders.

Source: design, section 6, guarantees 1 to 3; section 4.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tests.faults.record import Record, Story
from tests.faults.state import State

T = TypeVar("T")
ADMIN_EMAIL, ADMIN_PHONE = "admin@shop.example", "+8613800138000"

Check = Callable[[Record, State], list[str]]


def everything_was_accepted(record: Record, state: State) -> list[str]:
    """Every post ended in 202, always for the same event; nothing else than 202 and 503 was ever answered."""
    found = list(record.complaints)
    for posted in (p for of in record.posts.values() for p in of):
        odd = {a for a in posted.answers if isinstance(a, int)} - {202, 503}
        if not posted.is_accepted or len(posted.events) != 1 or odd:
            found.append(f"{posted.body['id']}: {posted.answers} {posted.events}")
    for command in record.commands:
        allowed = {200, 204, 503} | ({409} if command.path.endswith("/accept") else set())
        if odd := {a for a in command.answers if isinstance(a, int)} - allowed:
            found.append(f"{command.agent} {command.path}: {odd} {command.answer}")
    return found


def each_event_is_recorded(record: Record, state: State) -> list[str]:
    """Routing's inbox, which holds an id once, holds every event that was answered 202."""
    posts = [p for of in record.posts.values() for p in of]
    return [f"{p.body['id']}: {p.events} is not in the inbox" for p in posts if not p.events <= state.inbox]


def each_interaction_has_one_ticket(record: Record, state: State) -> list[str]:
    """Its start took effect exactly once."""
    tickets = Counter(t.interaction for t in state.tickets)
    started = [i for i, posts in record.posts.items() if posts and posts[0].is_accepted]
    return [f"{i}: {tickets[i]} tickets" for i in started if tickets[i] != 1]


def each_message_is_kept_once_in_order(record: Record, state: State) -> list[str]:
    """What the contact wrote, and what agents replied, stands in the conversation as it was posted."""
    interaction_of = {t.id: t.interaction for t in state.tickets}
    kept: dict[str, list[str]] = defaultdict(list)
    replied: dict[str, list[str]] = defaultdict(list)
    for said in state.messages:
        if said.origin == "contact":
            kept[interaction_of[said.ticket]].append(said.text)
        elif said.origin == "agent":
            replied[said.ticket].append(said.text)
    found = []
    for interaction, posts in record.posts.items():
        wanted = [p.body["data"]["text"] for p in posts if p.is_accepted and "text" in p.body.get("data", {})]
        if kept[interaction] != wanted:
            found.append(f"{interaction}: posted {wanted}, kept {kept[interaction]}")
    for ticket, replies in record.replies.items():
        wanted = [r.body["text"] for r in replies if r.is_done]
        if replied[ticket] != wanted:
            found.append(f"{ticket}: replied {wanted}, kept {replied[ticket]}")
    return found


def each_ticket_ended_as_it_should(record: Record, state: State) -> list[str]:
    """Handled, abandoned, refused or still queued: as its story goes."""
    ends = {Story.HANG_UP: "abandoned", Story.REFUSED: "refused", Story.KEPT: "queued"}
    found = []
    for ticket in state.tickets:
        wanted = ends.get(record.stories[ticket.interaction], "resolved")
        if ticket.status != wanted:
            found.append(f"{ticket.interaction}: {ticket.status}, not {wanted}")
    return found


def ticket_events_have_no_gap(record: Record, state: State) -> list[str]:
    """On Kafka, repeats aside: the sequences 1, 2, 3 … in order, the same as in routing's history."""
    found = []
    for ticket in state.tickets:
        logged = _first_ones(state.log[ticket.id], lambda event: event.id)
        published = [(e.sequence, e.type) for e in logged]
        happened = [(e.sequence, e.type) for e in state.history.get(ticket.id, [])]
        numbers = [e.sequence for e in logged]
        if numbers != list(range(1, ticket.sequence + 1)) or published != happened:
            found.append(f"{ticket.id}: {published} on Kafka, {happened} in the history, at {ticket.sequence}")
    return found


def no_ticket_has_two_handlers(record: Record, state: State) -> list[str]:
    """One agent took it, once; no offer is left open, and at most one was accepted."""
    found = []
    takers: dict[str, set[str]] = defaultdict(set)
    for command in record.commands:
        if command.path.endswith("/accept") and command.is_done:
            takers[command.answer["id"]].add(command.agent)
    for ticket in state.tickets:
        took = [e for e in state.history.get(ticket.id, []) if e.type == "kefu.ticket.assigned"]
        accepted = [o for o in state.offers if o.ticket == ticket.id and o.status == "accepted"]
        if len(took) > 1 or len(accepted) > 1 or not takers[ticket.id] <= {ticket.handler}:
            found.append(f"{ticket.id}: taken {len(took)} times, by {takers[ticket.id]}, handler {ticket.handler}")
    found += [f"{o.ticket}: {o.agent}'s offer is open" for o in state.offers if o.status == "open" and not o.is_current]
    return found


def each_reply_was_said_in_order(record: Record, state: State) -> list[str]:
    """On the outbound stream: every chat reply at least once, and those of an interaction first seen in order."""
    interaction_of = {t.id: t.interaction for t in state.tickets}
    said: dict[str, list[str]] = defaultdict(list)
    for instruction in _first_ones(record.instructions, lambda i: i["id"]):
        if instruction["type"] == "kefu.chat.say":
            said[instruction["subject"]].append(instruction["data"]["text"])
    found = []
    for ticket, replies in record.replies.items():
        interaction = interaction_of.get(ticket, "")
        wanted = [r.body["text"] for r in replies if r.is_done]
        if record.stories.get(interaction) is Story.CHAT and said[interaction] != wanted:
            found.append(f"{interaction}: replied {wanted}, said {said[interaction]}")
    refused = {i["subject"] for i in record.instructions if i["type"] == "kefu.chat.refused"}
    wanted_refusals = {i for i, story in record.stories.items() if story is Story.REFUSED}
    return found + [f"{i}: nobody told the visitor that the site is closed" for i in wanted_refusals - refused]


_SOON_OVER = ("kefu.call.ring", "kefu.call.cancel", "kefu.chat.position")


def the_outbound_stream_keeps_order(record: Record, state: State) -> list[str]:
    """Every instruction of an interaction, first seen in the order in which routing gave them; a ring or a place in the
    queue that was over before anybody could be told may be missing."""
    seen: dict[str, list[str]] = defaultdict(list)
    for instruction in _first_ones(record.instructions, lambda i: i["id"]):
        seen[instruction["subject"]].append(instruction["id"])
    found = []
    for interaction, given in state.instructions.items():
        wanted = [
            i.id for i in _first_ones(given, lambda i: i.id) if i.id in seen[interaction] or i.type not in _SOON_OVER
        ]
        if seen[interaction] != wanted:
            found.append(f"{interaction}: given {[(i.type, i.id) for i in given]}, seen {seen[interaction]}")
    return found


def the_tickets_stream_has_no_gap(record: Record, state: State) -> list[str]:
    """Subscribers see each ticket's events in order from the first to the last."""
    seen: dict[str, list[int]] = defaultdict(list)
    for event in _first_ones(record.events, lambda e: e["id"]):
        seen[event["subject"]].append(event["sequence"])
    wanted = {t.id: list(range(1, t.sequence + 1)) for t in state.tickets}
    return [f"{ticket}: {seen[ticket]}" for ticket, numbers in wanted.items() if seen[ticket] != numbers]


def people_were_told(record: Record, state: State) -> list[str]:
    """Each SMS exactly once (the provider knows a repeat by its key), each e-mail at least once."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sunk in state.sunk:
        texts[sunk["channel"], sunk["to"]].append(f"{sunk['subject']} {sunk['text']}")
    found = []
    for interaction, story in record.stories.items():
        if story.is_message:
            found += _told(texts["email", ADMIN_EMAIL], f"{interaction} says 1", "email")
            found += _told(texts["sms", ADMIN_PHONE], f"{interaction} says 1", "sms")
    for ticket in state.tickets:
        contact = record.posts[ticket.interaction][0].body["contact"]
        for reply in record.replies.get(ticket.id, []):
            if record.stories[ticket.interaction] is Story.EMAIL:
                found += _told(texts["email", contact["email"]], reply.body["text"], "email")
            elif record.stories[ticket.interaction] is Story.MESSAGE:
                found += _told(texts["sms", contact["phone"]], reply.body["text"], "sms")
    return found


def the_report_counts_once(record: Record, state: State) -> list[str]:
    """The day's totals grew by exactly this load."""
    count = record.count()
    handled = sum(n for story, n in count.items() if story.is_handled)
    wanted = Counter(
        opened=len(record.stories),
        answered=handled,
        resolved=handled,
        abandoned=count[Story.HANG_UP],
        refused=count[Story.REFUSED],
        messages_left=count[Story.MESSAGE] + count[Story.KEPT],
    )
    return [f"{m}: {state.report[m]}, not {wanted[m]}" for m in wanted if state.report[m] != wanted[m]]


def nothing_is_left_over(record: Record, state: State) -> list[str]:
    """No outbox holds anything, and nothing was set aside."""
    return [f"outbox of {s}: {n} rows" for s, n in state.outboxes.items() if n] + state.dead


ALL: tuple[Check, ...] = (
    everything_was_accepted,
    each_event_is_recorded,
    each_interaction_has_one_ticket,
    each_message_is_kept_once_in_order,
    each_ticket_ended_as_it_should,
    ticket_events_have_no_gap,
    no_ticket_has_two_handlers,
    each_reply_was_said_in_order,
    the_outbound_stream_keeps_order,
    the_tickets_stream_has_no_gap,
    people_were_told,
    the_report_counts_once,
    nothing_is_left_over,
)


def offenders(record: Record, state: State) -> dict[str, list[str]]:
    """All checks' offenders, by check; empty when all is well."""
    found = {check.__name__: check(record, state) for check in ALL}
    return {name: of for name, of in found.items() if of}


def _told(texts: Sequence[str], wanted: str, channel: str) -> list[str]:
    times = sum(wanted in text for text in texts)
    is_well = times == 1 if channel == "sms" else times >= 1
    return [] if is_well else [f"{channel} {wanted!r}: {times} times"]


def _first_ones(items: Iterable[T], key: Callable[[T], str]) -> list[T]:
    """Without repeats, in the order of their first appearance."""
    first: dict[str, T] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())
