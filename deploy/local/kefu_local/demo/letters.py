"""Those who write: e-mails, and messages left while the shop is closed."""

from kefu_local.demo.arrivals import Arrival
from kefu_local.demo.client import Json
from kefu_local.demo.shop import Shop
from kefu_local.demo.talk import Letter
from kefu_local.demo.trace import Showcase


async def email(shop: Shop, arrival: Arrival) -> None:
    """An e-mail, and the second one that some announce in the first."""
    assert isinstance(arrival.says, Letter)
    assert arrival.contact is not None
    letter, thread = arrival.says, shop.client.name("mail")
    claim = arrival.contact.claim("email")
    first: Json = {"subject": letter.subject, "text": letter.text, "headers": {"Message-ID": f"<{thread}@example.com>"}}
    shop.tally.open_letters.add(thread)
    await shop.client.post(
        "email.received", thread, source="email", category=arrival.category, contact=claim, data=first
    )
    shop.tally.opened["email"].add(thread)
    if letter.follow_up is None:
        return
    await shop.pace.sleep(shop.takes(30, 120))
    second: Json = {
        "subject": f"Re: {letter.subject}",
        "text": letter.follow_up,
        "headers": {"In-Reply-To": f"<{thread}@example.com>"},
    }
    await shop.client.post("email.received", shop.client.name("mail"), source="email", contact=claim, data=second)
    shop.tally.joined += 1


async def message(shop: Shop, arrival: Arrival, showcase: Showcase) -> None:
    """A message left on the closed site; the first of them is the showcase, whose whole way can be seen."""
    assert isinstance(arrival.says, str)
    assert arrival.contact is not None
    interaction = shop.client.name("message")
    with showcase.once() as traceparent:
        await shop.client.post(
            "message.left",
            interaction,
            "night",
            traceparent=traceparent,
            source=arrival.source,
            contact=arrival.contact.claim("phone"),
            data={"text": arrival.says},
        )
    shop.tally.opened["message"].add(interaction)
    shop.tally.messages_left += 1
