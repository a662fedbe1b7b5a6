"""The log of `serve` and `worker`: a line on stderr for whatever happens, in JSON or for people, that keeps secrets.

What our own parts say of themselves holds no prompts, keys or bodies; what libraries say is anybody's guess, so of that only
where it was said is written, and of an exception its type and its places.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from unstrung.errors import places


class LogFormat(StrEnum):
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"


Format = Annotated[LogFormat | None, typer.Option("--log-format", help="Default: text on a terminal, else json.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Log only what goes wrong.")]
Prompts = Annotated[bool, typer.Option("--log-prompts", help="Write prompts, and why jobs fail, into the log too.")]


class Lines(logging.Formatter):
    """A record as one line."""

    def __init__(self, format: LogFormat) -> None:
        super().__init__()
        self.as_json = format is LogFormat.JSON

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        row: dict[str, Any] = {"level": record.levelname.lower(), "event": record.msg, **getattr(record, "fields", {})}
        if record.name.partition(".")[0] != "unstrung":
            row |= {"event": "library", "logger": record.name, "at": f"{record.module}:{record.lineno}"}
            if record.name.startswith("uvicorn"):  # which puts no values into its first line
                row["words"] = str(record.msg).partition("\n")[0]
        if record.exc_info and record.exc_info[1]:
            row["error"] = places(record.exc_info[1])
        if self.as_json:
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
            return json.dumps({"time": when, **row}, ensure_ascii=False)
        words = " ".join(f"{name}={_word(value)}" for name, value in row.items() if name not in ("level", "event"))
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        return f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {level}{row['event']} {words}".rstrip()


def set_up(format: LogFormat | None, quiet: bool) -> list[str]:
    """Begin to log, in this process alone; return the options by which another process does the same."""
    format = format or (LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON)
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(format))
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    ours = logging.getLogger("unstrung")
    ours.setLevel(logging.WARNING if quiet else logging.INFO)
    logging.raiseExceptions = False  # what can't be logged is not printed with its values instead

    def warn(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        ours.warning("warning", extra={"fields": {"kind": category.__name__, "at": f"{Path(filename).name}:{lineno}"}})

    def crash(kind: type[BaseException], error: BaseException | None, *_: Any) -> None:
        ours.critical("crashed", extra={"fields": {"error": places(error) if error else kind.__name__}})

    warnings.showwarning = warn
    sys.excepthook = crash
    threading.excepthook = lambda args: crash(args.exc_type, args.exc_value)
    return ["--log-format", format, *(["--quiet"] if quiet else [])]


def _word(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() or c == '"' for c in text) else text
