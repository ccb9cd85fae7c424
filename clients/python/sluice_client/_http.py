from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from .errors import SluiceError, to_error

Answer = TypeVar("Answer")

FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0


@dataclass
class Http:
    """Sends requests to one server, and repeats them if that may help: no answer, 408, 429 and 5xx, at most `attempts` times."""

    client: httpx.Client
    attempts: int

    def json(self, method: str, path: str, **options: Any) -> Any:
        return read_json(self._repeat(lambda: self._send(method, path, **options)))

    def once(self, method: str, path: str, **options: Any) -> Any:
        """Not sent again after a broken connection, because the first request may have done its work."""
        return read_json(self._send(method, path, **options))

    def lines(self, path: str, body: bytes) -> list[Any]:
        headers = {"content-type": "application/x-ndjson"}
        response = self._repeat(lambda: self._send("POST", path, content=body, headers=headers))
        return [read_json(response, line) for line in response.text.split("\n") if line]

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], silence: float) -> Iterator[httpx.Response]:
        with self.client.stream("GET", path, headers=headers, timeout=silence) as response:
            if response.status_code >= 300:
                response.read()
                raise to_error(response)
            yield response

    def back_off(self, failed: int) -> float:
        """The wait before the attempt after `failed` failures, in s. Half of it is fixed."""
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (failed - 1))
        return float(longest / 2 + random.random() * longest / 2)

    def _repeat(self, send: Callable[[], Answer]) -> Answer:
        failed = 0
        while True:
            try:
                return send()
            except SluiceError as error:
                failed += 1
                asked = error.retry_after or 0
                if not error.is_retryable or failed >= self.attempts or asked > LONGEST_WAIT:
                    raise
                time.sleep(asked + self.back_off(failed))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self.client.request(method, path, **options)
        except httpx.HTTPError as error:
            message = f"{self.client.base_url} does not answer: {error or type(error).__name__}"
            raise SluiceError(message, code="unreachable", is_retryable=True) from error
        # A redirect is refused as well: if followed, a POST may become a GET.
        if response.status_code >= 300:
            raise to_error(response)
        return response


def read_json(response: httpx.Response, text: str | None = None) -> Any:
    """An answer, or a line of one. A proxy may have answered instead of the server, with a page."""
    try:
        return json.loads(response.text if text is None else text)
    except ValueError as error:
        message = f"{response.request.url.path} did not answer with JSON"
        raise SluiceError(message, code="invalid_answer", status=response.status_code) from error
