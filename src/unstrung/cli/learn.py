"""The verbs for those who train: data, train, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unstrung.cli.talk import Json, need_torch, print_json, say

data_app = typer.Typer(no_args_is_help=True, help="Fetch what models are trained on.")
train_app = typer.Typer(no_args_is_help=True, help="Train a model.")
eval_app = typer.Typer(no_args_is_help=True, help="Measure a model.")


@data_app.command("toyworld")
def data_toyworld(
    folder: Annotated[Path | None, typer.Option(help="Where to keep it; default: the user's cache.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch the toy world's art (750 MB, with npm), check it, and make it ready to train with."""
    from unstrung.corpus.toyworld.art import fetch, open_atlas
    from unstrung.corpus.toyworld.render import art_names

    place = fetch(folder, say)
    say("unpacking the frames")
    open_atlas(art_names(), folder=place)
    print_json({"folder": str(place), "works": len(art_names())}) if as_json else print(place)


@train_app.command("nano")
def train_nano(
    hours: Annotated[float, typer.Option(min=0.001, help="How long to train.")] = 2.0,
    folder: Annotated[Path, typer.Option(help="Logs, checkpoints and sample sheets.")] = Path("runs/nano"),
    start_from: Annotated[Path | None, typer.Option("--from", help="Weights to begin with: a file, or 'shipped'.")] = None,
    cooldown: Annotated[
        int | None, typer.Option(min=1, help="Let the learning rate fall to nothing over so many steps, then stop.")
    ] = None,
    sample_minutes: Annotated[float, typer.Option(help="Minutes between sample sheets.")] = 20,
    as_json: Json = False,
) -> None:
    """Train the built-in model, from its last checkpoint where there is one."""
    need_torch()
    from unstrung.models.native import FOLDER
    from unstrung.train.configs.nano import nano
    from unstrung.train.loop import Plan, train
    from unstrung.train.report import report_run

    if start_from == Path("shipped"):
        start_from = FOLDER / "nano.safetensors"
    plan = Plan(hours=hours, folder=folder, start_from=start_from, cooldown=cooldown, sample_minutes=sample_minutes)
    trainer = train(nano(), plan, say, report_run)
    report_run(trainer)
    if as_json:
        print_json({"folder": str(folder), "step": trainer.step, "samples": trainer.samples, "hours": round(trainer.hours, 4)})
    say(f"stopped at step {trainer.step}; go on with: unstrung train nano --hours {hours:g} --folder {folder}")


@train_app.command("export")
def train_export(
    folder: Annotated[Path, typer.Option(help="The run to take the weights from.")] = Path("runs/nano"),
    target: Annotated[Path | None, typer.Option(help="Where to put them; default: into the package.")] = None,
    as_json: Json = False,
) -> None:
    """Write a run's mean weights, with their vocabulary and credits, as the built-in model."""
    need_torch()
    from unstrung.models.native import FOLDER
    from unstrung.train.configs.nano import nano
    from unstrung.train.export import export

    weights = export(nano(), folder, target or FOLDER)
    print_json({"weights": str(weights)}) if as_json else print(weights)


@train_app.command("detail")
def train_detail(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to train.")] = 45,
    folder: Annotated[Path, typer.Option(help="Log of the run.")] = Path("runs/detail"),
    start_from: Annotated[Path | None, typer.Option("--from", help="Weights to begin with.")] = None,
    as_json: Json = False,
) -> None:
    """Train the film network, which makes large pictures and more of them from what nano draws."""
    need_torch()
    from unstrung.train.detail import train_detail as learn

    weights = learn(minutes, folder, say, start_from)
    print_json({"weights": str(weights)}) if as_json else print(weights)


@train_app.command("reader")
def train_reader(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to train.")] = 45,
    folder: Annotated[Path, typer.Option(help="Log and weights of the run.")] = Path("runs/reader"),
    as_json: Json = False,
) -> None:
    """Train the reader: the small network that judges films by reading who is where, when, and going which way."""
    need_torch()
    from unstrung.eval.learn import train_reader as learn

    weights = learn(minutes, folder, say)
    print_json({"weights": str(weights)}) if as_json else print(weights)


@eval_app.command("nano")
def eval_nano(
    count: Annotated[int, typer.Option(min=2, help="How many of the fixed prompts, from the first.")] = 192,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; default: the model's own.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance; default: the model's own.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write unchosen samples here, as PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the built-in model on fixed prompts, half of them pairs of subject and place that it never saw."""
    need_torch()
    from unstrung import engine
    from unstrung.eval.prompts import EvalPrompt, eval_prompts
    from unstrung.eval.report import evaluate
    from unstrung.request import Request

    model = engine.open_model("nano")

    def make(prompt: EvalPrompt) -> tuple[Any, float]:
        asked = Request(
            prompt.prompt,
            width=160,
            height=96,
            fps=8,
            seconds=2,
            seed=prompt.seed,
            num_inference_steps=steps,
            guidance_scale=guidance,
        )
        clip, _ = engine.generate(asked, model=model)
        return clip.frames, clip.fps

    report = evaluate(make, say, prompts=eval_prompts()[:count], sheet=sheet)
    print_json(report.to_dict()) if as_json else print(report.table())
