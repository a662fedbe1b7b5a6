"""What is given with a prompt on the command line: pictures, films, LoRAs and the model's own options."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unstrung.errors import InvalidRequest

if TYPE_CHECKING:
    from unstrung.request import Condition, Lora

STAYS = 0.6  # of a film that is made anew, where nobody says
ON_OFF = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_given(
    model: str | None, *, image: str | None, last_image: str | None, at: list[str] | None, extend: str | None,
    remade: str | None, strength: float | None, control: str | None, loras: list[str] | None, settings: list[str] | None,
    preset: str | None, queue: bool,
) -> tuple[tuple[Condition, ...], tuple[Lora, ...], dict[str, Any]]:  # fmt: skip
    """Return conditions, LoRAs and options; files by their full paths. Raises `InvalidRequest` with the flag and its value."""
    from unstrung.request import Condition

    if strength is not None and not (remade or control):
        raise InvalidRequest(
            "strength", f"--strength is {strength:g}; it is how much --from or --control counts: add one of them."
        )
    if strength is not None and not 0 <= strength <= 1:
        raise InvalidRequest("strength", f"--strength is {strength:g}; it must be from 0 to 1.")
    if remade and strength == 1:
        raise InvalidRequest(
            "strength", "--strength is 1, which leaves the film as it is: give less, or --extend to go on from it."
        )
    pinned = [(0, image, "--image"), *((*_pinned(text), "--at") for text in at or []), (-1, last_image, "--last-image")]
    found = [Condition(_file(flag, file), frame) for frame, file, flag in pinned if file is not None]
    if extend is not None:
        found.append(Condition(_file("--extend", extend), kind="video"))
    if remade is not None:
        found.append(Condition(_file("--from", remade), strength=STAYS if strength is None else strength, kind="video"))
    if control is not None:
        found.append(Condition(_file("--control", control), strength=1.0 if strength is None else strength, kind="control"))
    if queue and found:
        words = f"--queue can't take {found[0].source}: a queued film starts only from what its store holds. Leave out --queue."
        raise InvalidRequest("queue", words)
    return tuple(found), tuple(map(_lora, loras or [])), read_options(model, settings or [], preset)


def _file(flag: str, name: str) -> str:
    path = Path(name)
    if not path.is_file():
        raise InvalidRequest(flag.strip("-"), f"{flag} is '{name}', and there is no such file.")
    return str(path.absolute())


def _pinned(text: str) -> tuple[int, str]:
    frame, found, file = text.partition("=")
    if not found or not file or not re.fullmatch(r"-?\d{1,9}", frame.strip()):
        words = f"--at is '{text}'; it must be FRAME=FILE, as 12=fox.png, and FRAME a whole number (-1 is the last one)."
        raise InvalidRequest("at", words)
    return int(frame), file


def _lora(text: str) -> Lora:
    from unstrung.request import Lora

    source, found, said = text.rpartition("=")
    if not found or _there(text):
        return Lora(_source(text))
    try:
        scale = float(said)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise InvalidRequest("lora", f"--lora is '{text}': its scale is '{said}'; it must be a number, as {source}=0.8.")
    return Lora(_source(source), scale)


def _there(source: str) -> Path | None:
    """Return the file that a LoRA's name means; after a # it may say for which of two experts it is."""
    return next((path for path in (Path(source), Path(re.sub(r"#[12]$", "", source))) if path.is_file()), None)


def _source(source: str) -> str:
    if source.startswith("hf:"):
        return source
    if (path := _there(source)) is None:
        raise InvalidRequest("lora", f"--lora is '{source}', and there is no such file; of the hub it is like hf:OWNER/NAME.")
    expert = "" if path == Path(source) else source[-2:]
    return f"{path.absolute()}{expert}"


def read_options(model: str | None, settings: list[str], preset: str | None = None) -> dict[str, Any]:
    """Return the options by name, each of the type of its default; whether the model has them is the request's check."""
    from unstrung.plugins import find_card
    from unstrung.request import DEFAULT_MODEL

    found: dict[str, Any] = {} if preset is None else {"preset": preset}
    known = find_card(model or DEFAULT_MODEL)[0].options if settings else {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise InvalidRequest("set", f"--set is '{text}'; it must be NAME=VALUE.")
        if name in found:
            raise InvalidRequest("set", f"--set is '{text}', but {name} is set to {found[name]!r} already: say it once.")
        found[name] = _typed(name, value, known[name].default if name in known else None)
    return found


def _typed(name: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ON_OFF:
            raise InvalidRequest("set", f"--set {name} is '{value}'; it must be one of: {', '.join(ON_OFF)}.")
        return ON_OFF[value.lower()]
    if not isinstance(default, int | float):
        return value
    try:
        number = type(default)(value)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise InvalidRequest("set", f"--set {name} is '{value}'; it must be {kind}.") from None
    return number
