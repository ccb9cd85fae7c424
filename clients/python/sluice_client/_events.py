from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import cast

import httpx

from ._http import Http
from .errors import SluiceError
from .types import Event

# The server sends something every 15 s; a connection that is silent for longer is dead.
SILENCE = 45.0


def follow(http: Http, path: str, after: str | None) -> Iterator[Event]:
    """Every event once and in order, over connections that break and servers that restart, until the last possible one."""
    cursor = after
    failures = 0
    was_open = False
    while True:
        try:
            headers = {} if cursor is None else {"last-event-id": cursor}
            with http.stream(path, headers, SILENCE) as response:
                if response.status_code == 204:
                    return
                was_open = True
                for event in parse(split_lines(response.iter_text())):
                    failures = 0
                    cursor = event["id"]
                    yield event
        except SluiceError as error:
            if not error.is_retryable or (not was_open and failures + 1 >= http.attempts):
                raise
        except httpx.HTTPError as error:
            if not was_open and failures + 1 >= http.attempts:
                raise SluiceError(f"no stream: {error}", code="unreachable", is_retryable=True) from error
        failures += 1
        time.sleep(http.back_off(failures))


def split_lines(pieces: Iterator[str]) -> Iterator[str]:
    """Lines that end with a line feed. `iter_lines` of httpx (from 0.24 on) would end them at U+0085, U+2028 and U+2029 too, which may be inside of JSON texts."""
    rest: list[str] = []
    for piece in pieces:
        end, *lines = piece.split("\n")
        rest.append(end)
        if lines:
            yield "".join(rest)
            yield from lines[:-1]
            rest = [lines[-1]]


def parse(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events. An incomplete one is dropped."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.rstrip("\r\n").partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
            continue
        # A comment is a line without a name and with text; a blank line ends an event.
        if line.startswith(":"):
            continue
        if "data" in fields:
            event = {"id": fields["id"], "type": fields["event"], "data": json.loads(fields["data"])}
            yield cast(Event, event)
        fields = {}
