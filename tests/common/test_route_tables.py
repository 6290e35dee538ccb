"""Roles are enforced on every route from one table: each service's table names exactly the routes that it has."""

from typing import get_args

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr

from kefu_common.events.directory import BuiltInRole
from kefu_common.http.needs import Needs
from kefu_common.permissions import BUILT_IN, PERMISSIONS, permissions_of
from kefu_common.settings import DatabaseSettings
from kefu_intake.app import build as create_intake
from kefu_intake.settings import IntakeSettings
from kefu_notifications.app import make_app as create_notifications
from kefu_notifications.settings import NotificationsSettings
from kefu_reporting.app import create as create_reporting
from kefu_routing.app import create as create_routing
from kefu_routing.settings import RoutingSettings

KAFKA, POSTGRES = "127.0.0.1:1", SecretStr("postgresql://127.0.0.1:1/none")


def apps() -> dict[str, FastAPI]:
    """None of them is started."""
    return {
        "intake": create_intake(IntakeSettings(kafka=KAFKA)),
        "routing": create_routing(RoutingSettings(kafka=KAFKA, postgres=POSTGRES)),
        "notifications": create_notifications(NotificationsSettings(kafka=KAFKA, postgres=POSTGRES)),
        "reporting": create_reporting(DatabaseSettings(kafka=KAFKA, postgres=POSTGRES)),
    }


@pytest.mark.parametrize("service", ["intake", "routing", "notifications", "reporting"])
def test_every_route_is_in_the_table_of_its_service_and_nothing_else_is(service: str) -> None:
    # D-05
    app = apps()[service]
    needs: Needs = app.state.needs
    routes = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, APIRoute) and route.path.startswith("/v1")
        for method in route.methods or ()
    }
    assert routes
    assert routes == needs.keys()


def test_only_who_signs_in_or_has_forgotten_the_password_needs_nothing() -> None:
    public = {path for app in apps().values() for (_, path), need in app.state.needs.items() if need.is_public}
    assert all(path.startswith(("/v1/sessions", "/v1/password-resets")) for path in public)


def test_every_built_in_role_permits_known_words_and_no_role_acts_for_others() -> None:
    assert set(BUILT_IN) == set(get_args(BuiltInRole))
    for role, permitted in BUILT_IN.items():
        assert permitted <= PERMISSIONS.keys()
        assert "act-as" not in permissions_of([role], {})
    assert BUILT_IN["agent"] < BUILT_IN["leader"] < BUILT_IN["administrator"]
