"""The page, as people use it: in a real browser, against `unstrung studio`, from an empty box to a film that plays."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keys import MinisignKey, SshKey
from served import Served
from test_given import picture
from test_letter import post
from test_tokens import token, unstrung
from unstrung.media.codec import read_clip, read_recipe
from unstrung.studio.texts import ERRORS, LANGUAGES, TEXTS, explain, speaker

playwright = pytest.importorskip("playwright.sync_api")
axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
FOX = "a red fox running through the snow at night"
SLOW = {"Steps": "150"}  # of the built-in model: long enough to be caught at it
PATIENCE = 300_000  # ms for a film, beside other tests on a slow processor too


class Studio(Served):
    """A running page."""

    verb = ("studio", "--no-browser")

    def __init__(self, folder: Path, *options: str, **more: Any) -> None:
        super().__init__(folder, "--alias", "sora-2=nano", *options, **more)  # what the page offers first


class Visitor:
    """Somebody at the page, with a browser of their own."""

    def __init__(self, browser: Any, studio: Studio, language: str = "en", **options: Any) -> None:
        self.studio, self.language, self.say = studio, language, speaker(language)
        self.context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
        self.asked: list[str] = []
        self.broken: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        self.lost: list[str] = []
        self.page.on("requestfailed", lambda request: self.lost.append(f"{request.url}: {request.failure}"))

    @property
    def at(self) -> str:
        return f"http://127.0.0.1:{self.studio.port}"

    def come(self) -> Visitor:
        self.page.goto(f"{self.at}/studio/{self.language}/")
        try:
            self.page.locator("#generate").wait_for()
        except playwright.Error as error:
            error.add_note(f"lost: {self.lost}; broken: {self.broken}; the page: {self.page.content()[-4000:]}")
            raise
        return self

    def ask(self, prompt: str, size: str = "360p", length: float = 5, **more: str) -> Any:
        """Fill the form as its labels say, and press the button; return the new video's card."""
        self.page.get_by_label(self.say("prompt")).fill(prompt)
        self.page.get_by_label(size, exact=True).check()
        self.page.get_by_label(self.say("n_seconds", n=f"{length:g}"), exact=True).check()
        if more:
            self.open_more()
        for label, value in more.items():
            field = self.field(label)
            if label == self.say("model"):
                field.click()
                self.page.get_by_role("option", name=value, exact=True).click()
            elif value == "on":
                field.check()
            else:
                field.fill(value)
        before = self.ids()
        self.page.locator("#generate").click()
        self.page.wait_for_function(
            "n => document.querySelectorAll('#board article').length > 0 && !n.includes(document.querySelector('#board article').dataset.id)",
            arg=before,
        )
        return self.card(self.page.locator("#board article").first.get_attribute("data-id"))

    def field(self, label: str) -> Any:
        """A control by its label, which may have a hint behind it."""
        return self.page.get_by_label(re.compile(rf"^\s*{re.escape(label)}")).locator("visible=true").first

    def open_more(self) -> None:
        more = self.page.locator("#more > button, #more .label-wrap").first
        if "open" not in (more.get_attribute("class") or ""):
            more.click()
        self.field(self.say("seed")).wait_for()

    def ids(self) -> list[str]:
        found: list[str] = self.page.evaluate("[...document.querySelectorAll('#board article')].map(card => card.dataset.id)")
        return found

    def card(self, id: str, where: str = "#board") -> Any:
        return self.page.locator(f"{where} article[data-id='{id}']")

    def go(self, tab: str) -> None:
        self.page.get_by_role("tab", name=self.say(tab), exact=True).click()

    def finished(self, card: Any) -> Any:
        card.locator("video").wait_for(timeout=PATIENCE)
        return card

    def do(self, card: Any, name: str) -> None:
        card.get_by_role("button", name=self.say(name), exact=True).click()

    def said(self, name: str) -> None:
        self.page.get_by_text(self.say(name), exact=True).locator("visible=true").first.wait_for()

    def serious(self) -> list[str]:
        """What axe finds on the page that hinders people, or may."""
        found = axe_playwright.Axe().run(self.page).response["violations"]
        return [f"{v['id']} ({v['impact']}): {[node['html'] for node in v['nodes']]}" for v in found]

    def width(self) -> int:
        wide: int = self.page.evaluate("document.documentElement.scrollWidth")
        return wide

    def leave(self) -> None:
        assert not self.broken
        strangers = [url for url in self.asked if not url.startswith((self.at, "data:", "blob:"))]
        assert not strangers
        self.context.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    (folder / "letter.md").write_text("# 42\n")
    server = Studio(folder / "data", "--letter", str(folder / "letter.md"))
    yield server
    server.stop()


@pytest.fixture
def open_studio() -> Iterator[Callable[..., Studio]]:
    studios: list[Studio] = []

    def opened(*words: Any) -> Studio:
        studios.append(Studio(*words))
        return studios[-1]

    yield opened
    for studio in studios:
        studio.process.kill()
        studio.process.wait()


@pytest.fixture
def visit(browser: Any, studio: Studio) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def come(language: str = "en", **options: Any) -> Visitor:
        visitors.append(Visitor(browser, studio, language, **options))
        return visitors[-1].come()

    yield come
    for visitor in visitors:
        visitor.leave()


def test_from_an_empty_box_to_a_film_that_plays(visit: Callable[..., Visitor], studio: Studio, tmp_path: Path) -> None:
    visitor = visit()
    page = visitor.page
    card = visitor.ask(FOX, Steps="14")
    visitor.said("sent")
    card.locator(".now").filter(has_text=re.compile("Next in line|Being made")).wait_for()
    card.locator("img[data-src]").wait_for(state="visible")  # a preview, while it is being made
    assert card.get_attribute("data-status") == "in_progress"
    assert int(card.get_by_role("progressbar").get_attribute("aria-valuenow")) < 100
    video = visitor.finished(card).locator("video")
    page.wait_for_function("video => video.readyState >= 2", arg=video.element_handle())
    page.evaluate("video => { video.muted = true; return video.play() }", video.element_handle())
    page.wait_for_function("video => video.currentTime > 0.5 && video.videoWidth === 640", arg=video.element_handle())
    with page.expect_download() as saved:
        card.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == "a-red-fox-running-through-the-snow-at-night.mp4"
    saved.value.save_as(tmp_path / "fox.mp4")
    recipe = read_recipe(tmp_path / "fox.mp4")
    assert recipe.request["prompt"] == FOX and read_clip(tmp_path / "fox.mp4").num_frames == recipe.output["num_frames"] == 120
    card.locator("summary", has_text="Recipe").click()
    shown = card.locator("dl").inner_text()
    assert all(words in shown for words in ("nano", str(recipe.seed), "14 steps", "fox", recipe.output["sha256"]))


def test_what_is_stopped_while_it_renders_keeps_its_words_and_its_last_preview(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    card = visitor.ask("a whale in the sea, to be stopped", **SLOW)
    card.locator("img[data-src]").wait_for(state="visible")
    visitor.do(card, "cancel")
    card.get_by_text(visitor.say("canceled")).wait_for()
    card.locator("img[data-src]").wait_for(state="visible")
    assert "a whale in the sea, to be stopped" in card.inner_text()
    visitor.do(card, "retry")
    card.get_by_role("progressbar").wait_for()
    visitor.do(card, "cancel")
    card.get_by_text(visitor.say("canceled")).wait_for()


def test_a_page_that_is_loaded_anew_finds_what_is_on_its_way(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    id = visitor.ask("a penguin on the ice", Steps="14").get_attribute("data-id")
    visitor.page.reload()
    card = visitor.card(id)
    card.locator(".now").filter(has_text="Being made").wait_for()
    visitor.finished(card)


def test_a_server_that_is_killed_and_started_again_goes_on(
    browser: Any, tmp_path: Path, open_studio: Callable[..., Studio]
) -> None:
    studio = open_studio(tmp_path)
    visitor = Visitor(browser, studio).come()
    card = visitor.ask("a bear in a forest", Steps="14")
    card.locator("img[data-src]").wait_for(state="visible")
    studio.process.kill()
    studio.process.wait()
    card.get_by_text(visitor.say("lost")).wait_for()
    studio.start()
    visitor.finished(card)  # on the page that was open all the time
    with sqlite3.connect(tmp_path / "unstrung.db") as store:
        assert store.execute("SELECT status FROM jobs").fetchall() == [("completed",)]
    visitor.leave()


def test_settings_are_used_again_by_click_and_by_dropping_the_film(
    visit: Callable[..., Visitor], studio: Studio, tmp_path: Path
) -> None:
    visitor = visit()
    page = visitor.page
    card = visitor.finished(
        visitor.ask("rings of colour", "480p", 10, Model="echo", Seed="77", Steps="3", **{visitor.say("fps"): "8"})
    )
    film = tmp_path / "rings.mp4"
    with page.expect_download() as saved:
        card.get_by_role("link", name="Download").click()
    saved.value.save_as(film)

    def is_filled() -> None:
        visitor.said("reused")
        visitor.open_more()
        values = {label: visitor.field(label).input_value() for label in ("Seed", "Steps", "Model")}
        assert values == {"Seed": "77", "Steps": "3", "Model": "echo"}
        assert page.get_by_label("What do you want to see?").input_value() == "rings of colour"
        assert page.get_by_label("480p", exact=True).is_checked() and page.get_by_label("10 s", exact=True).is_checked()

    page.reload()
    visitor.go("clips")
    visitor.do(visitor.card(card.get_attribute("data-id"), "#clips"), "reuse")
    is_filled()
    page.reload()
    visitor.open_more()
    handle = page.evaluate_handle(
        "async bytes => { const data = new DataTransfer(); data.items.add(new File([new Uint8Array(bytes)], 'rings.mp4', {type: 'video/mp4'})); return data }",
        list(film.read_bytes()),
    )
    page.dispatch_event("#generate", "drop", {"dataTransfer": handle})
    is_filled()
    before = read_recipe(film).output["sha256"]
    page.locator("#generate").click()
    again = visitor.finished(visitor.card(next(id for id in _new(visitor, card))))
    again.locator("summary", has_text="Recipe").click()
    assert before in again.locator("dl").inner_text()  # the same frames


def _new(visitor: Visitor, card: Any) -> list[str]:
    """The ids of the cards that are newer than one."""
    known = card.get_attribute("data-id")
    visitor.page.wait_for_function("id => document.querySelector('#board article').dataset.id !== id", arg=known)
    return visitor.ids()


def test_films_of_other_programs_and_files_that_are_none_are_told_apart(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = visit()
    visitor.open_more()
    for name, data in (("words.txt", b"hello"), ("broken.mp4", b"\0\0\0\x18ftypisom" + b"\xff" * 64), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(data)
        visitor.page.set_input_files("#bring-file", tmp_path / name)
        visitor.page.locator("#bring .bad", has_text=TEXTS["bring_bad"][0]).wait_for()
        visitor.page.set_input_files("#bring-file", [])
    (tmp_path / "damaged.json").write_text('{"request": {}}')
    visitor.page.set_input_files("#bring-file", tmp_path / "damaged.json")
    visitor.page.get_by_text(explain("en", "bad_recipe")).wait_for()


def test_a_picture_to_start_from(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    (tmp_path / "start.png").write_bytes(picture((200, 30, 40)))
    visitor = visit()
    visitor.open_more()
    visitor.page.set_input_files("#bring-file", tmp_path / "start.png")
    visitor.page.locator("#bring img").wait_for()
    visitor.page.get_by_label("What do you want to see?").fill("red, and then waves")
    visitor.page.locator("#generate").click()  # which the built-in model can't do, and says who can
    visitor.page.get_by_text(re.compile("can't start from a picture.*echo")).wait_for()
    card = visitor.finished(visitor.ask("red, and then waves", Model="echo"))
    with visitor.page.expect_download() as saved:
        card.get_by_role("link", name="Download").click()
    saved.value.save_as(tmp_path / "red.mp4")
    first = read_clip(tmp_path / "red.mp4").frames[0].mean(axis=(0, 1))
    assert abs(first - (200, 30, 40)).max() < 12
    visitor.page.get_by_role("button", name="Remove the picture").click()
    visitor.page.locator("#bring img").wait_for(state="detached")


def test_from_a_draft_to_the_same_seed_larger(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    draft = visitor.finished(visitor.ask("a small owl", Model="echo", Seed="5", **{visitor.say("draft"): "on"}))
    assert visitor.say("draft_mark") in draft.locator(".facts").inner_text()
    draft.get_by_role("button", name="Same seed, 480p").click()
    final = visitor.finished(visitor.card(_new(visitor, draft)[0]))
    assert final.locator(".facts").inner_text() == "480p 16:9 · 5 s · echo · Seed 5"
    visitor.do(final, "again")
    other = visitor.finished(visitor.card(_new(visitor, final)[0]))
    assert re.fullmatch(r"480p 16:9 · 5 s · echo · Seed (?!5$)\d+", other.locator(".facts").inner_text())


def test_an_expanded_prompt_is_shown_can_be_changed_and_both_are_kept(visit: Callable[..., Visitor], studio: Studio) -> None:
    visitor = visit()
    page = visitor.page
    expand, expanded = page.get_by_label(visitor.say("expand")), page.get_by_label(visitor.say("expanded"))
    assert not expand.is_checked() and not expanded.is_visible()
    page.get_by_label(visitor.say("prompt")).fill("a whale")
    expand.check()
    expanded.wait_for()
    page.wait_for_function("field => field.value.length > 10", arg=expanded.element_handle())
    assert expanded.input_value().startswith("a whale on the sea")
    page.get_by_label(visitor.say("prompt")).fill("a fox")  # other words are expanded anew, and never sent as they were
    page.keyboard.press("Tab")
    page.wait_for_function("field => field.value.startsWith('a fox ')", arg=expanded.element_handle())
    page.get_by_label(visitor.say("prompt")).fill("a whale")
    page.keyboard.press("Tab")
    page.wait_for_function("field => field.value.startsWith('a whale ')", arg=expanded.element_handle())
    expanded.fill("a whale on the sea at sunset, by my own hand")
    page.locator("#generate").click()
    card = page.locator("#board article", has_text="by my own hand").first
    card.wait_for()
    assert f"{visitor.say('original')}: a whale" in card.inner_text()
    recipe = visitor.finished(card).get_attribute("data-id")
    with sqlite3.connect(studio.folder / "unstrung.db") as store:
        asked = json.loads(store.execute("SELECT request FROM jobs WHERE id = ?", (recipe,)).fetchone()[0])
    page.reload()
    visitor.do(visitor.card(recipe), "reuse")
    visitor.said("reused")
    page.get_by_label(visitor.say("prompt")).focus()
    page.keyboard.press("Tab")
    page.wait_for_timeout(1000)
    assert expanded.input_value() == "a whale on the sea at sunset, by my own hand"  # what was made, not what might be
    assert (asked["original_prompt"], asked["prompt"]) == ("a whale", "a whale on the sea at sunset, by my own hand")


def test_my_clips_are_searched_and_sorted(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    small = {visitor.say("fps"): "8"}
    for prompt, length in (("Ein BÄR im Wald", 5.0), ("Медведь в лесу", 10.0), ("숲속의 곰", 5.0)):
        visitor.finished(visitor.ask(prompt, length=length, Model="echo", **small))
    visitor.go("clips")
    search = visitor.page.get_by_label(visitor.say("search"))
    for words, found in (("bär", "Ein BÄR im Wald"), ("МЕДВЕДЬ", "Медведь в лесу"), ("숲속", "숲속의 곰")):
        search.fill(words)
        visitor.page.wait_for_function(
            "words => [...document.querySelectorAll('#clips h2.words')].map(h => h.innerText).join() === words", arg=found
        )
    search.fill("nobody wrote this")
    visitor.said("found_none")
    search.fill("")
    visitor.page.get_by_label(visitor.say("sort")).click()
    visitor.page.get_by_role("option", name=visitor.say("sort_longest")).click()
    visitor.page.wait_for_function("document.querySelector('#clips h2.words').innerText !== '숲속의 곰'")
    first = visitor.page.locator("#clips .facts").first.inner_text()
    assert " · 10 s · " in first


def test_more_clips_than_are_shown_at_first_are_one_press_away(visit: Callable[..., Visitor], studio: Studio) -> None:
    visitor = visit()
    for n in range(13):
        studio.client.videos.create(prompt=f"one of many, {n}", model="echo", size="640x360", seconds="4", extra_body={"fps": 4})
    visitor.go("clips")
    visitor.page.get_by_label(visitor.say("search")).fill("one of many")
    clips = visitor.page.locator("#clips article")
    more = visitor.page.locator("#clips").get_by_role("button", name=visitor.say("load_more"))
    visitor.page.wait_for_function(
        """() => {
            const words = [...document.querySelectorAll('#clips article h2')].map(h => h.innerText);
            return words.length === 12 && words.every(said => said.startsWith('one of many'));
        }"""
    )
    more.click()
    visitor.page.wait_for_function("document.querySelectorAll('#clips article').length === 13")
    assert not more.count()
    assert len({card.locator("h2").inner_text() for card in clips.all()}) == 13


def test_two_tabs_show_the_same(visit: Callable[..., Visitor]) -> None:
    one = visit()
    two = one.context.new_page()
    two.goto(one.page.url)
    two.locator("#generate").wait_for()
    card = one.ask("2 × 21", **SLOW)
    id = card.get_attribute("data-id")
    two.reload()
    there = two.locator(f"#board article[data-id='{id}']")
    there.locator("img[data-src]").wait_for(state="visible", timeout=PATIENCE)
    there.get_by_role("button", name=one.say("cancel"), exact=True).click()
    for tab in (card, there):
        tab.get_by_text(one.say("canceled")).wait_for()


def test_a_film_that_plays_goes_on_while_others_come(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.page
    small = {visitor.say("fps"): "8"}
    video = visitor.finished(visitor.ask("to be watched", length=10, Model="echo", **small)).locator("video").element_handle()
    page.evaluate(
        "video => { video.muted = true; video.begun = 0; video.onemptied = () => video.begun++; return video.play() }", video
    )
    other = visitor.finished(visitor.ask("another", Model="echo", **small))
    other.locator("summary", has_text="Publish").click()
    visitor.do(other, "publish_yes")
    other.get_by_text(visitor.say("published")).wait_for()
    assert page.evaluate("video => [video.begun, video.paused, video.isConnected, video.currentTime > 0]", video) == [
        0,
        False,
        True,
        True,
    ]


def test_words_that_are_code_stay_words(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    words = "<img src=x onerror=\"document.title='taken'\"> a 'fox' & ${value} {{value}}"
    card = visitor.finished(visitor.ask(words, Model="echo"))
    assert card.locator("h2").inner_text() == words and not card.locator("img[src=x]").count()
    assert card.locator("video").get_attribute("aria-label") == f"Film: {words}"
    assert visitor.page.title() == "Unstrung"


def test_variants_each_with_a_seed(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    visitor.open_more()
    visitor.field(visitor.say("variants")).click()
    visitor.page.get_by_role("option", name="3", exact=True).click()
    visitor.ask("three of them", Model="echo", Seed="70", **{visitor.say("fps"): "8"})
    three = visitor.page.locator("#board article", has_text="three of them")
    for card in three.all():
        visitor.finished(card)
    assert sorted(re.findall(r"Seed (\d+)", " ".join(card.inner_text() for card in three.all()))) == ["70", "71", "72"]


def test_why_a_film_failed_is_said_in_the_pages_language(visit: Callable[..., Visitor]) -> None:
    for language in ("en", "ko"):
        visitor = visit(language)
        card = visitor.ask("far " * 160 + language)  # more words than the built-in model reads
        why = TEXTS["failed"][list(LANGUAGES).index(language)].format(why=explain(language, "too_long"))
        card.get_by_text(why).wait_for()
        card.get_by_role("button", name=visitor.say("retry")).wait_for()


@pytest.mark.parametrize(
    "change",
    [{"output": {"fps": 0}}, {"output": {"width": "<img>"}}, {"output": {"num_frames": 1e400}}, {"request": {"strange": 1}}, {"request": []}],
    ids=str,
)  # fmt: skip
def test_recipes_that_are_none_are_refused(visit: Callable[..., Visitor], tmp_path: Path, change: dict[str, Any]) -> None:
    recipe: dict[str, Any] = {
        "request": {"prompt": "x"}, "resolved": {"prompt": "x"}, "model": {"id": "nano"}, "seed": 1,
        "output": {"sha256": "0", "width": 64, "height": 64, "num_frames": 8, "fps": 8},
    }  # fmt: skip
    for part, changes in change.items():
        recipe[part] = {**recipe[part], **changes} if changes else changes
    (tmp_path / "hostile.json").write_text(json.dumps(recipe))
    visitor = visit()
    visitor.open_more()
    visitor.page.set_input_files("#bring-file", tmp_path / "hostile.json")
    visitor.page.get_by_text(explain("en", "bad_recipe")).wait_for()


def test_a_deleted_film_is_gone(visit: Callable[..., Visitor], studio: Studio) -> None:
    visitor = visit()
    card = visitor.finished(visitor.ask("to be forgotten", Model="echo"))
    id = card.get_attribute("data-id")
    assert list((studio.folder / "clips").glob(f"{id}*"))
    card.locator("summary", has_text=visitor.say("remove")).click()
    visitor.do(card, "remove_yes")
    card.wait_for(state="detached")
    assert not list((studio.folder / "clips").glob(f"{id}*"))


def test_what_can_not_be_done_is_said_in_every_language(visit: Callable[..., Visitor]) -> None:
    for language in LANGUAGES:
        visitor = visit(language)
        page = visitor.page

        def fails(field: str, code: str = "invalid_value", page: Any = page, language: str = language) -> None:
            page.locator("#generate").click()
            page.locator(".said .bad", has_text=explain(language, code, field)).locator("visible=true").wait_for()

        fails("prompt", "missing_required_parameter")
        page.get_by_label(visitor.say("prompt")).fill("a fox")
        visitor.open_more()
        for label, wrong, right, field in (
            ("seed", "-1", "", "seed"),
            ("steps", "many", "", "num_inference_steps"),
            ("fps", "900", "", "fps"),
        ):
            visitor.field(visitor.say(label)).fill(wrong)
            fails(field)
            visitor.field(visitor.say(label)).fill(right)


def test_the_page_by_keyboard_alone(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.page
    page.wait_for_function("document.activeElement.closest('#prompt') !== null")  # where one begins
    page.keyboard.type("a duck, by keyboard")
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.matches(':focus-visible')")
        if page.evaluate("document.activeElement.id === 'generate'"):
            break
    page.keyboard.press("Enter")
    card = page.locator("#board article", has_text="a duck, by keyboard")
    card.get_by_role("button", name="Cancel").wait_for()
    card.locator("img[data-src]").wait_for(state="visible")  # which stays, and is named by the prompt
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.do === 'cancel'"):
            break
    page.keyboard.press("Enter")
    card.get_by_text(visitor.say("canceled")).wait_for()
    assert page.evaluate("document.activeElement.closest('article') !== null")  # the keyboard is still at the card


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["desktop", "phone", "dark"])
def test_nothing_is_cut_untranslated_or_closed_to_anybody(visit: Callable[..., Visitor], language: str, kind: str) -> None:
    options: dict[str, Any] = {
        "desktop": {},
        "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
        "dark": {"color_scheme": "dark"},
    }[kind]
    visitor = visit(language, **options)
    page = visitor.page
    assert page.evaluate("document.documentElement.lang") == language
    if not page.locator("#board video").count():
        visitor.finished(visitor.ask("42", **{visitor.say("model"): "echo"}))
    page.locator("#board article").first.wait_for()
    visitor.open_more()
    for tab in ("make", "clips", "queue", "gallery", "letter"):
        visitor.go(tab)
        page.wait_for_timeout(600)
        for summary in page.locator("article summary").locator("visible=true").all()[:6]:
            summary.click()
        assert visitor.serious() == []
        assert visitor.width() <= page.viewport_size["width"]
        assert _cut(page) == []
        assert _foreign(page, language, [visitor.say(name) for name in ("knew", "read_as", "unknown")]) == []
    lightness = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    )
    assert (lightness < 200) == (kind == "dark")


def _cut(page: Any) -> list[str]:
    """The words of what is too narrow for its words, or reaches out of the page."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('button, a, label, summary, h1, h2, p, dt, dd, span')].filter(e => {
            const box = e.getBoundingClientRect(), style = getComputedStyle(e);
            if (!e.innerText.trim() || !box.width || box.height < 4 || e.closest('.visually-hidden, [aria-hidden=true]')) return false;
            return box.right > innerWidth + 1 || box.left < -1 || (style.overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 2);
        }).map(e => e.innerText)"""
    )
    return found


def _foreign(page: Any, language: str, quoting: list[str]) -> list[str]:
    """Words on the page of another language than the page's, but for names, and what is `quoting` what somebody wrote."""
    words: list[str] = page.evaluate(
        """quoting => {
            const found = [];
            const prompts = [...document.querySelectorAll('article .words')].map(e => e.textContent.trim()).filter(Boolean);
            const bare = text => prompts.reduce((left, prompt) => left.split(prompt).join(''), text);  // a picture is named by its own
            for (const e of document.querySelectorAll('body *')) {
                if (e.closest('nav, video, script, style, article .words, article .own, [aria-hidden=true]') || !e.getClientRects().length) continue;
                if (e.matches('dd') && quoting.includes(e.previousElementSibling.textContent)) continue;
                for (const node of e.childNodes) if (node.nodeType === 3) found.push(node.textContent);
                for (const name of ['aria-label', 'placeholder', 'title', 'alt']) found.push(bare(e.getAttribute(name) || ''));
            }
            return found;
        }""",
        quoting,
    )
    known = r"Unstrung|nano|echo|remote|SSH|minisign|MB|JSON|SHA-256|Apache-2\.0|PNG|JPEG|WebP|euler|renoise|\d+p|[0-9a-f]{64}"
    left = [re.sub(known, "", text).strip() for text in words]
    other = {
        "en": r"[\u0400-\u04ff\u4e00-\u9fff\uac00-\ud7a3]",
        "zh": "[A-Za-z\u0400-\u04ff\uac00-\ud7a3]",
        "ru": "[A-Za-z\u4e00-\u9fff\uac00-\ud7a3]",
        "ko": "[A-Za-z\u0400-\u04ff\u4e00-\u9fff]",
    }[language]
    return [text for text in left if re.search(other, text)]


def test_every_text_is_there_in_every_language_and_used() -> None:
    source = "".join(
        path.read_text()
        for path in (Path(__file__).parents[1] / "src/unstrung/studio").rglob("*.*")
        if path.name != "texts.py" and path.suffix in (".py", ".js", ".html")
    )
    for name, said in {**TEXTS, **ERRORS}.items():
        assert len(said) == len(LANGUAGES) and all(text.strip() for text in said), name
        holes = [set(re.findall(r"\{(\w+)\}", text)) for text in said]
        assert all(hole == holes[0] for hole in holes), f"{name} does not say the same in every language"
        assert len(set(said)) > 1 or name in ("read_pair",), f"{name} is not translated"
    made = re.compile(r"^(state|sort|kind)_")
    unused = [
        name
        for name in TEXTS
        if not made.match(name) and f'"{name}"' not in source and f"'{name}'" not in source and f"[{name}]" not in source
    ]
    assert unused == []


class Guarded:
    """A page where two people have tokens."""

    def __init__(self, folder: Path) -> None:
        self.tokens = {name: token(folder, name) for name in ("ada", "bob")}
        self.studio = Studio(folder)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    there = Guarded(tmp_path_factory.mktemp("guarded"))
    yield there
    there.studio.stop()


def sign_in(browser: Any, guarded: Guarded, name: str) -> Visitor:
    visitor = Visitor(browser, guarded.studio)
    visitor.page.goto(visitor.at)
    visitor.page.get_by_label("Your token").fill(guarded.tokens[name])
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.locator("#generate").wait_for()
    return visitor


def test_what_is_published_is_in_everybodys_gallery_and_nothing_else_is(browser: Any, guarded: Guarded) -> None:
    ada, bob = sign_in(browser, guarded, "ada"), sign_in(browser, guarded, "bob")
    hidden = ada.finished(ada.ask("a secret of Ada's", Model="echo"))
    shown = ada.finished(ada.ask("a film for all", Model="echo"))
    shown.locator("summary", has_text="Publish").click()
    shown.get_by_text(ada.say("publish_ask")).wait_for()
    ada.do(shown, "publish_yes")
    shown.get_by_text(ada.say("published")).wait_for()
    bob.go("gallery")
    card = bob.finished(bob.card(shown.get_attribute("data-id"), "#gallery"))
    assert bob.page.locator("#gallery article").count() == 1
    assert (
        not card.get_by_role("button", name=bob.say("again")).count() and not card.locator("summary", has_text="Delete").count()
    )
    secret = hidden.get_attribute("data-id")
    with bob.page.expect_response(re.compile(f"{secret}/content$")) as got:  # others are asked for by the page itself
        bob.page.evaluate("id => fetch(`/v1/videos/${id}/content`)", secret)
    assert got.value.status == 404
    bob.go("clips")
    bob.said("clips_none")
    ada.do(shown, "unpublish")
    shown.locator("summary", has_text="Publish").wait_for()
    bob.go("gallery")
    bob.said("gallery_none")
    ada.leave()
    bob.leave()


EVIL = """([id, act]) => {
    document.querySelector('#board .board').innerHTML =
        `<article data-id=${id}><details><textarea data-give=text>x</textarea><button data-do=${act} id=evil>x</button></details></article>`;
    document.querySelector('#evil').click();
}"""


def test_what_is_somebody_elses_can_not_be_touched(browser: Any, guarded: Guarded) -> None:
    ada, bob = sign_in(browser, guarded, "ada"), sign_in(browser, guarded, "bob")
    id = ada.finished(ada.ask("Ada's own", Model="echo")).get_attribute("data-id")
    for act in ("cancel", "publish", "remove", "again", "larger", "reuse", "report"):
        bob.page.reload()
        bob.page.locator("#generate").wait_for()
        bob.page.wait_for_timeout(500)
        bob.page.evaluate(EVIL, [id, act])
        bob.page.get_by_text(explain("en", "not_found")).wait_for()
    jobs = json.loads(unstrung(guarded.studio.folder, "jobs", "list", "--json").stdout)["jobs"]
    assert [(job["owner"], job["public"]) for job in jobs if job["request"]["prompt"] == "Ada's own"] == [("ada", False)]
    ada.finished(ada.card(id))
    reader = token(guarded.studio.folder, "reader", "--scope", "read")
    looker = Visitor(browser, guarded.studio)
    looker.context.add_cookies([{"name": "unstrung", "value": reader, "url": looker.at}])
    looker.come().page.get_by_label(looker.say("prompt")).fill("not mine to make")
    looker.page.locator("#generate").click()
    looker.page.get_by_text(explain("en", "insufficient_scope")).wait_for()
    for visitor in (ada, bob, looker):
        visitor.leave()


SLOW_LINE = """
const quick = window.fetch;
window.fetch = async (...asked) => {
    const answer = await quick(...asked);
    if (!(asked[0].url || String(asked[0])).includes("/queue/data")) return answer;
    const late = new TransformStream({
        async transform(chunk, to) {
            await new Promise((go) => setTimeout(go, 400));
            to.enqueue(chunk);
        },
    });
    return new Response(answer.body.pipeThrough(late), answer);
};
"""


def test_a_button_that_is_pressed_while_the_answer_to_another_arrives_is_answered_too(browser: Any, studio: Studio) -> None:
    visitor = Visitor(browser, studio)
    visitor.context.add_init_script(SLOW_LINE)  # what the server says comes later than what it answers
    visitor.come()
    for n in range(3):
        visitor.page.get_by_label(visitor.say("prompt")).fill(f"film {n}")
        visitor.page.get_by_label(visitor.say("prompt")).blur()
        visitor.page.wait_for_timeout(250)
        visitor.finished(visitor.ask(f"film {n}", Model="echo"))
    visitor.leave()


def test_an_answer_that_comes_after_a_later_one_takes_nothing_away(browser: Any, studio: Studio) -> None:
    """Whoever is quick asks for a film before the page has heard what it shows at first, which was looked up without that film."""
    visitor = Visitor(browser, studio)
    held: list[Any] = []
    page = visitor.page
    page.route("**/gradio_api/queue/data*", lambda route: held.append(route), times=1)
    with page.expect_response("**/gradio_api/queue/join?") as first:
        visitor.come()
    page.get_by_label(visitor.say("prompt")).fill("a duck that is quick")
    with page.expect_response(
        lambda answer: "quick" in (answer.request.post_data or "") and '"fn_index":0' in answer.request.post_data
    ):
        page.locator("#generate").click()
    answer = held[0].fetch()
    said = answer.text().split("\n\n")
    late = [words for words in said if first.value.json()["event_id"] in words]
    assert any("process_completed" in words for words in late)
    closing = next(n for n, words in enumerate(said) if "close_stream" in words)
    rest = [words for words in said[:closing] if words not in late]
    assert any("a duck that is quick" in words for words in rest)
    held[0].fulfill(response=answer, body="\n\n".join([*rest, *late, *said[closing:]]))
    card = page.locator("#board article").filter(has_text="a duck that is quick")
    visitor.finished(card)
    assert visitor.ids()[0] == card.get_attribute("data-id")
    assert page.get_by_text(visitor.say("sent"), exact=True).locator("visible=true").count() == 1, "what was said of it stays too"
    visitor.leave()


def test_whom_nobody_knows_is_answered_by_nothing_of_the_page(browser: Any, guarded: Guarded) -> None:
    ask = browser.new_context().request
    at = f"http://127.0.0.1:{guarded.studio.port}/studio/en"
    assert ask.get(f"{at}/", max_redirects=0).status == 303
    for path in (
        "/gradio_api/queue/data?session_hash=x",
        "/gradio_api/heartbeat/x",
        "/gradio_api/startup-events",
        "/config",
        "/board",
    ):
        assert ask.get(at + path).status == 401, path
    for path in ("/gradio_api/queue/join", "/gradio_api/reset", "/gradio_api/cancel"):
        assert ask.post(at + path, data={}).status == 401, path
    large = ask.post(f"{at}/gradio_api/queue/join", data=b" " * (33 * 2**20), headers={"content-type": "application/json"})
    assert large.status == 413
    assert ask.post(f"http://127.0.0.1:{guarded.studio.port}/studio/sign-in", form={"token": "\u6f22\n"}).status == 401


def test_the_queue_shows_how_long_others_wait_and_not_their_words(browser: Any, guarded: Guarded) -> None:
    ada, bob = sign_in(browser, guarded, "ada"), sign_in(browser, guarded, "bob")
    card = ada.ask("nobody's business", **SLOW)
    bob.go("queue")
    bob.page.get_by_text(re.compile(r"1 of others' wait or are being made: about \d+ (s|min) of work")).wait_for()
    assert "nobody's business" not in bob.page.content()
    bob.said("queue_mine_none")
    ada.go("queue")
    ada.do(ada.card(card.get_attribute("data-id"), "#waiting"), "cancel")
    ada.said("queue_mine_none")
    unstrung(guarded.studio.folder, "jobs", "pause")
    bob.page.get_by_role("button", name=bob.say("refresh")).click()
    bob.said("queue_paused")
    bob.go("make")
    own = bob.ask("waits for the host", Model="echo")
    bob.go("queue")
    waits = bob.card(own.get_attribute("data-id"), "#waiting")
    waits.get_by_text(re.compile(re.escape(bob.say("nobody")))).wait_for()
    unstrung(guarded.studio.folder, "jobs", "resume")
    bob.finished(waits)
    bob.page.get_by_role("button", name=bob.say("refresh")).click()
    bob.said("queue_mine_none")
    ada.leave()
    bob.leave()


def test_a_report_is_in_the_ledger_with_what_the_host_agreed_to(browser: Any, guarded: Guarded) -> None:
    bob = sign_in(browser, guarded, "bob")
    card = bob.finished(bob.ask("a thing with five legs", Model="echo"))
    card.locator("summary", has_text="Report").click()
    card.get_by_label(bob.say("report_ask")).fill("It has <b>five</b> legs; four were asked for.")
    card.get_by_label(bob.say("report_credit")).fill("Bob the Tester")
    bob.do(card, "report_send")
    bob.said("report_sent")
    bob.go("clips")
    row = bob.page.locator("#reports tr", has_text="five")
    assert "It has <b>five</b> legs" in row.inner_text() and "received" in row.inner_text()
    folder = guarded.studio.folder
    id = json.loads(unstrung(folder, "feedback", "list", "--json").stdout)["feedback"][0]["id"]
    assert (
        unstrung(folder, "feedback", "accept", id, "--amount", "25", "--currency", "EUR", "--note", "thank you").returncode == 0
    )
    bob.go("make")
    bob.go("clips")
    row.filter(has_text="25.00 EUR").filter(has_text="accepted").filter(has_text="thank you").wait_for()
    ledger = unstrung(folder, "feedback", "ledger").stdout
    assert "Bob the Tester" in ledger and "25.00,EUR" in ledger
    bob.leave()


def test_a_token_opens_the_page_and_a_revoked_one_closes_it(browser: Any, guarded: Guarded) -> None:
    visitor = Visitor(browser, guarded.studio)
    page = visitor.page
    page.goto(f"{visitor.at}/studio/ru/")
    assert page.url.endswith("/studio/sign-in?language=ru")
    page.get_by_label(TEXTS["token"][2]).fill("unstrung_wrong")
    page.get_by_role("button", name=TEXTS["sign_in"][2]).click()
    page.get_by_text(TEXTS["token_wrong"][2]).wait_for()
    assert axe_playwright.Axe().run(page).response["violations"] == []
    secret = token(guarded.studio.folder, "carol")
    page.get_by_label(TEXTS["token"][2]).fill(secret)
    page.get_by_role("button", name=TEXTS["sign_in"][2]).click()
    page.locator("#generate").wait_for()
    kept = {cookie["name"]: cookie for cookie in visitor.context.cookies()}["unstrung"]
    assert kept["httpOnly"] and kept["sameSite"] == "Strict" and secret not in page.content()
    unstrung(guarded.studio.folder, "tokens", "revoke", "carol")
    page.get_by_label(TEXTS["prompt"][2]).fill("42")
    page.locator("#generate").click()
    page.get_by_role("link", name=TEXTS["signed_out"][2]).wait_for(timeout=5000)
    assert page.get_by_label(TEXTS["prompt"][2]).input_value() == "42"
    page.reload()
    page.get_by_label(TEXTS["token"][2]).wait_for()
    ada = sign_in(browser, guarded, "ada")
    ada.page.get_by_role("button", name=re.compile("Sign out")).click()
    ada.page.get_by_label("Your token").wait_for()
    assert not [cookie for cookie in ada.context.cookies() if cookie["name"] == "unstrung"]
    ada.leave()
    visitor.context.close()


def test_the_letter_is_signed_and_the_proof_can_be_checked(
    browser: Any, tmp_path: Path, open_studio: Callable[..., Studio]
) -> None:
    text = "# To those who own the tools\n\nWe are **not** your testers. <script>document.title = 'taken'</script>\n"
    (tmp_path / "letter.md").write_text(text)
    studio = open_studio(tmp_path / "data", "--letter", str(tmp_path / "letter.md"), "--letter-pages")
    visitor = Visitor(browser, studio).come()
    page = visitor.page
    visitor.go("letter")
    page.locator("#letter h1", has_text="To those who own the tools").wait_for()
    visitor.said("letter_none")
    page.locator("#begin").click()
    page.get_by_text(explain("en", "invalid_value", "name")).wait_for()
    visitor.field(visitor.say("letter_name")).fill("Ann <b>Other</b>")
    page.locator("#begin").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name=visitor.say("letter_save")).click()
    statement = tmp_path / saved.value.suggested_filename
    saved.value.save_as(statement)
    key = SshKey()
    visitor.field(visitor.say("letter_signature")).fill(key.sign("another text"))
    page.locator("#prove").click()
    page.get_by_text(explain("en", "bad_proof")).wait_for()
    visitor.field(visitor.say("letter_signature")).fill(key.sign(statement.read_text()))
    assert visitor.serious() == []
    page.locator("#prove").click()
    page.get_by_text(visitor.say("letter_done", n=1)).wait_for()
    row = page.locator(".signers li")
    assert "Ann <b>Other</b>" in row.inner_text() and visitor.say("proven_key") in row.inner_text()
    page.get_by_label(visitor.say("kind_page")).check()
    visitor.field(visitor.say("letter_address")).fill("https://127.0.0.1/me")
    page.locator("#begin").click()
    page.locator("#todo pre", has_text="unstrung-letter-").wait_for()
    page.locator("#prove").click()
    page.get_by_text(explain("en", "private_address")).wait_for()
    assert page.locator(".signers li").count() == 1  # nothing without a proof is shown
    assert page.title() == "Unstrung"
    exported = tmp_path / "log.jsonl"
    exported.write_bytes(page.request.get(f"{visitor.at}/v1/letter/log").body())
    assert unstrung(tmp_path, "letter", "check", str(exported)).returncode == 0
    exported.write_text(exported.read_text().replace("Ann", "Eve"))
    assert unstrung(tmp_path, "letter", "check", str(exported)).returncode == 2
    visitor.leave()


def test_the_letter_is_signed_by_a_minisign_key_and_by_mail(
    browser: Any, tmp_path: Path, open_studio: Callable[..., Studio]
) -> None:
    (tmp_path / "letter.md").write_text("# We are not your puppets\n")
    with post() as mailbox:
        mail = f"smtp://127.0.0.1:{mailbox.port}?from=letter@example.net"
        studio = open_studio(tmp_path / "data", "--letter", str(tmp_path / "letter.md"), "--letter-mail", mail)
        visitor = Visitor(browser, studio).come()
        page, say = visitor.page, visitor.say
        visitor.go("letter")
        assert not page.get_by_label(say("kind_page")).count(), "this host asks no pages"
        visitor.field(say("letter_name")).fill("Min")
        page.get_by_label(say("kind_minisign")).check()
        page.locator("#begin").click()
        statement = page.locator("#todo pre").first.inner_text()
        key = MinisignKey()
        visitor.field(say("letter_signature")).fill(key.sign(statement))
        visitor.field(say("letter_key")).fill(MinisignKey().public)
        page.locator("#prove").click()
        page.get_by_text(explain("en", "bad_proof")).wait_for()
        visitor.field(say("letter_key")).fill(key.public)
        page.locator("#prove").click()
        page.get_by_text(say("letter_done", n=1)).wait_for()
        visitor.field(say("letter_name")).fill("Cat")
        page.get_by_label(say("kind_mail")).check()
        visitor.field(say("letter_address")).fill("cat@example.org")
        page.locator("#begin").click()
        visitor.said("letter_mailed")
        visitor.field(say("letter_code")).fill(str(10**8 + int(mailbox.code) + 1)[1:])
        page.locator("#prove").click()
        page.get_by_text(explain("en", "bad_proof")).wait_for()
        visitor.field(say("letter_code")).fill(mailbox.code)
        page.locator("#prove").click()
        page.get_by_text(say("letter_done", n=2)).wait_for()
        rows = page.locator(".signers li").all_inner_texts()
        assert len(rows) == 2 and "c…@example.org" in rows[0] and say("proven_host") in rows[0]
        assert "Min" in rows[1] and say("proven_key") in rows[1]
        visitor.leave()


def test_only_the_pages_that_a_host_names_may_show_this_one(tmp_path: Path, open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(tmp_path, "--guests", "--framed-by", "https://example.org")
    with urllib.request.urlopen(f"http://127.0.0.1:{studio.port}/studio/en/") as page:
        assert page.headers["content-security-policy"].endswith("frame-ancestors https://example.org")
        assert page.headers["set-cookie"].endswith("SameSite=None; Secure; Partitioned")
    for origin in ("http://example.org", "https://example.org/page", "*"):
        refused = unstrung(tmp_path, "studio", "--no-browser", "--guests", "--framed-by", origin)
        assert refused.returncode == 2 and f"framed-by is '{origin}'" in refused.stderr


def test_guests_have_their_own_and_no_more_than_they_may(
    browser: Any, tmp_path: Path, open_studio: Callable[..., Studio]
) -> None:
    studio = open_studio(tmp_path, "--guests")
    one, other = Visitor(browser, studio).come(), Visitor(browser, studio).come()
    card = one.finished(one.ask("my own", Model="echo"))
    one.page.reload()
    one.finished(card)
    other.go("clips")
    other.said("clips_none")
    other.go("make")
    other.page.get_by_label(other.say("prompt")).fill("too large")
    other.page.get_by_label("1080p", exact=True).check()
    other.page.locator("#generate").click()
    other.page.get_by_text(explain("en", "over_limit", "size")).wait_for()
    bare = other.context.browser.new_context().request.get(f"{other.at}/v1/videos")
    assert bare.status == 401  # who has not come through the page is nobody
    one.leave()
    other.leave()


def test_a_page_whose_parts_do_not_come_is_asked_for_again_and_then_says_so(browser: Any, studio: Studio) -> None:
    part = "**/assets/Blocks-*.js"
    for lose in (lambda route: route.abort(), lambda route: None):  # refused, and never answered
        visitor = Visitor(browser, studio, "ru")
        page = visitor.page
        page.clock.install()
        visitor.context.route(part, lose, times=1)
        with page.expect_request(part):
            page.goto(f"{visitor.at}/studio/ru/")
        page.clock.fast_forward("00:31")
        page.locator("#generate").wait_for()
        visitor.context.route(part, lose)
        with page.expect_request(part):
            page.reload()
        page.clock.fast_forward("00:31")
        again = page.get_by_role("alert").get_by_role("link", name=visitor.say("parts_lost"))
        again.wait_for()
        assert not page.locator("#generate").count()
        visitor.context.unroute(part)
        again.click()
        page.locator("#generate").wait_for()
        visitor.context.close()


def test_of_the_framework_only_what_the_page_needs_is_there(
    visit: Callable[..., Visitor], studio: Studio, tmp_path: Path
) -> None:
    visitor = visit()
    ask = visitor.context.request
    at = f"{visitor.at}/studio/en"
    here = Path(__file__)
    for path in (
        f"/gradio_api/file={here}", f"/file={here}", "/gradio_api/info", "/gradio_api/proxy=http://127.0.0.1:1/", "/monitoring",
        "/gradio_api/app_id", "/login_check", "/gradio_api/openapi.json", "/manifest.json", "/gradio_api/runs", "/docs",
    ):  # fmt: skip
        assert ask.get(at + path).status == 404, path
    assert (
        ask.post(
            f"{at}/gradio_api/upload", multipart={"files": {"name": "a.txt", "mimeType": "text/plain", "buffer": b"hi"}}
        ).status
        == 404
    )
    assert ask.post(f"{at}/gradio_api/run/predict", data={"data": []}).status == 404
    assert ask.post(f"{at}/gradio_api/queue/join", data={}, headers={"origin": "http://elsewhere.example"}).status == 403
    page = ask.get(f"{at}/")
    assert page.text().count("<title>Unstrung</title>") == 1
    assert "twitter:" not in page.text() and "manifest.json" not in page.text()
    headers = page.headers
    assert (
        "connect-src 'self'" in headers["content-security-policy"]
        and "frame-ancestors 'none'" in headers["content-security-policy"]
    )
