"""A store's own secret, which ids that come of what clients say are derived with, so that nobody else can derive them."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, text


def up(connection: Connection) -> None:
    """Draw it, once and for all who use the store."""
    words = text("INSERT INTO settings (name, value) VALUES ('secret', :value)")
    connection.execute(words, {"value": secrets.token_hex(32)})
