"""The database handle, the typed model base and the column types that every feature's models use."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, MetaData, String
from sqlalchemy.orm import DeclarativeBase, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# Objects stay readable after a commit: a page goes on with what it has just saved without a new transaction.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

if TYPE_CHECKING:

    class Model(Base):
        __abstract__ = True
else:
    Model = db.Model

# Byte order, so that PostgreSQL and Python sort identifiers alike whatever the locale of the server.
PrefixedId = String(collation="C")
PrimaryId = Annotated[str, mapped_column(PrefixedId, primary_key=True)]
UtcDateTime = Annotated[datetime, mapped_column(DateTime(timezone=True))]


def engine_options() -> dict[str, Any]:
    """Limits on every connection, so that a stuck lock or query ends as an error instead of a pile-up."""
    options = (
        "-c timezone=UTC -c lock_timeout=2s -c statement_timeout=10s -c idle_in_transaction_session_timeout=15s "
        "-c application_name=turnpike"
    )
    return {
        # Errors go to the log, and what a statement was given may be an address, a digest or a link.
        "hide_parameters": True,
        "pool_pre_ping": True,
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "connect_args": {"options": options, "connect_timeout": 5},
    }
