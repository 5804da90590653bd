"""Mail about runs: who is told what when a task fails for good, is retried, a run ends well or is late.

`callbacks` turns the `notify:` of a source.yml into what Airflow's DAG takes; `compose` and `send` are for every mail.
"""

from include.notify.mail import SMTP, MailError, compose, send
from include.notify.notifier import Callbacks, callbacks

__all__ = ["SMTP", "Callbacks", "MailError", "callbacks", "compose", "send"]
