"""What is asked on a terminal: each question with what follows from the sample as its answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from local.home import LocalError
from local.new_source import paging as pages
from local.new_source.forms import FORMS
from local.new_source.plan import Plan, Wishes

Ask = Callable[[str], str]


def ask_for_sample(wishes: Wishes, ask: Ask) -> Wishes:
    """Wishes with a sample."""
    if wishes.sample:
        return wishes
    return replace(wishes, sample=_answer(ask, "A sample: the URL of the endpoint, or a file with an answer", ""))


def ask_for_address(wishes: Wishes, ask: Ask) -> Wishes:
    """Wishes with base URL and path."""
    if not wishes.base_url:
        wishes = replace(wishes, base_url=_answer(ask, "Base URL of the API, such as https://api.example.com", ""))
    if not wishes.path:
        wishes = replace(wishes, path=_answer(ask, "Path of the endpoint, such as /v1/orders?status=open", ""))
    return wishes


def ask_for_key(wishes: Wishes, ask: Ask) -> Wishes:
    """Wishes with the place of the key."""
    if wishes.key:
        return wishes
    hint = "Where the API wants its key: header:NAME, header:NAME:PREFIX, query:NAME or none"
    return replace(wishes, key=_answer(ask, hint, "none"))


def ask_for_rest(wishes: Wishes, guess: Callable[[Wishes], Plan], ask: Ask) -> Wishes:
    """Wishes with an answer to every question; each is asked again until it is one.

    Args:
        wishes: What is known.
        guess: The plan that follows from wishes.
        ask: Puts a question and gives the answer.
    """
    questions: list[tuple[str, str, Callable[[Plan], str]]] = [
        ("entity", "What the records are", lambda plan: plan.entity),
        ("paging", f"Paging: {'; '.join(FORMS)}", lambda plan: pages.shown(plan.paging)),
        ("keys", "Columns that tell records apart, with commas between; none to keep every landing", _keys),
        ("schedule", "Schedule, UTC: cron expression or preset", lambda plan: plan.schedule),
        ("grain", "What a landing covers: hour, day, month or all", lambda plan: plan.grain),
        ("pii", "Personal data, as COLUMN:KIND with commas between", _pii),
        ("owner", "Who answers for it", lambda plan: plan.owner),
        ("description", "What it is, in a sentence", lambda plan: plan.description),
    ]
    for name, question, usual in questions:
        if getattr(wishes, name) or (name == "keys" and wishes.mode == "append"):
            continue
        while True:
            guessed = guess(wishes)
            wish = replace(wishes, **_wish(name, _answer(ask, question, usual(guessed)), guessed))
            try:
                guess(wish)
            except LocalError as fault:
                print(fault)
            else:
                wishes = wish
                break
    return wishes


def _wish(name: str, answer: str, guessed: Plan) -> dict[str, Any]:
    """What an answer says: the wishes that follow from it."""
    if name == "keys" and answer == "none":
        return {"mode": "append", "keys": ()}
    if name == "keys":
        return {"keys": _listed(answer)}
    if name == "pii":
        named = () if answer == "none" else _listed(answer)
        columns = {one.rpartition(":")[0] for one in named}
        others = (one.original for one in guessed.columns if one.pii and not columns & {one.original, one.name})
        return {"pii": (*named, *(f"{column}:none" for column in others))}
    return {name: answer}


def _listed(answer: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in answer.split(",") if one.strip())


def _keys(plan: Plan) -> str:
    return ",".join(column.original for column in plan.keys) or "none"


def _pii(plan: Plan) -> str:
    return ",".join(f"{column.original}:{column.pii}" for column in plan.columns if column.pii) or "none"


def _answer(ask: Ask, question: str, usual: str) -> str:
    while True:
        answer = ask(f"{question}{f' [{usual}]' if usual else ''}: ").strip() or usual
        if answer:
            return answer
