"""Why an agent receives nothing (D-10): what a supervisor would look for, in their words. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from kefu_common.events.directory import Agent, Group, Plan
from kefu_common.events.words import Channel, PresenceState
from kefu_routing.domain import admission
from kefu_routing.domain.assignment import PASS_S
from kefu_routing.domain.hours import NEVER
from kefu_routing.domain.model import AccountDirectory
from kefu_routing.domain.online import hands_of
from kefu_routing.domain.strategies import Candidate
from kefu_routing.domain.texts import REFUSALS

_CHANNELS = (Channel.CALL, Channel.CHAT, Channel.EMAIL)
"""An offline message takes the same room as an e-mail."""
_CHANNEL_ZH = {Channel.CALL: "电话", Channel.CHAT: "在线咨询", Channel.EMAIL: "邮件和留言"}
_STATE_ZH = {
    PresenceState.BUSY: "忙碌",
    PresenceState.BREAK: "小休",
    PresenceState.AFTER_CALL: "话后整理",
    PresenceState.AWAY: "离开",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason, and where it stands: the directory object and field, or the agent's presence or queue.

    A rule that refuses contacts too has the refusal's reason as its name, and its words.
    """

    rule: str
    path: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Tickets of a channel and category that could be offered now in one of the agent's groups."""

    group: str
    channel: Channel
    category: str | None
    takes_capacity: bool
    is_relaxed: bool = False
    """Whether an overflow step lets agents without the category's skills take it."""
    is_passed: bool = False
    """Whether the agent declined it or let it lapse, so lately that it does not come to them again yet."""
    waits_for: str | None = None
    """Another agent whom it prefers, and who is only busy."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that an agent's work depends on; `state` is None while they are signed out."""

    directory: AccountDirectory
    agent: str
    state: PresenceState | None
    reason: str | None
    held: Mapping[Channel, int]
    waiting: Sequence[Waits]
    next_state: PresenceState | None = None
    """What the agent does when what is in hand has ended."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the agent is offered what comes or waits now, and what stands in the way or soon may."""

    receives: bool
    findings: list[Finding]


def check(situation: Situation, now: datetime) -> Check:
    """Look at everything, the agent first, then their groups, then what waits."""
    directory, agent = situation.directory, situation.directory.agents[situation.agent]
    hands = hands_of(directory, agent.id, situation.held)
    groups = [group for group in directory.groups.values() if agent.id in group.agents]
    absent = list(_absence(situation))
    obstacles = {group.id: list(_of_group(directory, group, now)) for group in groups}
    findings = [*absent, *_of_capacity(agent, situation.held)]
    if not groups:
        en = f"agent {agent.id} belongs to no group: add them to one"
        findings.append(Finding("no_group", "groups", en, f"坐席 {agent.id} 不属于任何组：请把该坐席加入一个组"))
    for group in groups:
        findings += [*_leaderless(directory, group), *obstacles[group.id]]
    findings += _unserved_categories(directory)
    findings += _of_queue(situation, agent, groups)
    takes = _takes_something(situation, agent, hands, obstacles)
    if not takes:
        findings += _of_tickets(situation)
    # Two groups may have the same obstacle, such as a site that is closed.
    return Check(not absent and takes, list(dict.fromkeys(findings)))


def _takes_something(
    situation: Situation, agent: Agent, hands: Candidate, obstacles: Mapping[str, Sequence[Finding]]
) -> bool:
    """Something of what waits, or, while nothing does, something that may come."""
    if not situation.waiting:
        has_room = any(hands.has_room_for(channel) for channel in _CHANNELS)
        return has_room and any(not found for found in obstacles.values())
    return any(
        not _goes_by(waits)
        and (not waits.takes_capacity or hands.has_room_for(waits.channel))
        and not _missing_skills(situation.directory, agent, waits)
        for waits in situation.waiting
    )


def _absence(situation: Situation) -> Iterator[Finding]:
    id, state, path = situation.agent, situation.state, f"agents/{situation.agent}/presence"
    match state, situation.reason:
        case PresenceState.AVAILABLE, _:
            if situation.next_state is not None:
                en = f"agent {id} takes nothing new: after what is in hand comes {situation.next_state}"
                zh = f"坐席 {id} 处理完手上的工单后转为{_STATE_ZH.get(situation.next_state, '其他状态')}，不再接收分配"
                yield Finding("leaving", path, en, zh)
        case None, _:
            yield Finding("signed_out", path, f"agent {id} is not available: signed out", f"坐席 {id} 未签入")
        case PresenceState.AWAY, "lease":
            en = f"agent {id} is not available: away, because nothing was heard of their client any more"
            yield Finding("client_vanished", path, en, f"坐席 {id} 已离开：客户端失去联系")
        case PresenceState.AWAY, "missed":
            en = f"agent {id} is not available: away, because they missed an offer"
            yield Finding("missed_offer", path, en, f"坐席 {id} 已离开：错过了一次分配")
        case state, _:
            en = f"agent {id} is not available: {state}"
            yield Finding("not_available", path, en, f"坐席 {id} 当前状态为{_STATE_ZH[state]}，不接收分配")


def _of_capacity(agent: Agent, held: Mapping[Channel, int]) -> Iterator[Finding]:
    written = held.get(Channel.EMAIL, 0) + held.get(Channel.MESSAGE, 0)
    calls, chats = held.get(Channel.CALL, 0), held.get(Channel.CHAT, 0)
    for channel, count, most in (
        (Channel.CALL, calls, agent.capacity.call),
        (Channel.CHAT, chats, agent.capacity.chat),
        (Channel.EMAIL, written, agent.capacity.email),
    ):
        path, zh = f"agents/{agent.id}/capacity/{channel}", _CHANNEL_ZH[channel]
        if most == 0:
            en = f"agent {agent.id} has a capacity of 0 for {channel}s, and gets none"
            yield Finding("no_capacity", path, en, f"坐席 {agent.id} 的{zh}负载上限为 0，不会分配{zh}")
        elif count >= most:
            en = f"agent {agent.id} has no room for another {channel}: {count} of {most} held"
            yield Finding("at_capacity", path, en, f"坐席 {agent.id} 的{zh}已满：{count}/{most}")
    if calls:
        en = f"agent {agent.id} is on a call, and gets nothing else until it has ended"
        yield Finding(
            "on_a_call", f"agents/{agent.id}/capacity/call", en, f"坐席 {agent.id} 正在通话，结束前不分配其他工单"
        )
    load = agent.load
    if (
        load is not None
        and (weight := chats * load.chat + written * load.email) + min(load.chat, load.email) > load.most
    ):
        en = f"agent {agent.id} has no room left in the common load: {weight} of {load.most} held"
        yield Finding("at_load", f"agents/{agent.id}/load", en, f"坐席 {agent.id} 的总负载已满：{weight}/{load.most}")


def _leaderless(directory: AccountDirectory, group: Group) -> Iterator[Finding]:
    if group.leader not in directory.agents:
        en = f"the group {group.id} has no leader: {group.leader} is not an agent any more"
        zh = f"组“{group.name}”没有组长：{group.leader} 已不是坐席"
        yield Finding("no_leader", f"groups/{group.id}/leader", en, zh)


def _of_group(directory: AccountDirectory, group: Group, now: datetime) -> Iterator[Finding]:
    """Why nothing new comes to the group."""
    if not group.sources:
        en = f"the group {group.id} has no source ticked, so nobody can consult it; who tries is told: "
        en += REFUSALS["source"][1]
        zh = f"组“{group.name}”没有勾选服务渠道，任何渠道都无法咨询，来访者会被告知：{REFUSALS['source'][0]}"
        yield Finding("source", f"groups/{group.id}/sources", en, zh)
    if not group.tiers:
        en = f"the group {group.id} has no tier ticked, so it serves nobody; who tries is told: {REFUSALS['tier'][1]}"
        zh = f"组“{group.name}”没有勾选用户范围，不服务任何用户，来访者会被告知：{REFUSALS['tier'][0]}"
        yield Finding("tier", f"groups/{group.id}/tiers", en, zh)
    plans = [plan for plan in directory.plans.values() if admission.reaches(plan, group.id)]
    if not plans:
        en = f"the group {group.id} is in no plan, so no site sends it anything"
        yield Finding("no_plan", "plans", en, f"组“{group.name}”不在任何客服方案中，没有站点会分配给它")
    overshadowed = [found for plan in plans if (found := _overshadowed(directory, group, plan)) is not None]
    if len(overshadowed) == len(plans):
        yield from overshadowed
    closed = [found for plan in plans if (found := _closed(directory, plan, now)) is not None]
    if len(closed) == len(plans):
        # One open site is enough.
        yield from closed


def _overshadowed(directory: AccountDirectory, group: Group, plan: Plan) -> Finding | None:
    """What names no category goes to the first group that serves its source and tier, so to none behind that."""
    if group.categories or group.id not in plan.groups:
        return None
    for id in plan.groups[: plan.groups.index(group.id)]:
        before = directory.groups.get(id)
        if before is not None and "*" in before.sources and "*" in before.tiers:
            en = (
                f"the group {group.id} receives no category, and all else goes to {id}, before it in the plan {plan.id}"
            )
            zh = f"组“{group.name}”没有接收任何咨询分类，其余工单都分配给方案 {plan.id} 中排在它前面的组“{before.name}”"
            return Finding("no_category", f"groups/{group.id}/categories", en, zh)
    return None


def _closed(directory: AccountDirectory, plan: Plan, now: datetime) -> Finding | None:
    site = directory.sites.get(plan.site)
    if site is None:
        en = f"the plan {plan.id} is for the site {plan.site}, which there is not any more"
        return Finding("no_site", f"plans/{plan.id}/site", en, f"方案 {plan.id} 的站点 {plan.site} 已不存在")
    opens = admission.opens_at(directory, site.id, now)
    if opens <= now:
        return None
    path = f"calendars/{site.calendar}"
    if opens == NEVER:
        en = f"the site {site.id} never opens: its calendar {site.calendar} has no opening hours"
        return Finding("never_opens", path, en, f"站点“{site.name}”从不营业：日历 {site.calendar} 没有营业时间")
    local = f"{opens.astimezone(ZoneInfo(site.time_zone)):%Y-%m-%d %H:%M}"
    en = f"the site {site.id} is closed now, and opens at {local} ({site.time_zone})"
    return Finding("closed", path, en, f"站点“{site.name}”现在不营业，{local}（{site.time_zone}）开始营业")


def _unserved_categories(directory: AccountDirectory) -> Iterator[Finding]:
    served = {category for group in directory.groups.values() for category in group.categories}
    for category in directory.categories.values():
        if category.id not in served:
            en = f"no group receives the category {category.id}: its tickets go to the first group of the site's plan"
            zh = f"没有组接收分类“{category.name}”：其工单会分配给站点方案的第一个组"
            yield Finding("category_unserved", f"categories/{category.id}", en, zh)


def _of_queue(situation: Situation, agent: Agent, groups: Sequence[Group]) -> Iterator[Finding]:
    if not situation.waiting:
        if groups:
            named = ", ".join(group.id for group in groups)
            en = f"nothing waits in the groups of agent {agent.id} ({named})"
            yield Finding("nothing_waits", "queues", en, f"坐席 {agent.id} 所在的组（{named}）没有排队的工单")
        return
    missing = [_missing_skills(situation.directory, agent, waits) for waits in situation.waiting if not _goes_by(waits)]
    for skill in sorted(set.intersection(*(set(skills) for skills in missing)) if missing else ()):
        level, needed = agent.skills.get(skill, 0), min(skills[skill] for skills in missing)
        en = f"everything that waits needs the skill {skill} at level {needed} or more; agent {agent.id} has {level}"
        zh = f"排队的工单都需要技能“{skill}”至少 {needed} 级；坐席 {agent.id} 为 {level} 级"
        yield Finding("lacks_skill", f"agents/{agent.id}/skills/{skill}", en, zh)


def _of_tickets(situation: Situation) -> Iterator[Finding]:
    """What of all that waits goes by the agent for reasons of its own."""
    id = situation.agent
    if any(waits.is_passed for waits in situation.waiting):
        en = f"agent {id} declined or missed what waits, and is not offered the same ticket again for {PASS_S} s"
        zh = f"坐席 {id} 刚拒绝或错过了排队的工单，{PASS_S} 秒内不会再次分配给该坐席"
        yield Finding("passed", "queues", en, zh)
    for other in sorted({waits.waits_for for waits in situation.waiting if waits.waits_for is not None}):
        en = f"what waits, waits for {other}, who served the contact last or invited them and is busy"
        zh = f"排队的工单正在等待坐席 {other}：该坐席上次服务过或邀请了这位访客，目前忙碌"
        yield Finding("preference", f"agents/{other}", en, zh)


def _goes_by(waits: Waits) -> bool:
    return waits.is_passed or waits.waits_for is not None


def _missing_skills(directory: AccountDirectory, agent: Agent, waits: Waits) -> dict[str, int]:
    """What the tickets' category asks for and the agent does not know well enough."""
    category = directory.categories.get(waits.category or "")
    needed = category.skills if category is not None and not waits.is_relaxed else {}
    return {skill: level for skill, level in needed.items() if agent.skills.get(skill, 0) < level}
