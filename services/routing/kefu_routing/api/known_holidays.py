"""What the library `holidays` knows of public holidays."""

from collections.abc import Iterable
from typing import Final

import holidays

from kefu_common.events.directory import NamedDay
from kefu_routing.domain.public_holidays import PublicDays, chinese

_KNOWN: Final = holidays.list_supported_countries()
_LONGEST_NAME: Final = 100


def public_days(country: str, years: Iterable[int]) -> PublicDays:
    """A country's days of these years in its own language; nothing for a country or a year that nobody has told."""
    wanted = set(years)
    if country not in _KNOWN:
        return PublicDays([], [])
    if country == "CN":
        around = {year + n for year in wanted for n in (-1, 0, 1)}
        china = holidays.country_holidays("CN", years=around, language="zh_CN")
        return chinese(dict(china), china.weekend_workdays, wanted)
    language = holidays.country_holidays(country).default_language
    found = holidays.country_holidays(country, years=wanted, language=language)
    named = [NamedDay(date=d, name=name[:_LONGEST_NAME]) for d, name in sorted(found.items()) if d.year in wanted]
    return PublicDays(named, [])
