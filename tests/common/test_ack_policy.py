"""The framework's default acknowledges before the work: every subscriber sets its own policy."""

import ast
from pathlib import Path

from faststream import AckPolicy

from tests.common.harness import Bench

ROOT = Path(__file__).parents[2]


def subscriptions(source: str) -> list[ast.Call]:
    """Every call or decorator `….subscriber(…)`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in ("subscriber", "add_subscriber")]


def is_manual(call: ast.Call) -> bool:
    """Whether it says `ack_policy=AckPolicy.MANUAL` in so many words."""
    return any(k.arg == "ack_policy" and ast.unparse(k.value) == "AckPolicy.MANUAL" for k in call.keywords)


def test_every_subscriber_in_the_code_acknowledges_by_hand() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{call.lineno}": is_manual(call)
        for folder in ("libs", "services", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        for call in subscriptions(path.read_text(encoding="utf-8"))
    }
    assert found, "the one subscriber of libs/common is not found any more: mend this test"
    wrong = [place for place, manual in found.items() if not manual]
    assert not wrong, f"say ack_policy=AckPolicy.MANUAL, or a crash loses events (design, section 4): {wrong}"


def test_one_left_at_the_default_or_another_policy_is_seen() -> None:
    bad = "@broker.subscriber('t')\nasync def f(m): ...\nbroker.subscriber('t', ack_policy=AckPolicy.ACK)(g)"
    assert [is_manual(call) for call in subscriptions(bad)] == [False, False]


async def test_the_client_commits_nothing_by_itself(bench: Bench) -> None:
    consuming = bench.consuming()
    await consuming.consumer.start()
    (subscriber,) = consuming.consumer._broker.subscribers
    assert subscriber.ack_policy is AckPolicy.MANUAL
    assert consuming.consumer._consumer()._enable_auto_commit is False
