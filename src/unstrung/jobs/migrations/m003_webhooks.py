"""Webhooks, and the outbox of what they are still to hear. Secrets are kept as they are: what signs must be known."""

from __future__ import annotations

from sqlalchemy import Connection, text

STATEMENTS = (
    """
    CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, owner TEXT, url TEXT NOT NULL, secret TEXT NOT NULL, old_secret TEXT,
        rotated_at DOUBLE PRECISION, events TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, active INTEGER NOT NULL
    )
    """,
    "CREATE INDEX webhooks_of_owner ON webhooks (owner, created_at, id)",
    # `next_at` is when it is to be sent, or sent again; null where it has come to an end
    """
    CREATE TABLE deliveries (
        event_id TEXT NOT NULL, webhook_id TEXT NOT NULL, kind TEXT NOT NULL, job_id TEXT, body TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, next_at DOUBLE PRECISION, attempts INTEGER NOT NULL,
        delivered_at DOUBLE PRECISION, status INTEGER, error TEXT, PRIMARY KEY (event_id, webhook_id)
    )
    """,
    "CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, event_id) WHERE next_at IS NOT NULL",
    "CREATE INDEX deliveries_of_webhook ON deliveries (webhook_id, created_at, event_id)",
    "CREATE INDEX deliveries_ended ON deliveries (created_at) WHERE next_at IS NULL",
)


def up(connection: Connection) -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
