"""Finds out, for `paig status`, why no gateway runs, without starting one or changing anything."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from paig_gateway.catalog import Catalog
from paig_gateway.database import schema, upgrade
from paig_gateway.database.engine import DatabaseError, check_postgresql, explain, open_engine
from paig_gateway.secrets.errors import SecretsError
from paig_gateway.secrets.home import database_url, home_folder, secret_key_or_none
from paig_gateway.secrets.vault import Vault


def problem() -> str | None:
    """Why `paig serve` could not use the home folder and the database, and what to do; None if nothing is known."""
    try:
        home = home_folder()
        url = database_url(home)
        if make_url(url).get_backend_name() == "sqlite" and not Path(make_url(url).database or "").exists():
            return None  # the first start makes it
        engine = open_engine(url, 1)
        try:
            if engine.dialect.name == "postgresql":
                check_postgresql(engine)
            with engine.connect() as connection:
                upgrade.check_known(connection)
                if not schema.is_newest(connection):
                    return None  # the next start migrates it
            key = secret_key_or_none(home)
            lost = Catalog(engine, Vault(key or "none")).unreadable()
        except DBAPIError as error:
            return explain(engine, str(error.orig))
        finally:
            engine.dispose()
    except ArgumentError:
        return "PAIG_DATABASE_URL is not a database URL: write sqlite:///… or postgresql+psycopg://…"
    except (SecretsError, DatabaseError, upgrade.UnknownRevisionError) as error:
        return str(error)
    if not lost:
        return None
    what = "is missing" if key is None else "does not fit"
    return (
        f"The secret key {what}: the credentials of {', '.join(lost)} cannot be read. Put back the PAIG_SECRET_KEY (or"
        " the secret.key in PAIG_HOME) that they were stored with; if it is lost, run `paig secret reset`."
    )
