"""The account that a new stack has, so that everything can be tried at once. See docs: design, section 8."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from kefu_local.credentials import Credentials, CredentialsFile
from kefu_local.errors import StepFailed

ACCOUNT = "demo"
Body = dict[str, Any]

CALENDARS: list[Body] = [{"id": "never", "name": "从不营业", "weekly": []}]
SITES: list[Body] = [
    {"id": "shop", "name": "网店", "time_zone": "Asia/Shanghai", "calendar": None},
    {"id": "night", "name": "夜间", "time_zone": "Asia/Shanghai", "calendar": "never"},
]
ADDRESSES: list[Body] = [
    {"id": "service", "address": "service@shop.example", "site": "shop"},
    {"id": "night", "address": "service@night.example", "site": "night"},
]
GROUPS = {"pre-sale": ("售前", range(1, 5)), "after-sale": ("售后", range(5, 9)), "complaints": ("投诉", range(9, 13))}
TEXTS = {
    "offline": "现在无人值班，请留言并留下联系方式。",
}
ADMINISTRATOR: Body = {
    "id": "admin",
    "name": "管理员",
    "login": "admin",
    "email": "admin@shop.example",
    "phone": "+8613800138000",
    "roles": ["administrator"],
    "capacity": {"call": 0, "chat": 0, "email": 0},
}
ADAPTER_KEY: Body = {
    "id": "adapter",
    "adapter": "demo",
    "scopes": [
        *(f"{what}:write" for what in ("calls", "chats", "emails", "messages", "visits", "ratings", "outcomes")),
        "outbound:read",
    ],
    "sites": ["shop", "night"],
    "expires_at": None,
}
TOP_UP: Body = {"account": ACCOUNT, "amount_fen": 49_500, "reference": "demo-opening"}
"""An account begins with 500 fen; 500 CNY in all."""
EDITION = 2
"""Raised when the account gets something new: a stack that has an older one gets it at its next start."""
TRIES = 20
WAIT_S = 0.5


def agents() -> list[Body]:
    return [_agent(number, leads=number == numbers[0]) for _, numbers in GROUPS.values() for number in numbers] + [
        ADMINISTRATOR
    ]


def groups() -> list[Body]:
    return [
        {
            "id": id_,
            "name": name,
            "leader": f"a{numbers[0]:02}",
            "agents": [f"a{number:02}" for number in numbers],
            "categories": [id_],
            "sources": ["*"],
            "tiers": ["*"],
        }
        for id_, (name, numbers) in GROUPS.items()
    ]


def plans() -> list[Body]:
    """What names no category goes to a plan's first group."""
    shared = {"groups": list(GROUPS), "strategy": "round_robin", "texts": TEXTS, "max_wait_s": None}
    return [{"id": site["id"], "site": site["id"], **shared} for site in SITES]


async def create(routing_url: str, notifications_url: str, file: CredentialsFile) -> Credentials:
    """Creates what is missing, and answers all keys. Raises StepFailed. Once complete it changes nothing any more."""
    known = file.load()
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        account = {"id": ACCOUNT, "short_name": "小店", "licensed_seats": 20}
        created = await _post(client, f"{routing_url}/v1/accounts", known.operator, account)
        if created is not None:
            known = file.keep_admin(created["keys"]["admin"])
        elif known.demo_complete and known.demo_edition == EDITION:
            return known
        if known.admin is None:
            raise StepFailed(f"The account {ACCOUNT} exists, but its key is lost: `make clean`, then `make up`.")
        await _fill(client, routing_url, known.admin)
        if known.adapter is None:
            file.keep_adapter(await _adapter_key(client, routing_url, known.admin))
        elif known.demo_edition != EDITION:
            await _post(client, f"{routing_url}/v1/keys/{ADAPTER_KEY['id']}", known.admin, ADAPTER_KEY, method="PUT")
        await _post(client, f"{notifications_url}/v1/credit/top-ups", known.operator, TOP_UP, retry_on=(404,))
    return file.keep_demo_complete(EDITION)


async def wait_in_force(services: Mapping[str, str], keys: Credentials) -> None:
    """Return when every service knows the demo account's keys: they follow the directory within moments.

    Raises StepFailed.
    """
    asked = [
        ("POST", f"{services['intake']}/v1/chats", keys.adapter),
        ("GET", f"{services['notifications']}/v1/messages", keys.admin),
        ("GET", f"{services['notifications']}/v1/stream?feed=none", keys.adapter),
        ("GET", f"{services['reporting']}/v1/reports/daily", keys.admin),
    ]
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        for method, url, key in asked:
            for _ in range(TRIES):
                # What is asked makes no sense on purpose; only whether the key is known counts.
                answer = await client.request(method, url, json={}, headers={"Authorization": f"Bearer {key}"})
                if answer.status_code not in (401, 503):
                    break
                await asyncio.sleep(WAIT_S)
            else:
                raise StepFailed(f"The demo account's key is still unknown to {url}: see the log of that service.")


async def _fill(client: httpx.AsyncClient, routing_url: str, admin_key: str) -> None:
    things = {
        "calendars": CALENDARS,
        "sites": SITES,
        "addresses": ADDRESSES,
        "agents": agents(),
        "groups": groups(),
        "plans": plans(),
    }
    for kind, bodies in things.items():
        for body in bodies:
            await _post(client, f"{routing_url}/v1/{kind}", admin_key, body)


async def _adapter_key(client: httpx.AsyncClient, routing_url: str, admin_key: str) -> str:
    created = await _post(client, f"{routing_url}/v1/keys", admin_key, ADAPTER_KEY)
    if created is None:
        # It was created by a start that ended before it could keep the key, which nobody can see again.
        headers = {"Authorization": f"Bearer {admin_key}"}
        (await client.delete(f"{routing_url}/v1/keys/{ADAPTER_KEY['id']}", headers=headers)).raise_for_status()
        created = await _post(client, f"{routing_url}/v1/keys", admin_key, ADAPTER_KEY)
    if created is None:
        raise StepFailed("The demo account's adapter key cannot be made anew: `make clean`, then `make up`.")
    return str(created["key"])


async def _post(
    client: httpx.AsyncClient, url: str, key: str, body: Body, *, retry_on: tuple[int, ...] = (), method: str = "POST"
) -> Body | None:
    """The answer, or None where the id exists already (409)."""
    problem = ""
    for _ in range(TRIES):
        try:
            response = await client.request(method, url, json=body, headers={"Authorization": f"Bearer {key}"})
        except httpx.TransportError as error:
            problem = str(error) or type(error).__name__
        else:
            if response.status_code == 409:
                return None
            if response.is_success:
                return dict(response.json()) if response.content else {}
            problem = f"{response.status_code} {response.text[:300]}"
            if response.status_code < 500 and response.status_code not in (429, *retry_on):
                break
        await asyncio.sleep(WAIT_S)
    raise StepFailed(f"The demo account cannot be created: {method} {url} {body.get('id', '')}: {problem}")


def _agent(number: int, *, leads: bool) -> Body:
    id_ = f"a{number:02}"
    return {
        "id": id_,
        "name": f"坐席{number:02}",
        "login": id_,
        "phone": str(8000 + number),
        "email": f"{id_}@shop.example",
        "roles": ["agent", "leader"] if leads else ["agent"],
        "capacity": {"call": 1, "chat": 3, "email": 5},
    }
