"""What each route of reporting needs."""

from typing import Final

from kefu_common.http.needs import Needs, permission

NEEDS: Final[Needs] = {("GET", "/v1/reports/daily"): permission("reports:read")}
