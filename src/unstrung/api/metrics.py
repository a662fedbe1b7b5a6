"""Figures for whoever runs a host, in Prometheus' text format. No owner, prompt or id is in any of them."""

from __future__ import annotations

import math
import platform
import shutil
import threading
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from pathlib import Path

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from unstrung import __version__
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.watch import Seen
from unstrung.job import ENDED
from unstrung.jobs.store import LEASE, Store
from unstrung.jobs.tables import clips, jobs, settings
from unstrung.plugins import cards

FRESH, CLIPS_FRESH = 1.0, 60.0  # seconds that figures may be old; adding up all clips takes longer than the rest
LATE = 60.0  # seconds by which a job may be seen to have ended later than its worker's clock says
TEXT = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
# written out, for a partial index is found by constants alone
QUEUED: ColumnElement[str] = literal_column("'queued'")
RUNNING: ColumnElement[str] = literal_column("'in_progress'")


class Metrics:
    """The figures of one server: what it has answered, and what is in its store."""

    def __init__(self, store: Store, folder: Path, started: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        words = "Requests that were answered."
        self._requests = Counter("unstrung_http_requests", words, labels, registry=self._registry)
        words = "Seconds from a request's first line to its answer's last byte."
        self._seconds = Histogram("unstrung_http_request_seconds", words, labels[:2], buckets=BUCKETS, registry=self._registry)
        build = Gauge("unstrung_build_info", "What runs here.", ("version", "python"), registry=self._registry)
        build.labels(__version__, platform.python_version()).set(1)
        self._registry.register(StoreFigures(store, folder, started))

    def hear(self, seen: Seen) -> None:
        """Count a request."""
        self._requests.labels(seen.method, seen.route, str(seen.status)).inc()
        self._seconds.labels(seen.method, seen.route).observe(seen.seconds)

    def text(self) -> bytes:
        """Return all figures as they are now."""
        return generate_latest(self._registry)


class StoreFigures:
    """What the store says, looked up when somebody asks, but at most once a second.

    Jobs that have ended are counted from the moment the server began: there may be a million before it.
    """

    def __init__(self, store: Store, folder: Path, started: Callable[[], int]) -> None:
        self._store, self._folder, self._started = store, folder, started
        self._lock = threading.Lock()
        self._looked = self._added = -CLIPS_FRESH
        self._figures: list[Metric] = []
        self._clips = 0
        self._began = self._until = time.time()
        self._counted: dict[tuple[str, float], None] = {}  # ended lately: a job that is tried again ends again
        self._ended = Counts({str(status): 0 for status in ENDED})
        self._video: Counts[str] = Counts()
        self._render: Counts[str] = Counts()

    def collect(self) -> list[Metric]:
        """Return the figures; prometheus_client calls it."""
        with self._lock:
            if time.monotonic() - self._looked > FRESH:
                begins = [math.inf if turn.starts_in is None else turn.starts_in for turn in self._store.turns()]
                wait = max(begins, default=0.0)
                with self._store.reading() as connection:
                    self._figures = [*self._queue(connection, wait), *self._work(connection), *self._room(connection)]
                self._looked = time.monotonic()
            return self._figures

    def _queue(self, connection: Connection, wait: float) -> Iterator[Metric]:
        c, now = jobs.c, time.time()
        waiting = connection.execute(select(func.count()).where(c.status == QUEUED)).scalar_one()
        running = connection.execute(select(c.worker, c.heartbeat_at).where(c.status == RUNNING)).all()
        counts = GaugeMetricFamily("unstrung_jobs", "Jobs that wait or are being made.", labels=["status"])
        counts.add_metric(["queued"], waiting)
        counts.add_metric(["in_progress"], len(running))
        yield counts
        words = "Seconds until all that waits now has begun, as thought; +Inf where nobody works."
        yield GaugeMetricFamily("unstrung_queue_wait_seconds", words, wait)
        paused = select(settings.c.value).where(settings.c.name == "paused")
        stopped = float(connection.execute(paused).scalar_one_or_none() == "yes")
        yield GaugeMetricFamily("unstrung_queue_paused", "1 while no jobs are given out.", stopped)
        busy = {worker for worker, heard in running if heard > now - LEASE}
        yield GaugeMetricFamily("unstrung_workers_busy", "Workers that make something, here or elsewhere.", len(busy))
        yield GaugeMetricFamily("unstrung_workers_started", "Worker processes of this server that live.", self._started())

    def _work(self, connection: Connection) -> Iterator[Metric]:
        self._count(connection)
        ended = CounterMetricFamily("unstrung_jobs_ended", "Jobs that have ended since this server began.", labels=["status"])
        for status, count in self._ended.items():
            ended.add_metric([status], count)
        yield ended
        video = CounterMetricFamily("unstrung_video_seconds", "Seconds of video that were made.", labels=["model"])
        render = CounterMetricFamily("unstrung_render_seconds", "Seconds that workers took for them.", labels=["model"])
        words = "Seconds of work for a second of video, since this server began."
        ratio = GaugeMetricFamily("unstrung_render_seconds_per_video_second", words, labels=["model"])
        for model, seconds in self._video.items():
            video.add_metric([model], seconds)
            render.add_metric([model], self._render[model])
            ratio.add_metric([model], self._render[model] / seconds if seconds else 0.0)
        yield from (video, render, ratio)

    def _count(self, connection: Connection) -> None:
        """Add what has ended since the last look. A little before it is looked at again, for clocks and commits are late."""
        c, now, known = jobs.c, time.time(), cards()
        since = max(self._began, self._until - LATE)
        query = select(c.id, c.status, c.model, c.seconds, c.started_at, c.completed_at).where(c.completed_at > since)
        for id, status, model, seconds, started, completed in connection.execute(query):
            if (id, completed) in self._counted:
                continue
            self._counted[id, completed] = None
            self._ended[status] += 1
            if status == "completed" and started is not None:
                name = model if model in known else "other"
                self._video[name] += seconds
                self._render[name] += completed - started
        self._until = now
        self._counted = {key: None for key in self._counted if key[1] > now - 2 * LATE}

    def _room(self, connection: Connection) -> Iterator[Metric]:
        if time.monotonic() - self._added > CLIPS_FRESH:
            self._clips = int(connection.execute(select(func.coalesce(func.sum(clips.c.bytes), 0))).scalar_one())
            self._added = time.monotonic()
        yield GaugeMetricFamily("unstrung_clips_bytes", "Bytes of finished films.", self._clips)
        yield GaugeMetricFamily("unstrung_database_bytes", "Bytes of the store's database.", _database_bytes(connection))
        free = shutil.disk_usage(self._folder).free
        yield GaugeMetricFamily("unstrung_disk_free_bytes", "Bytes that are left on the disk of the films.", free)


def add_routes(app: FastAPI, desk: Desk, metrics: Metrics) -> None:
    """Add the route."""
    admins = desk.asker("admin")

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}, "description": "Figures"}})
    def metrics_(caller: Caller = admins) -> Response:
        """Get the host's figures, as Prometheus reads them."""
        return Response(metrics.text(), headers={"content-type": TEXT})


def _database_bytes(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())
    files = [Path(f"{connection.engine.url.database}{suffix}") for suffix in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.is_file())
