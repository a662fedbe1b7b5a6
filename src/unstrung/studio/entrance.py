"""The way in: the page mounted in the API's application, who may open it, and what a browser may do with it."""

from __future__ import annotations

import json
import re
from html import escape
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unstrung.api.body import BODY, MOST_BYTES, Fields
from unstrung.api.callers import COOKIE, Caller, Denied, TooMany, address_of
from unstrung.api.desk import Desk
from unstrung.api.watch import PAGE
from unstrung.errors import UnstrungError
from unstrung.studio.page import Page
from unstrung.studio.texts import LANGUAGES, TEXTS, explain, speaker

LOOK = Path(__file__).parent / "look"
A_YEAR = 365 * 86400
REFERRER = {"referrer-policy": "same-origin"}  # without any, a browser says of a form that it comes from nowhere
NEW_GUESTS_A_MINUTE = 120  # from one address, which may be that of a web server in front
# of all that the framework answers, what the page needs; the rest is not there
CLOSED = ("/", "/config")  # for whom nobody knows: what the page is made of
LASTING = ("/assets/", "/static/", "/theme.css")  # the same for everybody
BOARD, CARD = "/board", "/card/"  # what is shown first, and one video of it: before its id
EVENTS = ("/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/heartbeat/", "/gradio_api/startup-events",
          "/gradio_api/reset", "/gradio_api/cancel")  # fmt: skip


def mount(app: FastAPI) -> None:
    """Add the page, in each of its languages, to the API's application."""
    desk: Desk = app.state.desk
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    pages = {f"{PAGE}/{language}": Page(desk, language, app.state.letterbox) for language in LANGUAGES}
    for path, page in pages.items():
        gr.mount_gradio_app(
            app, page.build(), path=path, theme=theme, css=(LOOK / "look.css").read_text(), footer_links=[],
            run_history=False, enable_monitoring=False, show_error=False, ssr_mode=False, mcp_server=False, pwa=False,
        )  # fmt: skip
    for route in app.routes:
        if isinstance(route, Mount) and route.path.startswith(PAGE):
            route.app = Entrance(route.app, pages[route.path])
    _add_doors(app, desk)


class Entrance:
    """Stands before the page in one language: lets in whoever may come in, and answers nothing that the page does not need."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self.app, self.page, self.desk, self.language = app, page, page.desk, page.language
        self.route = SimpleNamespace(path=PAGE)
        self.head = _head(self.language)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, send to the door, or pass on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        request = Request(scope)
        headers = {"content-security-policy": _policy(self.desk), "cache-control": "no-store", **REFERRER}
        said = request.headers.get("content-length", "0" if scope["method"] in ("GET", "HEAD") else "")
        if not said.isdecimal() or int(said[:20]) > MOST_BYTES:  # the framework would read whatever comes
            return await PlainTextResponse("Too large, or of no length", 413)(scope, receive, send)
        if path.startswith(LASTING):
            headers["cache-control"] = "public, max-age=3600"
        elif path in (*CLOSED, BOARD) or path.startswith((CARD, *EVENTS)):
            answer = await run_in_threadpool(self._admit, request, path, headers)
            if answer is not None:
                await answer(scope, receive, send)
                scope["route"] = self.route
                return
        else:
            return await PlainTextResponse("Not found", 404)(scope, receive, send)

        start: Message = {}
        page = bytearray()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in headers.items():
                    found[name] = value
                if path == "/":
                    return start.update(message)
            elif path == "/":
                page.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                message = {"type": "http.response.body", "body": self._headed(page.decode()).encode()}
                MutableHeaders(scope=start)["content-length"] = str(len(message["body"]))
                await send(start)
            await send(message)

        await self.app(scope, receive, with_headers)
        scope["route"] = self.route  # what is seen of it: that the page was asked for, not which of its hundred parts

    def _headed(self, page: str) -> str:
        """Return the page with its own head. The framework would put it in after all of its parts."""
        page = re.sub(r'<meta\s+(property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>', "", page)
        return page.replace("</head>", f"{self.head}</head>", 1).replace('lang="en"', f'lang="{self.language}"', 1)

    def _admit(self, request: Request, path: str, headers: dict[str, str]) -> Response | None:
        """Return what is answered without the framework, if anything; a new guest gets a pass with the page."""
        door = self.desk.door
        try:
            request.state.caller = door.know(request.cookies.get(COOKIE, ""), address_of(request), paced=False)
        except (Denied, TooMany) as error:
            if path != "/":
                return PlainTextResponse(explain(self.language, error.code), 401 if isinstance(error, Denied) else 429)
            if door.guests is None:
                return RedirectResponse(f"{PAGE}/sign-in?language={self.language}", 303)
            if door.rates.take(f"guest {address_of(request)}", NEW_GUESTS_A_MINUTE):
                return PlainTextResponse(explain(self.language, "rate_limited"), 429)
            headers["set-cookie"] = cookie(self.desk, door.guests.welcome(), A_YEAR)
        if path == BOARD or path.startswith(CARD):
            return self._cards(path.removeprefix(CARD), request.state.caller, headers)
        return None

    def _cards(self, id: str, caller: Caller, headers: dict[str, str]) -> Response:
        """Return somebody's videos as they are now, or one of them. Asked through the framework, it took six times as long."""
        try:
            return HTMLResponse(self.page.board(caller) if id == BOARD else self.page.card(caller, id), headers=headers)
        except UnstrungError as error:
            return PlainTextResponse(explain(self.language, error.code), 404, headers)


def cookie(desk: Desk, value: str, seconds: int) -> str:
    """Return the cookie that says who is at the page: no script reads it, and no page of another site sends it."""
    jar: SimpleCookie = SimpleCookie()
    jar[COOKIE] = value
    said = jar[COOKIE]
    said["path"], said["httponly"], said["max-age"] = "/", True, seconds
    if desk.rules.framed_by:  # inside another's page it counts as that page's guest, and has a jar of its own there
        return f"{jar.output(header='').strip()}; SameSite=None; Secure; Partitioned"
    said["samesite"], said["secure"] = "Strict", bool(desk.rules.names)  # by a name, a web server speaks TLS for this one
    return jar.output(header="").strip()


def _policy(desk: Desk) -> str:
    """Return what a browser may do with the page: speak to this host, and to nobody else."""
    return (
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; base-uri 'self'; "
        f"form-action 'self'; {_framed(desk)}"
    )


def _framed(desk: Desk) -> str:
    """Return whose pages may show the page inside theirs."""
    return "frame-ancestors " + (" ".join(desk.rules.framed_by) or "'none'")


def _head(language: str) -> str:
    """Return what stands in the head of the page: its language, its texts for the script, and the script."""
    say = speaker(language)
    names = ("waiting", "next", "starts_in", "ends_in", "nobody", "beginning", "making", "left", "finishing", "lost", "n_seconds",
             "n_minutes", "n_hours", "signed_out", "parts_lost", "bring_bad", "bring_large")  # fmt: skip
    place = list(LANGUAGES).index(language)
    texts = json.dumps({name: TEXTS[name][place] for name in names}, ensure_ascii=False).replace("<", "\\u003c")
    script = (LOOK / "look.js").read_text()
    about = escape(say("tagline"))
    return (
        f'<title>Unstrung</title><meta name="description" content="{about}"><meta name="color-scheme" content="light dark">'
        f'<meta property="og:title" content="Unstrung"><meta property="og:description" content="{about}">'
        f"<script>const UNSTRUNG = {{language: {json.dumps(language)}, texts: {texts}}};\n{script}</script>"
    )


def _add_doors(app: FastAPI, desk: Desk) -> None:
    """Add the ways in and out: the first page, and where a token is given."""

    def language_of(request: Request) -> str:
        wanted = [part.split(";")[0].strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
        return next((code for code in wanted if code in LANGUAGES), "en")

    def door(language: str, wrong: str = "", status: int = 200) -> HTMLResponse:
        say = speaker(language if language in LANGUAGES else "en")
        page = (LOOK / "door.html").read_text()
        for name in ("sign_in", "token", "token_hint", "tagline"):
            page = page.replace(f"[{name}]", escape(say(name)))
        page = page.replace("[language]", language).replace("[wrong]", escape(say(wrong)) if wrong else "")
        policy = f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; {_framed(desk)}"
        return HTMLResponse(page, status, headers={"content-security-policy": policy, **REFERRER})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return FileResponse(LOOK / "icon.png", media_type="image/png")

    @app.get("/", include_in_schema=False)
    @app.get(PAGE, include_in_schema=False)
    @app.get(f"{PAGE}/", include_in_schema=False)
    def first(request: Request) -> Response:
        return RedirectResponse(f"{PAGE}/{language_of(request)}/", 303)

    @app.get(f"{PAGE}/sign-in", include_in_schema=False)
    def ask(request: Request, language: str = "") -> Response:
        return door(language if language in LANGUAGES else language_of(request))

    @app.post(f"{PAGE}/sign-in", include_in_schema=False)
    def sign_in(request: Request, fields: Fields = BODY, language: str = "en") -> Response:
        language, token = language if language in LANGUAGES else "en", str(fields.get("token", "")).strip()
        try:
            found = desk.door.know(token, address_of(request))
        except TooMany:
            return door(language, "token_wait", 429)
        except Denied:
            return door(language, "token_wrong", 401)
        came_in = RedirectResponse(f"{PAGE}/{language}/", 303)
        if found.owner is not None:  # else nobody needs one here, and what was typed is none
            came_in.headers["set-cookie"] = cookie(desk, token, A_YEAR)
        return came_in

    @app.post(f"{PAGE}/sign-out", include_in_schema=False)
    def sign_out(request: Request) -> Response:
        left = RedirectResponse(f"{PAGE}/sign-in", 303)
        left.headers["set-cookie"] = cookie(desk, "", 0)
        return left
