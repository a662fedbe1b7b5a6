"""Make pictures of the page in each of its states, on a desktop, on a phone and in the dark: `python3 scripts/screens.py FOLDER`.

It starts `unstrung studio` in a folder of its own and drives it with Chromium, as a person would. These are to be looked at:
is anything cut, does anything overlap, do the waiting states say what is happening?
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

LETTER = """# To those who own the tools

We are **not** your free testers, your training data, or your marketing. We ask that the tools be open, and that work be paid.

- Train on what was given.
- Show what was used.
- Let nobody's work be switched off.
"""
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1100, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2},
    "dark": {"viewport": {"width": 1100, "height": 900}, "color_scheme": "dark"},
}


@contextmanager
def visitors(folder: Path, language: str) -> Iterator[tuple[Any, Any]]:
    """Start the page where tokens are needed, and a browser; yield who comes to it, and how pictures are taken."""
    from playwright.sync_api import sync_playwright

    from test_studio import CHROMIUM, QUIET, Studio, Visitor  # type: ignore[import-not-found]
    from test_tokens import token  # type: ignore[import-not-found]

    home = Path(tempfile.mkdtemp(prefix="unstrung-screens-"))
    (home / "letter.md").write_text(LETTER)
    tokens = {name: token(home / "data", name) for name in ("ada", "bob")}
    studio = Studio(home / "data", "--letter", str(home / "letter.md"), "--letter-pages", log=home / "log")

    def come(name: str, size: str) -> Any:
        visitor = Visitor(browser, studio, language, **SIZES[size])
        visitor.page.goto(f"{visitor.at}/studio/sign-in?language={language}")
        if size != "dark":
            visitor.page.screenshot(path=folder / f"{size}-00-sign-in.png", full_page=True)
        visitor.page.locator("#token").fill(tokens[name])
        visitor.page.locator("main button").click()
        visitor.page.locator("#generate").wait_for()
        return visitor

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            yield come, studio
        finally:
            browser.close()
            studio.process.terminate()
            studio.process.wait(30)
            shutil.rmtree(home)


def tell_the_story(visitor: Any, other: Any, studio: Any, shoot: Any) -> None:
    """Make a film and do with it all that can be done, with a picture of each state."""
    page, say = visitor.page, visitor.say
    page.wait_for_timeout(500)
    shoot("01-empty")
    page.locator("#generate").click()
    page.locator(".said .bad").locator("visible=true").wait_for()
    shoot("02-refused")
    visitor.open_more()
    shoot("03-more")
    page.reload()
    other.ask("a whale in the sea at sunset", **{other.say("steps"): "20"})
    page.get_by_label(say("prompt")).fill("a penguin walking in the snow")
    page.get_by_label(say("expand")).check()
    page.get_by_label(say("expanded")).wait_for()
    page.wait_for_timeout(700)
    shoot("04-expanded")
    page.locator("#generate").click()
    page.locator("#board .bar").first.wait_for()
    page.wait_for_timeout(1500)
    shoot("05-waiting")
    visitor.go("queue")
    page.wait_for_timeout(1500)
    shoot("06-queue")
    visitor.go("make")
    card = page.locator("#board article").first
    card.locator("img[data-src]").wait_for(state="visible")
    shoot("07-being-made")
    visitor.finished(card)
    page.wait_for_timeout(800)
    shoot("08-finished")
    for summary in card.locator("summary").all():
        summary.click()
    shoot("09-everything-open")
    visitor.do(card, "publish_yes")
    card.get_by_text(say("published")).wait_for()
    card.locator("summary", has_text=say("report")).click()
    card.locator("[data-give=text]").fill("The penguin has one foot too many." if visitor.language == "en" else "42")
    visitor.do(card, "report_send")
    page.get_by_label(say("expand")).uncheck()
    stopped = visitor.ask("a horse on a stage", **{say("steps"): "60"})
    stopped.locator("img[data-src]").wait_for(state="visible")
    visitor.do(stopped, "cancel")
    stopped.get_by_text(say("canceled")).wait_for()
    shoot("10-canceled")
    visitor.go("clips")
    page.locator("#reports tr").nth(1).wait_for()
    shoot("11-my-clips")
    visitor.go("gallery")
    page.locator("#gallery article").wait_for()
    shoot("12-gallery")
    visitor.go("letter")
    visitor.field(say("letter_name")).fill("Ann Other")
    page.locator("#begin").click()
    page.locator("#todo pre").first.wait_for()
    shoot("13-letter")
    visitor.go("make")
    visitor.ask("a bear in a forest", **{say("steps"): "60"}).locator("img[data-src]").wait_for(state="visible")
    studio.process.kill()
    studio.process.wait()
    page.get_by_text(say("lost")).wait_for()
    shoot("14-server-gone")
    studio.start()


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", default="en")
    parser.add_argument("--size", choices=SIZES, action="append")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for size in asked.size or SIZES:
        with visitors(asked.folder, asked.language) as (come, studio):
            other, visitor = come("bob", "dark"), come("ada", size)

            def shoot(name: str, page: Any = visitor.page, size: str = size) -> None:
                page.screenshot(path=asked.folder / f"{size}-{name}.png", full_page=True)
                print(asked.folder / f"{size}-{name}.png", flush=True)

            tell_the_story(visitor, other, studio, shoot)


if __name__ == "__main__":
    if not os.environ.get("VIRTUAL_ENV") and "unstrung" not in sys.modules:
        from setup_env import environment

        python = environment(("train", "dev")) / "python"
        if Path(sys.executable) != python:
            sys.exit(subprocess.call([str(python), __file__, *sys.argv[1:]]))
    main()
