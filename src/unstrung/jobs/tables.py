"""The tables as they are now, for queries; the migrations make them so, and a test holds the two together."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ColumnElement, Double, Integer, MetaData, Table, Text, and_, literal

from unstrung.job import Status

metadata = MetaData()

jobs = Table(
    "jobs", metadata,
    Column("id", Text, primary_key=True), Column("owner", Text), Column("status", Text, nullable=False),
    Column("draft", Integer, nullable=False), Column("progress", Integer, nullable=False), Column("model", Text, nullable=False),
    Column("request", Text, nullable=False), Column("seconds", Double, nullable=False),
    Column("estimate", Double, nullable=False), Column("public", Integer, nullable=False),
    Column("created_at", Double, nullable=False), Column("queued_at", Double, nullable=False), Column("started_at", Double),
    Column("completed_at", Double), Column("expires_at", Double), Column("error_code", Text), Column("error_message", Text),
    Column("remixed_from_video_id", Text), Column("attempt", Integer, nullable=False), Column("worker", Text),
    Column("heartbeat_at", Double), Column("events", Integer, nullable=False),
)  # fmt: skip

events = Table(
    "events", metadata,
    Column("job_id", Text, primary_key=True), Column("number", Integer, primary_key=True), Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False), Column("data", Text, nullable=False),
)  # fmt: skip

clips = Table(
    "clips", metadata,
    Column("job_id", Text, primary_key=True), Column("owner", Text), Column("file", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False), Column("sha256", Text, nullable=False), Column("recipe", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)  # fmt: skip

timings = Table(
    "timings", metadata,
    Column("model", Text, primary_key=True), Column("measured", Integer, nullable=False), Column("fixed", Double, nullable=False),
    Column("per_step", Double, nullable=False), Column("per_pixel", Double, nullable=False),
)  # fmt: skip

tokens = Table(
    "tokens", metadata,
    Column("id", Text, primary_key=True), Column("name", Text, nullable=False), Column("owner", Text, nullable=False),
    Column("scopes", Text, nullable=False), Column("allowance", Text, nullable=False), Column("salt", Text, nullable=False),
    Column("digest", Text, nullable=False), Column("created_at", Double, nullable=False), Column("revoked_at", Double),
)  # fmt: skip

settings = Table("settings", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


def is_now(status: Status) -> ColumnElement[bool]:
    """Return the condition that a job has a status; those that wait or run are found by their own small index."""
    now = jobs.c.status == status
    return and_(jobs.c.completed_at.is_(None), now) if status in (Status.QUEUED, Status.IN_PROGRESS) else now


def is_public() -> ColumnElement[bool]:
    """Return the condition that a job is published; written out, because no index of a part serves a parameter."""
    return jobs.c.public == literal(1, literal_execute=True)
