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

usage = Table(
    "usage", metadata,
    Column("owner", Text), Column("at", Double, nullable=False), Column("work", Double, nullable=False),
    Column("seconds", Double, nullable=False),
)  # fmt: skip

workers = Table("workers", metadata, Column("name", Text, primary_key=True), Column("seen_at", Double, nullable=False))

keyed = Table("keyed", metadata, Column("job_id", Text, primary_key=True), Column("body", Text, nullable=False))

uploads = Table(
    "uploads", metadata,
    Column("id", Text, primary_key=True), Column("owner", Text), Column("kind", Text, nullable=False), Column("name", Text),
    Column("bytes", BigInteger, nullable=False), Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False), Column("num_frames", Integer, nullable=False),
    Column("fps", Integer, nullable=False), Column("created_at", Double, nullable=False),
)  # fmt: skip

feedback = Table(
    "feedback", metadata,
    Column("id", Text, primary_key=True), Column("owner", Text), Column("video_id", Text, nullable=False),
    Column("recipe", Text, nullable=False), Column("text", Text, nullable=False), Column("credit", Text),
    Column("created_at", Double, nullable=False),
)  # fmt: skip

ledger = Table(
    "ledger", metadata,
    Column("feedback_id", Text, primary_key=True), Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False), Column("state", Text, nullable=False), Column("amount", BigInteger, nullable=False),
    Column("currency", Text), Column("note", Text),
)  # fmt: skip

signatures = Table(
    "signatures", metadata,
    Column("number", Integer, primary_key=True, autoincrement=False), Column("at", BigInteger, nullable=False),
    Column("letter", Text, nullable=False), Column("kind", Text, nullable=False), Column("name", Text, nullable=False),
    Column("signer", Text, nullable=False), Column("mark", Text, nullable=False), Column("statement", Text),
    Column("public_key", Text), Column("signature", Text), Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)  # fmt: skip

signing = Table(
    "signing", metadata,
    Column("id", Text, primary_key=True), Column("letter", Text, nullable=False), Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False), Column("address", Text), Column("nonce", Text, nullable=False), Column("code", Text),
    Column("attempts", Integer, nullable=False), Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False), Column("number", Integer),
)  # fmt: skip

tokens = Table(
    "tokens", metadata,
    Column("id", Text, primary_key=True), Column("name", Text, nullable=False), Column("owner", Text, nullable=False),
    Column("scopes", Text, nullable=False), Column("allowance", Text, nullable=False), Column("salt", Text, nullable=False),
    Column("digest", Text, nullable=False), Column("created_at", Double, nullable=False), Column("revoked_at", Double),
)  # fmt: skip

webhooks = Table(
    "webhooks", metadata,
    Column("id", Text, primary_key=True), Column("owner", Text), Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False), Column("old_secret", Text), Column("rotated_at", Double),
    Column("events", Text, nullable=False), Column("created_at", Double, nullable=False),
    Column("active", Integer, nullable=False),
)  # fmt: skip

deliveries = Table(
    "deliveries", metadata,
    Column("event_id", Text, primary_key=True), Column("webhook_id", Text, primary_key=True),
    Column("kind", Text, nullable=False), Column("job_id", Text), Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double), Column("attempts", Integer, nullable=False), Column("delivered_at", Double),
    Column("status", Integer), Column("error", Text),
)  # fmt: skip

files = Table(
    "files", metadata,
    Column("id", Text, primary_key=True), Column("owner", Text), Column("purpose", Text, nullable=False),
    Column("filename", Text, nullable=False), Column("kind", Text, nullable=False), Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False), Column("expires_at", Double),
)  # fmt: skip

batches = Table(
    "batches", metadata,
    Column("id", Text, primary_key=True), Column("owner", Text), Column("caller", Text, nullable=False),
    Column("token", Text), Column("input_file_id", Text, nullable=False), Column("metadata", Text),
    Column("output_seconds", Integer), Column("status", Text, nullable=False), Column("ending", Text), Column("errors", Text),
    Column("output_file_id", Text), Column("error_file_id", Text), Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False), Column("failed", Integer, nullable=False),
    Column("created_at", Double, nullable=False), Column("expires_at", Double, nullable=False),
    Column("in_progress_at", Double), Column("finalizing_at", Double), Column("completed_at", Double),
    Column("failed_at", Double), Column("expired_at", Double), Column("cancelling_at", Double), Column("cancelled_at", Double),
    Column("driver", Text), Column("leased_until", Double),
)  # fmt: skip

batch_lines = Table(
    "batch_lines", metadata,
    Column("batch_id", Text, primary_key=True), Column("line", Integer, primary_key=True),
    Column("custom_id", Text, nullable=False), Column("state", Text, nullable=False), Column("body", Text),
    Column("job_id", Text), Column("result", Text),
)  # fmt: skip

settings = Table("settings", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


def is_now(status: Status) -> ColumnElement[bool]:
    """Return the condition that a job has a status; those that wait or run are found by their own small index."""
    now = jobs.c.status == status
    return and_(jobs.c.completed_at.is_(None), now) if status in (Status.QUEUED, Status.IN_PROGRESS) else now


def is_public() -> ColumnElement[bool]:
    """Return the condition that a job is published; written out, because no index of a part serves a parameter."""
    return jobs.c.public == literal(1, literal_execute=True)
