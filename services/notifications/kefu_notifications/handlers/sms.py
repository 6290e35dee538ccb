"""SMS over HTTP."""

import httpx

from kefu_notifications.domain.sending import LONGEST_S, Outcome, Result, http_result
from kefu_notifications.handlers.provider import Letter
from kefu_notifications.settings import NotificationsSettings

_NOT_HANDED_OVER = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class SmsGateway:
    """The SMS provider that the settings name: `POST {"id", "to", "text"}` → `200 {"id"}`."""

    def __init__(self, settings: NotificationsSettings) -> None:
        self._url = settings.sms_url
        token = settings.sms_token.get_secret_value()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(LONGEST_S / 2, connect=LONGEST_S / 4),
            limits=httpx.Limits(max_connections=settings.sends_at_once),
            headers={"Authorization": f"Bearer {token}"} if token else None,
            trust_env=False,
        )

    async def deliver(self, letter: Letter) -> Outcome:
        """Hand one SMS over; the provider knows a repeat by its key."""
        body = {"id": str(letter.id), "to": letter.to, "text": letter.wording.body}
        try:
            response = await self._client.post(self._url, json=body, headers={"Idempotency-Key": str(letter.id)})
        except _NOT_HANDED_OVER:
            return Outcome(Result.RETRY)
        except httpx.HTTPError:
            return Outcome(Result.UNKNOWN)
        result = http_result(response.status_code)
        return Outcome(result, _provider_id(response) if result is Result.SENT else None, _retry_after_s(response))

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def _provider_id(response: httpx.Response) -> str | None:
    try:
        answer = response.json()
    except ValueError:
        return None
    found = answer.get("id") if isinstance(answer, dict) else None
    return None if found is None else str(found)[:200].replace("\x00", "")


def _retry_after_s(response: httpx.Response) -> float | None:
    # As a date it is rare, and our own waits do instead.
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
