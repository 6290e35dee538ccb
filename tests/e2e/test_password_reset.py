"""A forgotten password is reset by the agent (D-12)."""

from tests.e2e.kefu import Json, Kefu, an_id, until


async def test_an_agent_who_forgot_the_password_sets_a_new_one_by_the_mails_link(kefu: Kefu) -> None:
    who = {"account": "demo", "login": "admin"}
    await kefu.call("routing", "POST", "/v1/password-resets", who, expect=202)

    async def mailed() -> Json | None:
        asked = {"channel": "email", "to": "admin@shop.example"}
        answer = await kefu.http.get(f"{kefu.stack['sink']}/messages", params=asked)
        found: list[Json] = [m for m in answer.json()["items"] if "重设密码" in (m["subject"] or "")]
        return found[0] if found else None

    mail = await until("a mail with a link", mailed, within_s=30)
    # the stack has no page that asks for the password, so the mail holds the token alone
    (token,) = [line for line in mail["text"].splitlines() if len(line) == 43 and line.isascii() and " " not in line]
    path, password = f"/v1/password-resets/{token}", f"新密码-{an_id('w')}"
    await kefu.call("routing", "POST", path, {"password": password}, expect=204)
    await kefu.call("routing", "POST", path, {"password": password}, expect=404)
    session = await kefu.call("routing", "POST", "/v1/sessions", {**who, "password": password}, expect=201)
    assert session["agent"] == "admin"
    listed = await kefu.call("notifications", "GET", "/v1/messages?limit=100")
    assert "password_reset" in {m["occasion"] for m in listed["items"]}
    assert token not in str(listed)
