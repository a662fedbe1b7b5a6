"""The routes of `/v1/batches`: many videos asked for in one file, and answered in another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, Field

from unstrung.api.body import BODY, Fields, takes
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.files import kept_for
from unstrung.errors import InvalidRequest
from unstrung.jobs import batches, files
from unstrung.jobs.batches import Batch
from unstrung.jobs.lines import ENDPOINT

WINDOW = "24h"
FIELDS = ("endpoint", "completion_window", "input_file_id", "metadata", "output_expires_after")
PAIRS, KEY, VALUE = 16, 64, 512  # how much of metadata there may be, as with the hosted service

Id = Annotated[str, Path(description="A batch's id.", max_length=200)]


class ExpiresAfter(BaseModel):
    """How long files are kept."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=files.KEPT_SECONDS[0], le=files.KEPT_SECONDS[1])


class CreateBatch(BaseModel):
    """What a batch is made with."""

    endpoint: Literal["/v1/videos"]
    completion_window: Literal["24h"]
    input_file_id: str = Field(description="a file that was uploaded with purpose 'batch'")
    metadata: dict[str, str] | None = Field(None, description="up to 16 pairs of text, given back as they are")
    output_expires_after: ExpiresAfter | None = Field(None, description="how long what it writes is kept; default: for ever")


class BatchErrorBody(BaseModel):
    """What is wrong with an input file, and where."""

    code: str
    message: str
    line: int | None
    param: str | None


class BatchErrors(BaseModel):
    """All that is wrong with an input file, or the first hundred."""

    object: Literal["list"] = "list"
    data: list[BatchErrorBody]


class Counts(BaseModel):
    """How many requests there are, and what has become of them."""

    total: int
    completed: int
    failed: int


class BatchObject(BaseModel):
    """A batch on its way or over. Times are seconds since 1970."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: Literal["/v1/videos"] = "/v1/videos"
    completion_window: Literal["24h"] = "24h"
    errors: BatchErrors | None
    input_file_id: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]  # fmt: skip
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: Counts
    metadata: dict[str, str] | None


class BatchList(BaseModel):
    """A page of batches; the next one is `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[BatchObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that OpenAI's Batch API has."""
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/batches", openapi_extra=takes(CreateBatch, "application/json"))
    def create_batch(caller: Caller = writes, fields: Fields = BODY) -> BatchObject:
        """Ask for the videos of a whole file."""
        return _object(_create(desk, fields, caller))

    @app.get("/v1/batches")
    def list_batches(
        after: Annotated[str | None, Query(max_length=200, description="The last batch of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        caller: Caller = reads,
    ) -> BatchList:
        """List one's batches, the newest first, a page at a time."""
        found = batches.page(desk.store, owner=caller.sees, after=after, limit=limit + 1)
        page = [_object(batch) for batch in found[:limit]]
        ends = (page[0].id, page[-1].id) if page else (None, None)
        return BatchList(data=page, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])

    @app.get("/v1/batches/{batch_id}")
    def retrieve_batch(batch_id: Id, caller: Caller = reads) -> BatchObject:
        """See how far a batch is."""
        return _object(batches.get(desk.store, batch_id, caller.sees))

    @app.post("/v1/batches/{batch_id}/cancel")
    def cancel_batch(batch_id: Id, caller: Caller = writes) -> BatchObject:
        """Stop a batch: what is done stays, and what is not is canceled."""
        return _object(batches.cancel(desk.store, batch_id, caller.sees))


def _create(desk: Desk, fields: dict[str, Any], caller: Caller) -> Batch:
    """Read what a batch is made with, and add it; raise `InvalidRequest` or `NoSuchFile`."""
    if unknown := sorted(set(fields) - set(FIELDS)):
        words = f"'{unknown[0]}' is not a field of a batch; known are: {', '.join(FIELDS)}."
        raise InvalidRequest(unknown[0], words, code="unknown_parameter")
    for name, allowed in (("endpoint", ENDPOINT), ("completion_window", WINDOW)):
        if fields.get(name) != allowed:
            raise InvalidRequest(name, f"{name} is {fields.get(name)!r}; it must be {allowed}.")
    id = fields.get("input_file_id")
    if not isinstance(id, str):
        words = "A batch needs an input_file_id: upload a file with purpose 'batch' first."
        raise InvalidRequest("input_file_id", words, code="missing_required_parameter")
    file = files.get(desk.store, id, caller.sees)
    if file.purpose != "batch":
        words = f"File {id} was uploaded with purpose '{file.purpose}'; it must be 'batch'."
        raise InvalidRequest("input_file_id", words)
    after = fields.get("output_expires_after")
    return batches.create(
        desk.store, asdict(caller), owner=caller.owner, token=None if caller.owner is None else caller.name, input_file_id=id,
        metadata=_metadata(fields.get("metadata")),
        output_seconds=None if after is None else kept_for("output_expires_after", after),
    )  # fmt: skip


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    fits = isinstance(value, dict) and len(value) <= PAIRS
    if not fits or not all(isinstance(v, str) and len(k) <= KEY and len(v) <= VALUE for k, v in value.items()):
        words = (
            f"metadata must be at most {PAIRS} pairs of text, names of at most {KEY} and values of at most {VALUE} characters."
        )
        raise InvalidRequest("metadata", words)
    return dict(value)


def _object(batch: Batch) -> BatchObject:
    errors = BatchErrors(data=[BatchErrorBody(**asdict(error)) for error in batch.errors]) if batch.errors else None
    counts = Counts(total=batch.total, completed=batch.completed, failed=batch.failed)
    times: dict[str, Any] = {name: int(at) for name, at in batch.times.items()}
    return BatchObject(
        id=batch.id, errors=errors, input_file_id=batch.input_file_id, status=batch.status.value,
        output_file_id=batch.output_file_id, error_file_id=batch.error_file_id, created_at=int(batch.created_at),
        expires_at=int(batch.expires_at), metadata=None if batch.metadata is None else dict(batch.metadata),
        request_counts=counts, **times,
    )  # fmt: skip
