"""What roles and keys permit, and whose tokens are genuine: the rules alone."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import pytest

from kefu_common import tokens
from kefu_common.events.directory import Role
from kefu_common.http.auth import SCOPES
from kefu_common.permissions import BUILT_IN, PERMISSIONS, permissions_of, scopes_of

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
SECRET = "a secret of acme's that is long enough for it"
CLAIMS = tokens.Claims("acme", "a01", UUID("0198f3a0-0000-7000-8000-000000000001"))


def test_roles_add_up_and_one_that_nobody_defined_permits_nothing() -> None:
    # D-05
    own = {"clerk": Role(id="clerk", name="文员", permissions=["reports:read"])}
    assert permissions_of(["clerk", "ghost"], own) == {"reports:read"}
    assert permissions_of(["clerk", "agent"], own) == {"reports:read"} | BUILT_IN["agent"]
    assert permissions_of([], own) == frozenset()


def test_a_role_of_the_accounts_own_stands_for_the_built_in_one() -> None:
    # D-05
    own = {"agent": Role(id="agent", name="坐席", permissions=["tickets:read"])}
    assert permissions_of(["agent"], own) == {"tickets:read"}


def test_no_role_makes_anybody_act_for_others() -> None:
    # H-02
    own = {"ghost": Role(id="ghost", name="替身", permissions=["act-as", "tickets:read"])}
    assert permissions_of(["ghost", "administrator"], own) == BUILT_IN["administrator"]
    assert "act-as" not in permissions_of(["ghost", "administrator"], own)


def test_leaders_have_no_power_over_agents_whom_they_do_not_lead() -> None:
    # D-05
    assert "agents:lead" not in BUILT_IN["leader"]
    assert "agents:lead" in BUILT_IN["administrator"]


def test_an_admin_key_has_every_scope_and_an_older_one_still_reads_the_audit() -> None:
    # H-02
    assert set(SCOPES) == PERMISSIONS.keys()
    assert "audit:read" in scopes_of(["directory:read", "directory:write"])
    assert scopes_of(["tickets:read"]) == {"tickets:read"}


def test_a_token_says_who_it_is_for_a_quarter_of_an_hour() -> None:
    # H-02
    token = tokens.make(CLAIMS, SECRET, NOW)
    assert tokens.looks_like_token(token)
    assert tokens.account_of(token) == "acme"
    assert tokens.read(token, SECRET, NOW + timedelta(minutes=14, seconds=59)) == CLAIMS
    with pytest.raises(tokens.NotValid, match="over"):
        tokens.read(token, SECRET, NOW + timedelta(minutes=15))


@pytest.mark.parametrize(
    "token",
    [
        tokens.make(CLAIMS, "another account's secret, just as long as it", NOW),
        jwt.encode({"aud": "kefu", "acc": "acme", "sub": "a01", "sid": str(CLAIMS.session), "exp": 9e9}, "", "none"),
        jwt.encode({"aud": "else", "acc": "acme", "sub": "a01", "sid": str(CLAIMS.session), "exp": 9e9}, SECRET),
        jwt.encode({"aud": "kefu", "acc": "acme", "sub": "a01", "exp": 9_000_000_000}, SECRET),
        jwt.encode({"aud": "kefu", "acc": "acme", "sub": "a01", "sid": "x", "exp": 9_000_000_000}, SECRET),
        jwt.encode({"aud": "kefu", "acc": "acme", "sub": "a01", "sid": str(CLAIMS.session)}, SECRET),
        "eyJ.eyJ.eyJ",
    ],
    ids=["another's", "unsigned", "for another audience", "no session", "a wrong session", "endless", "nonsense"],
)
def test_a_token_that_somebody_else_made_is_not_valid(token: str) -> None:
    # H-02
    with pytest.raises(tokens.NotValid):
        tokens.read(token, SECRET, NOW)
