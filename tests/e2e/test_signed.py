"""An adapter whose TLS ends where others read: its key signs, and nothing else is needed to post and to follow."""

import asyncio

from kefu_client import Delivered, Instruction, Kefu, Outcome, Signing
from tests.e2e import kefu as e2e
from tests.e2e.kefu import Json, an_id, now, until


async def test_a_signing_adapter_posts_follows_and_outlives_a_rotation(kefu: e2e.Kefu) -> None:
    await kefu.sign_in("a01")
    terms: Json = {"id": an_id("key"), "adapter": an_id("web"), "signed": True}
    terms["scopes"] = ["chats:write", "outcomes:write", "outbound:read"]
    made = await kefu.call("routing", "POST", "/v1/keys", terms, expect=201)
    signing = Signing("demo", terms["id"], made["signing_secret"])
    chat, heard, listening = an_id("chat"), asyncio.Event(), asyncio.Event()

    async def handle(instruction: Instruction) -> Outcome | None:
        if instruction.type != "chat.say":
            return None
        heard.set()
        return Delivered()

    async with (
        Kefu(kefu.urls["intake"], kefu.urls["notifications"], signing=signing) as adapter,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(adapter.follow(handle, on_open=listening.set, ending=heard))
        await listening.wait()
        started = {"id": an_id("e"), "type": "chat.started", "site": "shop", "interaction": chat}
        await adapter.post({**started, "occurred_at": now()})  # type: ignore[typeddict-item]
        ticket = await kefu.ticket_in(chat, "offered")
        await kefu.accept(await kefu.offer_of(ticket))
        rotated = await kefu.call("routing", "POST", f"/v1/keys/{terms['id']}/rotate", {}, expect=201)
        await kefu.command(ticket, "reply", {"text": "您好"}, "a01")

    async def is_delivered() -> bool | None:
        said = await kefu.call("routing", "GET", f"/v1/tickets/{ticket['id']}/messages")
        return said["items"][-1]["state"] == "delivered" or None

    await until("the reply was delivered", is_delivered)
    later = Signing("demo", terms["id"], rotated["signing_secret"])
    async with Kefu(kefu.urls["intake"], kefu.urls["notifications"], signing=later) as adapter:
        ended = {"id": an_id("e"), "type": "chat.ended", "site": "shop", "interaction": chat}
        await adapter.post({**ended, "occurred_at": now()})  # type: ignore[typeddict-item]
    await kefu.command(ticket, "resolve", {"text": ""}, "a01")
