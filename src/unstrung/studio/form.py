"""The form: what can be asked for, as controls; read from them into the API's words, and filled in from a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from unstrung.api.desk import Desk
from unstrung.api.schema import model_of
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.plugins import cards
from unstrung.request import DEFAULT_MODEL, LONG_SIDES, SHAPES, Request, size_of
from unstrung.studio.texts import Say

LENGTHS = (5.0, 10.0, 20.0, 60.0)  # seconds
MOST_VARIANTS = 8
NAMES = ("prompt", "expand", "expanded", "expanded_of", "resolution", "shape", "seconds", "model", "seed", "n", "draft",
         "negative_prompt", "num_inference_steps", "guidance_scale", "fps", "picture")  # fmt: skip


class Form(dict[str, Any]):
    """The controls, by the names of what they ask for."""

    def all(self) -> list[Any]:
        """Return the controls, in the order of `NAMES`."""
        return [self[name] for name in NAMES]


def build(say: Say, models: Sequence[str]) -> Form:
    """Build the controls into the page that is being built."""
    controls = Form()
    controls["prompt"] = gr.Textbox(
        label=say("prompt"), placeholder=say("prompt_hint"), lines=3, max_lines=8, elem_id="prompt", autofocus=True
    )
    shapes = [(say(name), shape) for name, shape in zip(("wide", "tall", "square"), SHAPES, strict=True)]
    with gr.Row():
        controls["resolution"] = _any(gr.Radio(resolutions(), value="360p", label=say("resolution")))
        controls["seconds"] = _any(gr.Radio(lengths(say), value=LENGTHS[0], label=say("length")))
        controls["shape"] = gr.Radio(shapes, value=SHAPES[0], label=say("shape"))
    with gr.Accordion(say("more"), open=False, elem_id="more"):
        with gr.Row():
            controls["model"] = _any(gr.Dropdown(list(models), value=models[0], label=say("model"), filterable=False))
            controls["seed"] = gr.Textbox(label=say("seed"), info=say("seed_hint"), max_lines=1)
            controls["n"] = gr.Dropdown(
                list(range(1, MOST_VARIANTS + 1)), value=1, label=say("variants"), info=say("variants_hint"), filterable=False
            )
        controls["negative_prompt"] = gr.Textbox(label=say("negative"), max_lines=4)
        with gr.Row():
            for name, word in (("num_inference_steps", "steps"), ("guidance_scale", "guidance"), ("fps", "fps")):
                controls[name] = gr.Textbox(label=say(word), info=say("by_model"), max_lines=1)
        controls["draft"] = gr.Checkbox(label=say("draft"))
        controls["picture"] = _picture(say)
    controls["expand"] = gr.Checkbox(label=say("expand"))
    controls["expanded"] = gr.Textbox(label=say("expanded"), lines=3, max_lines=8, visible=False, elem_id="expanded")
    controls["expanded_of"] = gr.Textbox(visible="hidden")  # the words that were expanded
    return controls


def fill(request: Request, say: Say) -> list[Any]:
    """Return what each control is to show so that all ask for the same as a request, in the order of `NAMES`."""
    resolution, shape = chosen_size(request.width, request.height)
    seconds = request.seconds
    if seconds is None and request.num_frames is not None:
        seconds = request.num_frames / (request.fps or 24)
    expanded = request.original_prompt is not None
    values: dict[str, Any] = {
        "prompt": request.original_prompt or request.prompt,
        "expand": expanded,
        "expanded": gr.update(value=request.prompt, visible=expanded),
        "expanded_of": request.original_prompt or "",
        "resolution": gr.update(choices=resolutions(resolution), value=resolution),
        "shape": shape,
        "seconds": gr.update(choices=lengths(say, seconds), value=seconds or LENGTHS[0]),
        "model": request.model or DEFAULT_MODEL,
        "seed": _text(request.seed),
        "n": 1,
        "draft": False,
        "negative_prompt": request.negative_prompt or "",
        "num_inference_steps": _text(request.num_inference_steps),
        "guidance_scale": _text(request.guidance_scale),
        "fps": _text(request.fps),
        "picture": "",
    }
    return [values[name] for name in NAMES]


def read(values: Sequence[Any]) -> tuple[dict[str, Any], str | None]:
    """Return what the controls ask for in the API's words, and the person's own words where they were expanded.

    Raises `InvalidRequest` where nothing was asked for, and where other words were expanded than those that stand there now.
    """
    asked = dict(zip(NAMES, values, strict=True))
    fields: dict[str, Any] = {"prompt": asked["prompt"] or "", "model": asked["model"], "seconds": asked["seconds"]}
    original = None
    if not fields["prompt"].strip():
        raise InvalidRequest("prompt", "Say what you want to see.", code="missing_required_parameter")
    if asked["expand"] and (asked["expanded"] or "").strip():
        if asked["expanded_of"] != fields["prompt"]:
            raise InvalidRequest("expanded", "The words have changed since they were expanded.", code="stale")
        original, fields["prompt"] = fields["prompt"], asked["expanded"]
    if asked["resolution"] in resolutions():
        width, height = size_of(int(asked["resolution"].removesuffix("p")), asked["shape"])
        fields["size"] = f"{width}x{height}"
    else:
        fields["size"] = asked["resolution"]
    for name in ("negative_prompt", "seed", "num_inference_steps", "guidance_scale", "fps", "n"):
        if str(asked[name] or "").strip():
            fields[name] = asked[name]
    if asked["draft"]:
        fields["draft"] = True
    if asked["picture"]:
        fields["input_reference"] = {"image_url": asked["picture"]}
    return fields, original


def installed(desk: Desk) -> list[str]:
    """Return the models that can be asked for here; first the one that the host has chosen for whoever names none."""
    found, first = [], model_of(None, desk.rules.aliases)
    for card, _ in cards().values():
        try:
            desk.card(card.id)
        except UnstrungError:
            continue
        found.append(card.id)
    return sorted(found, key=lambda id: (id != first, id))


def resolutions(also: str = "360p") -> list[str]:
    """Return the resolutions to choose from, with one that a film has."""
    known = [f"{short}p" for short in LONG_SIDES]
    return known if also in known else [*known, also]


def lengths(say: Say, also: float | None = None) -> list[tuple[str, float]]:
    """Return the lengths to choose from in words, with one that a film has."""
    known = sorted({*LENGTHS, *([also] if also else [])})
    return [(say("n_seconds", n=f"{seconds:g}"), seconds) for seconds in known]


def chosen_size(width: int | None, height: int | None) -> tuple[str, str]:
    """Return the resolution and the shape that a size is, or the size itself as its resolution where it is none of these."""
    if width is None or height is None:
        return "360p", SHAPES[0]
    for short in LONG_SIDES:
        for shape in SHAPES:
            if size_of(short, shape) == (width, height):
                return f"{short}p", shape
    return f"{width}x{height}", SHAPES[0]


def larger(request: Request) -> Request | None:
    """Return a request in the next larger resolution; None where there is none."""
    if request.width is None or request.height is None:
        return None
    short = min(request.width, request.height)
    above = next((side for side in LONG_SIDES if side > short), None)
    if above is None:
        return None
    for shape in SHAPES:
        if short in LONG_SIDES and size_of(short, shape) == (request.width, request.height):
            width, height = size_of(above, shape)
            break
    else:
        width, height = (round(side * above / short / 2) * 2 for side in (request.width, request.height))
    return replace(request, width=width, height=height)


def _any(control: Any) -> Any:
    """Return a control that takes what its page shows: a server that was restarted does not know of choices added for a film.

    What is chosen is checked where everything is, by the functions that the API calls.
    """
    control.preprocess = lambda payload: payload
    return control


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.15g}" if isinstance(number, float) else str(number)


def _picture(say: Say) -> Any:
    """Return the control that takes a picture, which it shows, or a film, whose recipe it reads in the browser."""
    taken = (
        f'<p class="taken"><img src="${{value}}" alt="{say("bring_alt")}">'
        f'<button type="button">{say("bring_remove")}</button></p>'
    )
    kinds = "image/png,image/jpeg,image/webp,video/mp4,application/json,.json"
    choose = (
        f'<input id="bring-file" type="file" accept="{kinds}"><label for="bring-file" class="act">{say("bring_choose")}</label>'
    )
    return gr.HTML(
        "",
        elem_id="bring",
        html_template=f"""<div class="bring"><p class="name">{say("bring")}</p>{choose}<p class="hint">{say("bring_hint")}</p>
<p class="bad" role="alert"></p>${{value ? `{taken}` : ""}}</div>""",
        js_on_load="unstrung.bring(element, props, trigger)",
        apply_default_css=False,
    )
