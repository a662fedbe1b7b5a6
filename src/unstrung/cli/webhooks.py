"""The verbs for who is told when a served machine's videos have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from unstrung.cli.jobs import StoreUrl, open_store
from unstrung.cli.talk import Json, print_json, say

if TYPE_CHECKING:
    from unstrung.jobs.webhooks import Webhook

webhooks_app = typer.Typer(no_args_is_help=True, help="Have programs told when videos are done.")


@webhooks_app.command("add")
def webhooks_add(
    url: Annotated[str, typer.Argument(help="Where 'unstrung serve' sends events to.")],
    owner: Annotated[str | None, typer.Option(help="Whose videos it hears of; default: those made without a token.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="video.completed or video.failed; may be repeated.")] = None,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Have the ends of an owner's videos told to a URL, and print what they are signed with: now, and never again."""
    store = open_store(store_url)
    from unstrung.api.fetch import check_url
    from unstrung.jobs.webhooks import EVENTS, Webhooks

    check_url(url, allow_private=True)  # whether it may lead into this network is said to 'serve'
    hook = Webhooks(store).add(url, owner, event or EVENTS)
    if as_json:
        return print_json({**hook.to_dict(), "secret": hook.secret})
    print(hook.secret)
    say(f"{hook.id} hears of {'the videos of ' + repr(owner) if owner else 'videos made without a token'}")
    say("keep the secret, by which its receiver knows what comes from here: it is shown this once")


@webhooks_app.command("list")
def webhooks_list(store_url: StoreUrl = None, as_json: Json = False) -> None:
    """List everybody's webhooks."""
    store = open_store(store_url)
    from unstrung.jobs.webhooks import Webhooks

    found = Webhooks(store).list()
    if as_json:
        return print_json({"webhooks": [hook.to_dict() for hook in found]})
    for hook in found:
        print(_line(hook))


@webhooks_app.command("remove")
def webhooks_remove(
    id: Annotated[str, typer.Argument(help="The webhook's id; see 'unstrung webhooks list'.")], store_url: StoreUrl = None
) -> None:
    """Tell it nothing more, not even what it has not yet received."""
    store = open_store(store_url)
    from unstrung.jobs.webhooks import Webhooks

    Webhooks(store).remove(id)


def _line(hook: Webhook) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(hook.created_at))
    state = "active" if hook.active else "gone (its receiver answered 410)"
    return f"{hook.id}  {when}  owner {hook.owner or '-'}  {'+'.join(hook.events)}  {hook.url}  {state}"
