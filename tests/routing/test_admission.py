"""Which group receives an interaction, or why none does (D-07, D-08, H-05)."""

from kefu_common.events.directory import Calendar
from kefu_common.events.words import Channel
from kefu_routing.domain.admission import Admission, admit
from kefu_routing.domain.model import AccountDirectory
from tests.routing.builders import NOON, a_directory, a_group


def _admit(
    directory: AccountDirectory,
    channel: Channel = Channel.CHAT,
    source: str | None = None,
    category: str | None = None,
    tier: str | None = None,
) -> Admission:
    return admit(directory, "shop", channel, source, category, tier, NOON)


def test_a_category_goes_to_its_group_and_none_or_an_unknown_one_to_the_plans_first() -> None:
    """Guards `named` in `admission._group_for`."""
    shop = a_directory(a_group("sales", "a01"), a_group("repairs", "a02"))
    assert _admit(shop, category="repairs").group == "repairs"
    assert _admit(shop).group == "sales"
    assert _admit(shop, category="weather").group == "sales"


def test_an_unticked_source_is_refused_and_a_group_with_none_ticked_receives_nothing() -> None:
    """Guards `by_source` in `admission._group_for`, and `admission.serves`."""
    app_only = a_directory(a_group("sales", "a01", sources=["app"]))
    assert _admit(app_only, source="app").group == "sales"
    assert _admit(app_only, source="web").refused == "source"
    assert _admit(app_only).refused == "source"
    assert _admit(a_directory(a_group("sales", "a01", sources=[])), source="app").refused == "source"


def test_a_category_does_not_lead_around_an_unticked_source() -> None:
    """Guards `if not by_source and wanted is named` in `admission._group_for`."""
    shop = a_directory(a_group("sales", "a01"), a_group("repairs", "a02", sources=["app"]))
    assert _admit(shop, source="web", category="repairs").refused == "source"


def test_a_tier_reaches_only_a_group_that_serves_it() -> None:
    """Guards `serves(group.tiers, tier)` in `admission._group_for`."""
    shop = a_directory(a_group("gold", "a01", tiers=["gold"]), a_group("sales", "a02"))
    assert _admit(shop, tier="gold").group == "gold"
    assert _admit(shop, tier="silver").group == "sales"
    assert _admit(a_directory(a_group("gold", "a01", tiers=["gold"])), tier="silver").refused == "tier"


def test_a_closed_site_refuses_calls_and_chats_and_queues_what_was_written() -> None:
    """Guards `refused = "closed"` in `admission.admit`, its condition on the channel, and its `ready_at`."""
    closed = a_directory(a_group("sales", "a01"), calendar=Calendar(id="never", name="never"))
    assert _admit(closed, Channel.CALL).refused == "closed"
    assert _admit(closed, Channel.CHAT).refused == "closed"
    assert _admit(closed, Channel.MESSAGE) == Admission(None, "sales")


def test_a_site_without_a_plan_says_so() -> None:
    """Guards `if not groups` in `admission._group_for`."""
    assert _admit(a_directory()).refused == "no_plan"
