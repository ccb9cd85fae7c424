from __future__ import annotations

from typing import Any

import httpx

from .types import Job


class SluiceError(Exception):
    """A request that was refused, or got no answer after all its attempts.

    `code` is for programs: one of the server's (`queue_full`, `not_found`, …), or `unreachable`, `invalid_answer`, `wait_timeout`.
    `status` is None if no answer came; `retry_after` is in seconds, None if the server named none.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        is_retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.param = param
        self.request_id = request_id
        self.retry_after = retry_after
        self.is_retryable = is_retryable


class JobFailedError(Exception):
    """A job that ended without a result: `job` is its last state, and `job["error"]` says why."""

    def __init__(self, job: Job) -> None:
        error = job.get("error")
        super().__init__(f"{error['code']}: {error['message']}" if error else f"the job is {job['status']}")
        self.job = job


def to_error(response: httpx.Response) -> SluiceError:
    """The error in an answer, which comes from the server or from a proxy in front of it."""
    status = response.status_code
    members = _read_members(response)
    is_final = response.headers.get("x-should-retry") == "false"
    return SluiceError(
        str(members.get("message") or f"the server answered {status}"),
        code=str(members.get("code") or "invalid_answer"),
        status=status,
        param=members.get("param"),
        request_id=response.headers.get("x-request-id"),
        retry_after=_read_seconds(response.headers.get("retry-after")),
        is_retryable=not is_final and (status in (408, 429) or status >= 500),
    )


def _read_members(response: httpx.Response) -> dict[str, Any]:
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _read_seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
