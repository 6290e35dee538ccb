"""A chat by `kefu_client`, which retries, resumes and does nothing twice. Needs the three variables of the page."""

import asyncio
import os
from datetime import UTC, datetime
from uuid import uuid4

from kefu_client import Delivered, Event, Instruction, Kefu, MemoryMarks, Outcome

CHAT = f"chat-{uuid4()}"


def event(id: str, type: str, data: dict[str, str]) -> Event:
    now = datetime.now(UTC).isoformat()
    return {"id": id, "type": type, "site": "shop", "interaction": CHAT, "occurred_at": now, "data": data}


async def main() -> None:
    listening, answered = asyncio.Event(), asyncio.Event()

    async def handle(instruction: Instruction) -> Outcome | None:
        if instruction.interaction != CHAT or instruction.type != "chat.say":
            return None
        print(instruction.data["text"])
        answered.set()
        return Delivered()

    async with Kefu(os.environ["KEFU_INTAKE"], os.environ["KEFU_NOTIFICATIONS"], os.environ["KEFU_KEY"]) as kefu:
        # FileMarks(path) instead of MemoryMarks() goes on after a restart of the adapter.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kefu.follow(handle, MemoryMarks(), on_open=listening.set, ending=answered))
            await listening.wait()
            print(await kefu.post(event(f"{CHAT}-1", "chat.started", {"page": "https://shop.example/oven"})))
            print(await kefu.post(event(f"{CHAT}-2", "chat.message", {"text": "烤箱有货吗？"})))


asyncio.run(main())
