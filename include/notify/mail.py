"""One mail: plain text, the same as HTML, images within; sent through the Airflow connection `sluice_smtp`.

Airflow's SmtpHook logs in, with TLS or OAuth as the connection says. The mail itself is made here, for the hook's own
knows neither a plain text beside the HTML nor images within it (RFC 2387).
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

log = logging.getLogger(__name__)

SMTP = "sluice_smtp"
"""id of the Airflow connection of the mail server"""
_SENDER = "sluice@localhost"


class MailError(Exception):
    """A mail was not taken; the message names the server, what it said and what to do."""


def compose(
    *, to: Sequence[str], subject: str, text: str, html: str, images: Mapping[str, bytes] | None = None
) -> EmailMessage:
    """A mail that reads the same as text and as HTML.

    Args:
        to: the addresses.
        subject: one line; a line break in it becomes a blank.
        text: the plain text.
        html: the page; it shows the image `name` as `<img src="cid:name">`.
        images: name -> PNG.

    Returns:
        multipart/alternative of the text and (with images, in multipart/related) the HTML; without a sender.
    """
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain="sluice")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's out-of-office answers it
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    page = message.get_payload()[1]  # type: ignore[index]
    for name, png in (images or {}).items():
        page.add_related(png, "image", "png", cid=f"<{name}>", filename=f"{name}.png", disposition="inline")  # type: ignore[union-attr]
    return message


def send(message: EmailMessage, connection_id: str = SMTP) -> None:
    """Send a mail through an Airflow connection, as its `from_email`.

    Raises:
        MailError: the server cannot be reached or took it for nobody.
    """
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    hook = SmtpHook(smtp_conn_id=connection_id)
    with _faults_named(hook, connection_id), hook:
        client = hook._smtp_client
        assert isinstance(client, smtplib.SMTP)  # noqa: S101 - the hook has just connected it
        refused = client.send_message(_from(message, hook))
    for address, (code, reason) in refused.items():
        log.warning("mail refused to=%s code=%d reason=%s", address, code, reason.decode(errors="replace"))
    log.info("mail sent subject=%r to=%d", message["Subject"], len(message["To"].addresses) - len(refused))


async def send_async(message: EmailMessage, connection_id: str = SMTP) -> None:
    """Like `send`, in an event loop (Airflow's triggerer)."""
    import aiosmtplib
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    hook = SmtpHook(smtp_conn_id=connection_id)
    with _faults_named(hook, connection_id):
        async with hook:
            client = hook._smtp_client
            assert isinstance(client, aiosmtplib.SMTP)  # noqa: S101 - the hook has just connected it
            await client.send_message(_from(message, hook))


def _from(message: EmailMessage, hook: SmtpHook) -> EmailMessage:
    del message["From"]
    message["From"] = hook.from_email or _SENDER
    return message


@contextmanager
def _faults_named(hook: SmtpHook, connection_id: str) -> Iterator[None]:
    """Turn what a mail server or the way to it can do into one sentence."""
    import aiosmtplib
    from airflow.sdk.exceptions import AirflowException

    try:
        yield
    except (OSError, aiosmtplib.SMTPException, AirflowException) as fault:  # smtplib's own are OSErrors
        connection = hook.smtp_connection
        where = f"{connection.host}:{connection.port or 'default port'}" if connection else "(no connection)"
        raise MailError(
            f"the mail server {where} did not take the mail: {type(fault).__name__}: {fault}. See that it runs and "
            f"that host, port and login of the connection {connection_id!r} are right, then clear the task"
        ) from fault
