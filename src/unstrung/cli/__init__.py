"""The command line: verbs, each of which calls one function below."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from unstrung.cli.archive import export_, import_
from unstrung.cli.feedback import feedback_app
from unstrung.cli.jobs import StoreUrl, enqueue, jobs_app, serve, worker
from unstrung.cli.learn import data_app, eval_app, train_app
from unstrung.cli.letter import letter_app
from unstrung.cli.models import models_app
from unstrung.cli.places import places_app
from unstrung.cli.studio import space, studio
from unstrung.cli.talk import Json, Talk, print_json, print_models, print_plans
from unstrung.cli.tokens import tokens_app
from unstrung.cli.webhooks import webhooks_app
from unstrung.errors import InvalidRequest, UnstrungError

if TYPE_CHECKING:
    from unstrung.recipe import Recipe
    from unstrung.request import Request


class Resolution(StrEnum):
    """The short side of the picture."""

    P360 = "360p"
    P480 = "480p"
    P720 = "720p"
    P1080 = "1080p"


class Aspect(StrEnum):
    """Width to height."""

    WIDE = "16:9"
    TALL = "9:16"
    SQUARE = "1:1"


class _Verbs(typer.core.TyperGroup):
    """The group of verbs, in which a first word that is no verb is a prompt: `unstrung "a fox"` generates."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["generate", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # an option before the prompt belongs to generate, unless it is one of the group's own
        if args and args[0].startswith("-") and args[0] not in ("--help", "--version", "--"):
            args = ["generate", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Text to video that nobody can switch off: unstrung 'a red fox running through the snow at night'",
)
app.add_typer(models_app, name="models")
models_app.add_typer(places_app)  # without a name of its own: its verbs are verbs of models
app.add_typer(data_app, name="data")
app.add_typer(train_app, name="train")
app.add_typer(eval_app, name="eval")
app.add_typer(jobs_app, name="jobs")
app.add_typer(tokens_app, name="tokens")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(feedback_app, name="feedback")
app.add_typer(letter_app, name="letter")
app.command("worker")(worker)
app.command("serve")(serve)
app.command("studio")(studio)
app.command("space")(space)
app.command("export")(export_)
app.command("import")(import_)


def main() -> None:
    """Run the command line; exit 2 for bad input with one clear line, 130 for Ctrl-C."""
    warnings.showwarning = _warn
    try:
        code = app(standalone_mode=False)
    except UnstrungError as error:
        _fail(error.message)
    except TyperException as error:
        message = error.format_message()
        hint = ": put the whole sentence in quotes" if "extra argument" in message else ""
        _fail(message.rstrip(".") + hint if hint else message)
    except (KeyboardInterrupt, typer.Abort):
        print("\nStopped; nothing half-made was left behind.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os._exit(141)
    sys.exit(code or 0)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"unstrung: warning: {message}", file=sys.stderr)


def _fail(message: str) -> None:
    print(f"unstrung: {message}", file=sys.stderr)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from unstrung import __version__

        print(f"unstrung {__version__}")
        raise typer.Exit


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What you want to see.")],
    model: Annotated[str | None, typer.Option(help="Which model; see 'unstrung models list'.")] = None,
    size: Annotated[str | None, typer.Option(help="Width and height in pixels, as 640x360.")] = None,
    resolution: Annotated[Resolution | None, typer.Option(help="The short side, instead of --size.")] = None,
    aspect: Annotated[Aspect | None, typer.Option(help="The shape, with --resolution.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length, 1 to 60; default 5.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second; default 24.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same film.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps: more is finer and slower.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt.")] = None,
    negative: Annotated[str | None, typer.Option(help="What you don't want to see.")] = None,
    sampler: Annotated[str | None, typer.Option(help="How noise becomes a picture: see 'unstrung models show'.")] = None,
    image: Annotated[str | None, typer.Option(metavar="FILE", help="The first frame.")] = None,
    last_image: Annotated[str | None, typer.Option(metavar="FILE", help="The last frame.")] = None,
    at: Annotated[list[str] | None, typer.Option(metavar="FRAME=FILE", help="A picture at a frame; may come again.")] = None,
    extend: Annotated[str | None, typer.Option(metavar="FILE", help="A film that this one goes on from.")] = None,
    remade: Annotated[str | None, typer.Option("--from", metavar="FILE", help="A film to make anew.")] = None,
    strength: Annotated[float | None, typer.Option(help="How much stays of --from, or counts of --control: 0 to 1.")] = None,
    control: Annotated[str | None, typer.Option(metavar="FILE", help="A film of depths, poses or lines to follow.")] = None,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="FILE[=SCALE]", help="A LoRA, or hf:OWNER/NAME; may come again.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the model.")] = None,
    preset: Annotated[str | None, typer.Option(help="draft, standard or final: how much time it may take.")] = None,
    variants: Annotated[int, typer.Option(min=1, max=64, help="How many films, each with its own seed.")] = 1,
    output: Annotated[str | None, typer.Option("--output", "-o", help="File or folder to write to.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Write a contact sheet beside the film, as PNG.")] = False,
    recipe: Annotated[bool, typer.Option("--recipe/--no-recipe", help="Keep in the file how it was made.")] = True,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Don't wait: put it into the queue, for 'unstrung worker'.")] = False,
    public: Annotated[bool, typer.Option("--public", help="With --queue: let everybody who may ask here see it.")] = False,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Make a film from a sentence, and from what is given with it."""
    from unstrung.cli.given import read_given
    from unstrung.request import Request

    conditions, loras, options = read_given(
        model, image=image, last_image=last_image, at=at, extend=extend, remade=remade, strength=strength, control=control,
        loras=lora, settings=settings, preset=preset, queue=queue,
    )  # fmt: skip
    width, height = _size(size, resolution, aspect)
    request = Request(
        prompt=prompt, negative_prompt=negative, model=model, width=width, height=height, seconds=seconds, fps=fps,
        num_inference_steps=steps, guidance_scale=guidance, sampler=sampler, seed=seed,
        conditions=conditions, loras=loras, options=options,
    )  # fmt: skip
    if queue:
        return enqueue(request, variants, public, store_url, as_json)
    if public or store_url:
        name = "public" if public else "store"
        raise InvalidRequest(name, f"--{name} is for films in the queue, which others may ask for: add --queue.")
    _make(request, variants, output, force, preview, recipe, device, as_json)


def _make(
    request: Request, variants: int, output: str | None, force: bool, preview: bool, keep_recipe: bool,
    device: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Make the variants of a request with one loaded model, each file whole before the next begins."""
    from dataclasses import replace

    from unstrung import engine
    from unstrung.media.codec import check_target, write_clip, write_picture

    first = engine.check(request).target
    assert first.seed is not None
    paths = _paths(request.prompt, output, variants)
    sheets = [path.with_suffix(".png") for path in paths] if preview else []
    for path in paths:
        check_target(path, force)
    for sheet in sheets:
        check_target(sheet, force, ".png")
    made = []
    with Talk(quiet=as_json) as talk:
        since = time.perf_counter()
        opened = engine.open_model(request.model, device)
        loading = round(time.perf_counter() - since, 3)
        for i, path in enumerate(paths):
            asked = replace(request, seed=(first.seed + i) % 2**63)
            clip, recipe = engine.generate(asked, talk.emit, model=opened)
            since = time.perf_counter()
            write_clip(clip, path, recipe=recipe if keep_recipe else None, force=force)
            row: dict[str, Any] = {"file": str(path), "seconds_to_write": round(time.perf_counter() - since, 3)}
            if preview:
                write_picture(clip.contact_sheet(), sheets[i], force=force)
                row["preview"] = str(sheets[i])
            made.append({**row, "recipe": json.loads(recipe.to_json())})
            talk.say(f"{path}  ({clip.seconds:g} s, {clip.width}x{clip.height}, seed {recipe.seed})")
        opened.close()
    if as_json:
        print_json({"clips": made, "notes": talk.notes, "seconds_to_load": loading})


def _size(size: str | None, resolution: Resolution | None, aspect: Aspect | None) -> tuple[int | None, int | None]:
    """Return width and height as asked for in either way; None where the model may choose."""
    if size is not None:
        if resolution or aspect:
            raise InvalidRequest("size", "--size says both sides already: leave out --resolution and --aspect.")
        if not (match := re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", size.strip())):
            raise InvalidRequest("size", f"--size is '{size}'; it must be like 640x360.")
        return int(match[1]), int(match[2])
    if resolution is None and aspect is None:
        return None, None
    from unstrung.request import size_of

    return size_of(int((resolution or Resolution.P360).removesuffix("p")), aspect or Aspect.WIDE)


def _paths(prompt: str, output: str | None, variants: int) -> list[Path]:
    """Return where the films go: named by the prompt, in the folder or under the name that was given."""
    from unstrung.request import slug

    if output is None:
        path = Path(f"{slug(prompt)}.mp4")
    elif Path(output).is_dir() or output.endswith(("/", os.sep)):
        path = Path(output) / f"{slug(prompt)}.mp4"
    else:
        path = Path(output) if Path(output).suffix else Path(output).with_suffix(".mp4")
    if variants == 1:
        return [path]
    return [path.with_stem(f"{path.stem}-{i + 1}") for i in range(variants)]


@app.command()
def show(file: Annotated[Path, typer.Argument(help="A film that Unstrung made, or a recipe.")], as_json: Json = False) -> None:
    """Say how a film was made."""
    from unstrung.media.codec import read_recipe

    recipe = read_recipe(file)
    if as_json:
        print_json(json.loads(recipe.to_json()))
        return
    out = recipe.output
    lines = {
        "prompt": recipe.request["prompt"],
        "model": f"{recipe.model['id']} (revision {recipe.model['revision']}, {recipe.model['license']})",
        "seed": recipe.seed,
        "film": f"{out['num_frames']} frames at {out['fps']} fps, {out['width']}x{out['height']}",
        "sampling": _sampling(recipe),
        "understood": _understood(recipe),
        "made": f"by Unstrung {recipe.software.get('unstrung')} in {sum(recipe.seconds.values()):.1f} s",
        "frames": out["sha256"],
    }
    for name, value in lines.items():
        print(f"{name:>11}  {value}")


def _sampling(recipe: Recipe) -> str:
    run = recipe.resolved
    steps, sampler, guidance = run.get("num_inference_steps"), run.get("sampler"), run.get("guidance_scale")
    if steps is None and sampler is None and guidance is None:
        return f"as {recipe.device.get('host') or 'whoever ran it'} chose"
    by = sampler or "the model's own sampler"
    return f"{steps or 'unknown'} steps of {by}, guidance {'unknown' if guidance is None else guidance}"


def _understood(recipe: Recipe) -> str:
    known = ", ".join(recipe.understood.get("known", ())) or "-"
    unknown = ", ".join(recipe.understood.get("unknown", ()))
    return f"{known}" + (f"; not known: {unknown}" if unknown else "")


@app.command()
def remake(
    file: Annotated[Path, typer.Argument(help="A film that Unstrung made, or a recipe.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the new film here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    as_json: Json = False,
) -> None:
    """Run a film's recipe again, and say whether every frame is the same."""
    from unstrung import engine
    from unstrung.media.codec import check_target, read_recipe, write_clip

    recipe = read_recipe(file)
    if output is not None:
        check_target(output, force)
    with Talk(quiet=as_json) as talk:
        clip, again, identical = engine.remake(recipe, talk.emit, device=device)
        if output is not None:
            write_clip(clip, output, recipe=again, force=force)
    if as_json:
        print_json({"identical": identical, "recipe": json.loads(again.to_json()), "file": str(output) if output else None})
    else:
        print("identical: every frame is the same" if identical else _difference(recipe, again))


def _difference(before: Recipe, after: Recipe) -> str:
    if before.model["sha256"] != after.model["sha256"]:
        return "different: the model's weights have changed since"
    if before.model.get("loras") != after.model.get("loras"):
        return "different: the LoRAs have changed since"
    if before.software != after.software or before.device != after.device:
        return "different: other software or another machine made the first one"
    return "different, although model, software and machine are the same"


@app.command()
def doctor(
    model: Annotated[str | None, typer.Option(help="Say instead in which ways this model fits here.")] = None,
    size: Annotated[str | None, typer.Option(help="With --model: width and height in pixels, as 640x360.")] = None,
    seconds: Annotated[float | None, typer.Option(help="With --model: the film's length.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="With --model: an option of it.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="With --model: cpu or cuda.")] = None,
    as_json: Json = False,
) -> None:
    """Say what this machine can run, and why not the rest."""
    from unstrung.cli.given import read_options
    from unstrung.machine import examine, forecast
    from unstrung.request import Request

    if model is None and (size or seconds or settings or device):
        raise InvalidRequest("model", "--size, --seconds, --set and --device are for one model: add --model NAME.")
    if model is not None:
        width, height = _size(size, None, None)
        options = read_options(model, settings or [])
        plans = forecast(Request("a film", model=model, width=width, height=height, seconds=seconds, options=options), device)
        return print_json(plans) if as_json else print_plans(plans)
    report = examine()
    if as_json:
        print_json(report)
        return
    for name, value in report["machine"].items():
        print(f"{name:>9}  {value}")
    print_models(report["models"])
