"""What can go wrong, in words for the person who asked."""

from __future__ import annotations

import traceback


class UnstrungError(Exception):
    """Say what went wrong: `code` for programs, `field` where one is at fault, `message` for people.

    A message names the field, the value, what is allowed, and the next command to type.
    """

    def __init__(self, code: str, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


class InvalidRequest(UnstrungError):
    """The request itself can't be met: a field is missing, malformed or outside the model's limits."""

    def __init__(self, field: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(code, field, message)


class UnknownModel(UnstrungError):
    """No model has this name."""

    def __init__(self, message: str) -> None:
        super().__init__("unknown_model", "model", message)


class MissingWeights(UnstrungError):
    """The model is known, but its weights or its runtime are not installed."""

    def __init__(self, message: str) -> None:
        super().__init__("missing_weights", "model", message)


class NotEnoughMemory(UnstrungError):
    """The request does not fit into this machine."""

    def __init__(self, message: str) -> None:
        super().__init__("not_enough_memory", None, message)


class Refused(UnstrungError):
    """A rule that the host has set does not allow this request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, "prompt", message)


class Canceled(UnstrungError):
    """Somebody stopped the work; raised by `emit`, so that a model needs no flag to look at."""

    def __init__(self, message: str = "Canceled.") -> None:
        super().__init__("canceled", None, message)


class GivenBack(Canceled):
    """Whoever did the work stops, and somebody else will go on: what goes on by itself elsewhere is left to be found there."""

    def __init__(self) -> None:
        super().__init__("Given back.")


def places(error: BaseException) -> str:
    """Say an exception's type and where it was raised, the innermost place first, and what it came of.

    Without its words, which may hold what somebody asked for.
    """
    frames = [
        (frame.f_globals.get("__name__"), line, frame.f_code.co_name) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    where = " < ".join(f"{module}:{line} {function}" for module, line, function in reversed(frames))
    came_of = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    said = f"{type(error).__name__} at {where}" if where else type(error).__name__
    return f"{said}; came of {places(came_of)}" if came_of else said
