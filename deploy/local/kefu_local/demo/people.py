"""Who comes to the shop: returning visitors, some of them gold members."""

from dataclasses import dataclass
from random import Random

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高"
GIVEN = (
    "芳",
    "伟",
    "娜",
    "秀英",
    "敏",
    "静",
    "磊",
    "洋",
    "艳",
    "勇",
    "杰",
    "涛",
    "明",
    "霞",
    "平",
    "晓东",
    "梓涵",
    "欣怡",
)
PREFIXES = ("135", "136", "138", "139", "150", "158", "186", "188")
GOLD_SHARE = 0.15


@dataclass(frozen=True)
class Contact:
    external_id: str
    name: str
    phone: str
    email: str
    tier: str | None

    def claim(self, *ways: str) -> dict[str, str]:
        """What an adapter knows of the contact: the CRM's id and name, and the addresses that it saw."""
        known = {"external_id": self.external_id, "name": self.name}
        known |= {way: str(getattr(self, way)) for way in ways}
        return known | ({"tier": self.tier} if self.tier else {})


def pool(rng: Random, run: str, size: int) -> list[Contact]:
    """People whose ids and addresses belong to this run alone: nothing of theirs is open from an earlier one."""
    return [_contact(rng, run, number) for number in range(size)]


def _contact(rng: Random, run: str, number: int) -> Contact:
    name = rng.choice(SURNAMES) + rng.choice(GIVEN)
    return Contact(
        external_id=f"crm-{run}-{number}",
        name=name,
        phone=f"+86{rng.choice(PREFIXES)}{int(run, 16) % 10**6:06}{number % 100:02}",
        email=f"kehu{number:02}.{run}@example.com",
        tier="gold" if rng.random() < GOLD_SHARE else None,
    )
