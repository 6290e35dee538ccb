"""What every route here needs: who asks, and the database."""

from typing import Annotated

from fastapi import Depends, Request

from kefu_common.http.auth import Principal, principal
from kefu_common.postgres.database import Database

Caller = Annotated[Principal, Depends(principal)]


def database(request: Request) -> Database:
    """The service's database."""
    db: Database = request.app.state.db
    return db


Db = Annotated[Database, Depends(database)]


def sites_of(caller: Principal) -> list[str] | None:
    """The sites that the key covers; None: all."""
    return None if caller.sites is None else sorted(caller.sites)
