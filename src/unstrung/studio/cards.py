"""What is shown of videos, as HTML: what a person wrote is escaped; what changes while one looks is filled in by the page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from unstrung.job import Job, Status
from unstrung.jobs.feedback import LONGEST_LINE, LONGEST_TEXT, Feedback, in_units
from unstrung.jobs.store import StoredClip
from unstrung.recipe import Recipe
from unstrung.request import slug
from unstrung.studio.form import chosen_size, larger
from unstrung.studio.texts import Say, explain

SHORT = 120  # characters of a prompt where it only names something


class Cards:
    """Shows videos in one language."""

    def __init__(self, language: str, say: Say) -> None:
        self.language, self.say = language, say

    def board(self, shown: Sequence[tuple[Job, StoredClip | None]], mine: bool = True, empty: str = "", more: str = "") -> str:
        """Return the cards of videos, or the words for that there is none; `more` is the button that shows further ones."""
        if not shown:
            return f'<p class="empty">{escape(empty)}</p>' if empty else ""
        cards = "".join(self.card(job, clip, mine) for job, clip in shown)
        # no two boards are the same to the framework: the page may show later cards than those that it was told of last
        return f'<div class="cards" data-at="{time.time_ns()}">{cards}</div>{more}'

    def card(self, job: Job, clip: StoredClip | None, mine: bool = True) -> str:
        """Return one video: what there is to see of it, what it was asked for with, where it stands, and what can be done."""
        say, request = self.say, job.request
        marks = [say("draft_mark")] * job.draft + [say("published")] * (job.public and mine)
        facts = " · ".join(escape(fact) for fact in (*self._facts(job), *marks))
        own = request.original_prompt
        return f"""<article class="card" data-id="{escape(job.id)}" data-status="{job.status}" data-at="{job.started_at or ""}">
{self._screen(job, clip)}
<h2 class="words" lang="und" dir="auto">{escape(request.prompt)}</h2>
{f'<p class="own" dir="auto">{escape(say("original"))}: {escape(own)}</p>' if own else ""}
<p class="facts">{facts}</p>
{self._now(job)}
<div class="acts">{self._acts(job, clip, mine)}</div>
{self._recipe(job, clip) if clip else ""}
</article>"""

    def _facts(self, job: Job) -> list[str]:
        request = job.request
        resolution, shape = chosen_size(request.width, request.height)
        size = resolution.replace("x", "×") if "x" in resolution else f"{resolution} {shape}"
        facts = [size, self.say("n_seconds", n=f"{job.seconds:g}"), request.model or ""]
        return [*facts, f"{self.say('seed')} {request.seed}"]

    def _screen(self, job: Job, clip: StoredClip | None) -> str:
        width, height = job.request.width or 16, job.request.height or 9
        at = f"/v1/videos/{escape(job.id)}/content"
        style = f'style="aspect-ratio: {width} / {height}"'
        if clip is not None:
            label = escape(self.say("film_of", prompt=job.request.prompt[:SHORT]))
            return (
                f'<div class="screen" {style}><video controls playsinline loop preload="metadata" src="{at}" '
                f'poster="{at}?variant=thumbnail" aria-label="{label}"></video></div>'
            )
        label = escape(self.say("preview_of", prompt=job.request.prompt[:SHORT]))
        return (
            f'<div class="screen still" {style}><img data-src="{at}?variant=preview" alt="{label}" hidden>'
            f'<p class="blank">{escape(self.say("no_preview"))}</p></div>'
        )

    def _now(self, job: Job) -> str:
        """Return where a video stands; of one on its way the page itself says so, from what it hears."""
        if job.status in (Status.QUEUED, Status.IN_PROGRESS):
            bar = (
                f'<div class="bar" role="progressbar" aria-label="{escape(self.say("progress"))}" aria-valuemin="0" '
                f'aria-valuemax="100" aria-valuenow="{job.progress}"><i style="width: {job.progress}%"></i></div>'
            )
            return f'{bar}<p class="now" role="status"></p>'
        if job.status is Status.FAILED and job.error:
            why = explain(self.language, job.error.code, able="–")
            return f'<p class="now bad">{escape(self.say("failed", why=why))}</p>'
        return f'<p class="now">{escape(self.say("canceled"))}</p>' if job.status is Status.CANCELED else ""

    def _acts(self, job: Job, clip: StoredClip | None, mine: bool) -> str:
        say, acts = self.say, []
        if mine and job.status in (Status.QUEUED, Status.IN_PROGRESS):
            acts.append(_button("cancel", say("cancel")))
        if clip is not None:
            name = f"{escape(slug(job.request.prompt))}.mp4"
            acts.append(
                f'<a class="act" href="/v1/videos/{escape(job.id)}/content" download="{name}">{escape(say("download"))}</a>'
            )
        if mine and job.status in (Status.FAILED, Status.CANCELED):
            acts.append(_button("retry", say("retry")))
        if mine and clip is not None:
            acts.append(_button("again", say("again")))
            if more := larger(job.request):
                size = chosen_size(more.width, more.height)[0].replace("x", "×")
                acts.append(_button("larger", say("larger", size=size)))
        acts.append(_button("reuse", say("reuse")))
        if mine and clip is not None:
            acts.append(
                _button("unpublish", say("unpublish"))
                if job.public
                else _asked(say("publish"), say("publish_ask"), _button("publish", say("publish_yes")))
            )
        if clip is not None:
            acts.append(self._report(job))
        if mine and job.status not in (Status.QUEUED, Status.IN_PROGRESS):
            acts.append(_asked(say("remove"), say("remove_ask"), _button("remove", say("remove_yes"))))
        return "".join(acts)

    def _report(self, job: Job) -> str:
        say, id = self.say, escape(job.id)
        inside = f"""<label for="report-{id}">{escape(say("report_ask"))}</label>
<textarea id="report-{id}" data-give="text" maxlength="{LONGEST_TEXT}" rows="3"></textarea>
<label for="credit-{id}">{escape(say("report_credit"))}</label>
<input id="credit-{id}" data-give="credit" maxlength="{LONGEST_LINE}">{_button("report", say("report_send"))}"""
        return f'<details class="ask"><summary>{escape(say("report"))}</summary><div>{inside}</div></details>'

    def _recipe(self, job: Job, clip: StoredClip) -> str:
        rows = "".join(
            f'<dt>{escape(name)}</dt><dd dir="auto">{escape(str(value))}</dd>'
            for name, value in self.made_of(clip.recipe).items()
        )
        link = (
            f'<a href="/v1/videos/{escape(job.id)}/recipe" target="_blank" rel="noopener">{escape(self.say("recipe_file"))}</a>'
        )
        return f'<details class="recipe"><summary>{escape(self.say("recipe"))}</summary><dl>{rows}</dl><p>{link}</p></details>'

    def made_of(self, recipe: Recipe) -> dict[str, str]:
        """Return what made a film and what the model understood, line by line."""
        say, model, ran, out = self.say, recipe.model, recipe.resolved, recipe.output
        nothing = say("nothing")
        understood: Mapping[str, Any] = recipe.understood
        near = [say("read_pair", word=word, meant=meant) for word, meant in dict(understood.get("near") or {}).items()]
        sampling = {name: ran.get(key) for name, key in
                    (("steps", "num_inference_steps"), ("sampler", "sampler"), ("guidance", "guidance_scale"))}  # fmt: skip
        return {
            say("model"): str(model["id"]),
            say("revision"): str(model.get("revision", "")),
            say("license"): str(model.get("license", "")),
            say("seed"): str(recipe.seed),
            say("picture"): say("picture_of", size=f"{out['width']}×{out['height']}", frames=out["num_frames"], fps=out["fps"]),
            **({say("sampling"): say("sampling_of", **sampling)} if None not in sampling.values() else {}),
            say("knew"): ", ".join(understood.get("known", ())) or nothing,
            **({say("read_as"): ", ".join(near)} if near else {}),
            say("unknown"): ", ".join(understood.get("unknown", ())) or nothing,
            say("took"): self.duration(sum(recipe.seconds.values())),
            say("frames_hash"): str(out["sha256"]),
        }

    def duration(self, seconds: float) -> str:
        """Return a time in words, roughly."""
        if seconds < 90:
            return self.say("n_seconds", n=max(1, round(seconds)))
        if seconds < 5400:
            return self.say("n_minutes", n=round(seconds / 60))
        return self.say("n_hours", n=round(seconds / 3600))

    def reports(self, found: Sequence[Feedback]) -> str:
        """Return one's reports and what became of them, as a table."""
        say = self.say
        if not found:
            return f'<p class="empty">{escape(say("reports_none"))}</p>'
        heads = ("report_text", "report_state", "report_amount", "report_named", "report_note")
        head = "".join(f'<th scope="col">{escape(say(name))}</th>' for name in heads)
        rows = "".join(f"<tr>{self._report_row(each)}</tr>" for each in found)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(say("reports"))}">{table}</div>'

    def _report_row(self, each: Feedback) -> str:
        day = time.strftime("%Y-%m-%d", time.gmtime(each.created_at))
        amount = f"{in_units(each.amount)} {each.currency}" if each.currency else "–"
        return (
            f'<td dir="auto">{escape(each.text)}<br><small>{day}</small></td><td>{escape(self.say("state_" + each.state))}</td>'
            f'<td>{amount}</td><td dir="auto">{escape(each.credit or "–")}</td><td dir="auto">{escape(each.note or "–")}</td>'
        )

    def others(self, count: int, work: float) -> str:
        """Return how long the queue of others is, without their words."""
        say = self.say
        words = say("queue_others_n", n=count, time=self.duration(work)) if count else say("queue_others_none")
        hint = f'<p class="hint">{escape(say("queue_others_hint"))}</p>' if count else ""
        return f"<h2>{escape(say('queue_others'))}</h2><p>{escape(words)}</p>{hint}"


def _button(do: str, words: str) -> str:
    return f'<button type="button" class="act" data-do="{do}">{escape(words)}</button>'


def _asked(words: str, question: str, button: str) -> str:
    """Return something that is done only after it was said what that means."""
    return f'<details class="ask"><summary>{escape(words)}</summary><div><p>{escape(question)}</p>{button}</div></details>'
