"""Mail with a code to whoever signs by mail, through a server of the host's: SMTP, never in the clear to another machine."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs.letter import Letter
from unstrung.jobs.signing import HOUR, check_mail

PASSWORD = "UNSTRUNG_SMTP_PASSWORD"  # where a password may be that is not for the list of processes
SECONDS = 15.0  # that the server may take for each of its answers
LIKE = "smtp://letter%40example.org@mail.example.org:587, or smtps://, with ?from=letter@example.org where the user is no address"


class MailFailed(UnstrungError):
    """A code could not be sent."""

    def __init__(self, message: str) -> None:
        super().__init__("mail_failed", "address", message)


@dataclass(frozen=True)
class Mailer:
    """A mail server, and as whom this host sends."""

    host: str
    port: int
    sender: str
    implicit: bool  # TLS from the first byte, as smtps:// has it; else STARTTLS
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def send_code(self, address: str, code: str, letter: Letter) -> None:
        """Send the code for a letter to an address; raise `MailFailed`.

        The signer's name is not in it: it is whatever somebody typed, and the address need not be theirs.
        """
        message = EmailMessage()
        message["From"], message["To"] = self.sender, check_mail(address)
        message["Subject"] = f"Your code: {code}"
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(
            f"{code} is the code to sign this open letter with:\n\n    {letter.title}\n\n"
            f"It is good for {HOUR / 60:.0f} minutes. If you did not ask for it, somebody has typed your address: do nothing,\n"
            f"and nothing is signed.\n"
        )
        try:
            self._send(message)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # not in the server's words, which may tell of this host's network
            raise MailFailed(f"The code could not be sent ({type(error).__name__}): try later, or sign with a key.") from error

    def _send(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=context)
            if self.implicit
            else smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        ) as server:
            if not self.implicit and not _is_here(self.host):
                server.starttls(context=context)  # raises where there is none
            if self.user is not None and self.password is not None:
                server.login(self.user, self.password)
            server.send_message(message)


def read_mailer(url: str, environment: Mapping[str, str]) -> Mailer:
    """Read a mail server's address, as smtp://user:password@host:587; raise `InvalidRequest`.

    The password may also be in the environment. `?from=` says as whom to send, where the user is not an address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        asked = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else environment.get(PASSWORD)
        if parts.scheme not in ("smtp", "smtps") or not host or parts.path.strip("/") or set(asked) - {"from"}:
            raise ValueError
        sender = check_mail(asked["from"][-1] if asked else user or "")
    except (ValueError, InvalidRequest):
        raise InvalidRequest("letter_mail", f"letter-mail is no address of a mail server; it must be like {LIKE}.") from None
    if user is not None and password is None:
        raise InvalidRequest("letter_mail", f"letter-mail has a user and no password: put it into the environment's {PASSWORD}.")
    implicit = parts.scheme == "smtps"
    return Mailer(host, port or (465 if implicit else 587), sender, implicit, user, password)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
