"""Every service has one table of what its routes need, and no route is missing from it. (D-05)"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import SecretStr

from kefu_common.http.auth import principal, unproven_principal
from kefu_common.http.needs import Needs
from kefu_common.settings import DatabaseSettings
from kefu_intake import app as intake
from kefu_intake.api.routes import LeanRoute
from kefu_intake.settings import IntakeSettings
from kefu_notifications import app as notifications
from kefu_notifications.settings import NotificationsSettings
from kefu_reporting import app as reporting
from kefu_routing import app as routing
from kefu_routing.settings import RoutingSettings

POSTGRES = SecretStr("postgresql://nobody@127.0.0.1:1/none")
ASKING: set[Callable[..., Any] | None] = {principal, unproven_principal}


def _intake(folder: Path) -> FastAPI:
    return intake.build(IntakeSettings(objects=str(folder)))


def _routing(folder: Path) -> FastAPI:
    return routing.create(RoutingSettings(postgres=POSTGRES, objects=str(folder)))


def _notifications(_folder: Path) -> FastAPI:
    return notifications.make_app(NotificationsSettings(postgres=POSTGRES))


def _reporting(_folder: Path) -> FastAPI:
    return reporting.create(DatabaseSettings(postgres=POSTGRES))


every_service = pytest.mark.parametrize("make", [_intake, _routing, _notifications, _reporting])


def _routes(app: FastAPI) -> Iterator[tuple[str, str, APIRoute]]:
    routers: list[APIRouter] = [route.original_router for route in app.routes if hasattr(route, "original_router")]
    for route in [*app.routes, *(route for router in routers for route in router.routes)]:
        if isinstance(route, APIRoute) and route.path.startswith("/v1"):
            yield from ((method, route.path, route) for method in route.methods or ())


def _asks(dependant: Dependant) -> bool:
    return any(each.call in ASKING or _asks(each) for each in dependant.dependencies)


@every_service
def test_every_route_is_in_its_services_table_and_the_table_has_no_other(
    make: Callable[[Path], FastAPI], tmp_path: Path
) -> None:
    # D-05, H-02
    app = make(tmp_path)
    needs: Needs = app.state.needs
    documented = app.openapi()["paths"]
    there = {(method, path) for method, path, _ in _routes(app)}
    assert there >= {(m.upper(), path) for path in documented if path.startswith("/v1") for m in documented[path]}
    assert there == needs.keys()


@every_service
def test_every_route_that_is_not_public_asks_who_it_is(make: Callable[[Path], FastAPI], tmp_path: Path) -> None:
    # H-02
    app = make(tmp_path)
    needs: Needs = app.state.needs
    asking = {(method, path) for method, path, r in _routes(app) if isinstance(r, LeanRoute) or _asks(r.dependant)}
    assert asking == {route for route, need in needs.items() if not need.is_public}
