"""The SMTP server keeps every mail as a file."""

import email
import smtplib
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from local import mail, ports, process
from local.home import PROJECT
from tests.waiting import wait_until


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    port, directory = ports.reserve_from(21025), tmp_path / "mail"
    started = process.spawn(
        [sys.executable, "-m", "local.mail", "--port", str(port), "--directory", str(directory)],
        env={"PYTHONPATH": str(PROJECT)},
        log=tmp_path / "log",
        cwd=tmp_path,
    )
    wait_until(lambda: ports.is_listening(port), "the mail server listens")
    yield port, directory
    process.stop([started])


def test_a_mail_becomes_a_file_with_its_envelope(sink: tuple[int, Path]) -> None:
    port, directory = sink
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Überblick", "sluice@localhost", "ops@example.com"
    message.set_content("Zeile mit Umläuten\n.\nnach dem Punkt\n")
    message.add_attachment(bytes(range(256)) * 1000, maintype="image", subtype="png", filename="chart.png")
    with smtplib.SMTP(ports.HOST, port) as client:
        client.send_message(message, to_addrs=["ops@example.com", "hidden@example.com"])
    (kept,) = directory.glob("*.eml")
    read = email.message_from_bytes(kept.read_bytes(), policy=email.policy.default)
    assert (read["Subject"], read["X-Envelope-To"]) == ("Überblick", "ops@example.com, hidden@example.com")
    body, chart = read.iter_parts()
    assert body.get_content().replace("\r\n", "\n") == "Zeile mit Umläuten\n.\nnach dem Punkt\n"
    assert chart.get_content() == bytes(range(256)) * 1000
    assert directory.stat().st_mode & 0o077 == 0


def test_a_mail_over_the_limit_is_refused_and_leaves_nothing(sink: tuple[int, Path]) -> None:
    port, directory = sink
    with smtplib.SMTP(ports.HOST, port) as client:
        client.ehlo()
        client.mail("a@localhost")
        client.rcpt("b@localhost")
        code, _ = client.data(b"x" * 998 + b"\r\n" + (b"y" * 998 + b"\r\n") * (mail.LARGEST_MAIL // 1000))
    assert code == 552
    assert list(directory.iterdir()) == []
