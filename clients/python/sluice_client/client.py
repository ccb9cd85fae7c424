from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

import httpx

from ._events import follow
from ._http import Http
from .errors import JobFailedError, SluiceError
from .types import Attempt, BulkAnswer, CreateJob, Event, Group, Job

# The longest that the server holds an answer, in s.
LONGEST_TURN = 60
# One request of submit_many has so many jobs, or bytes.
MOST_LINES = 1000
MOST_BYTES = 4 * 1024 * 1024
# Refusals of single lines that another attempt may cure.
PASSING = ("unavailable", "queue_full", "rate_limited", "request_timeout")
OPEN = ("scheduled", "queued", "running")


class Sluice:
    """A client of one server. It keeps connections open: close it, or use it with `with`.

    `key` is the tenant's key, `tenant` the tenant to act as with an administrator's key. `timeout` is that of one attempt at a request, in s. `attempts` is
    the most attempts at a request. `http` replaces the client's own `httpx.Client`, with a `base_url`; you have to close it.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        tenant: str | None = None,
        timeout: float = 60.0,
        attempts: int = 8,
        http: httpx.Client | None = None,
    ) -> None:
        headers = {}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        if tenant is not None:
            headers["x-tenant"] = tenant
        self._owns_client = http is None
        self._client = http or httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._http = Http(self._client, attempts)
        self._timeout = timeout
        self._attempts = attempts

    def submit(self, create: CreateJob, *, idempotency_key: str | None = None) -> Job:
        """Submits a job. When it returns, the job is stored; if the client repeats the request, it is still one job."""
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        return cast(Job, self._http.json("POST", "/v1/jobs", json=create, headers=headers))

    def submit_many(
        self, creates: Iterable[CreateJob], *, idempotency_key: str | None = None
    ) -> Iterator[BulkAnswer]:
        """Submits any number of jobs and answers each in order: its id, or why it was refused.

        With your own key you may repeat the whole submission: job `n` has the key `<key>:<n>`, unless it has its own.
        """
        key = idempotency_key or str(uuid.uuid4())
        lines: list[bytes] = []
        size = start = 0
        for index, create in enumerate(creates):
            members: dict[str, Any] = {**create}
            if members.get("idempotency_key") is None:
                members["idempotency_key"] = f"{key}:{index}"
            line = json.dumps(members).encode()
            lines.append(line)
            size += len(line)
            if len(lines) >= MOST_LINES or size >= MOST_BYTES:
                yield from self._submit_lines(lines, start)
                lines, size, start = [], 0, index + 1
        yield from self._submit_lines(lines, start)

    def get(self, id: str) -> Job:
        """The current state of the job."""
        return cast(Job, self._http.json("GET", _job_path(id)))

    def wait(self, id: str, *, timeout: float | None = None) -> Job:
        """The job when it has ended, in any way. Raises `wait_timeout` after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            started = time.monotonic()
            turn = LONGEST_TURN if end is None else max(0.0, min(LONGEST_TURN, end - started))
            job = self._ask_for_end(id, turn)
            if job["status"] not in OPEN:
                return job
            if end is not None and time.monotonic() >= end:
                raise SluiceError(f"{id} is {job['status']} after {timeout} s", code="wait_timeout")
            # A server that is closing answers early.
            if time.monotonic() - started < turn - 0.2:
                time.sleep(0.2)

    def run(self, create: CreateJob, *, idempotency_key: str | None = None, timeout: float | None = None) -> Any:
        """Submits, waits, and returns the provider's answer. Raises JobFailedError if the job ends without one."""
        job = self.submit(create, idempotency_key=idempotency_key)
        if job["status"] in OPEN:
            job = self.wait(job["id"], timeout=timeout)
        if job["status"] != "completed":
            raise JobFailedError(job)
        return job.get("result")

    def cancel(self, id: str) -> Job:
        """Ends a waiting job at once, and aborts the call of a running one."""
        return cast(Job, self._http.json("POST", f"{_job_path(id)}/cancel"))

    def retry(self, id: str) -> Job:
        """Queues a failed or cancelled job again, with fresh attempts."""
        return cast(Job, self._http.once("POST", f"{_job_path(id)}/retry"))

    def attempts(self, id: str) -> list[Attempt]:
        """Every call that was made for a job."""
        return cast("list[Attempt]", self._http.json("GET", f"{_job_path(id)}/attempts")["data"])

    def jobs(self, *, include_results: bool = False, **filters: str | int) -> Iterator[Job]:
        """Jobs, newest first, page by page as they are read: `jobs(status="failed", group="nightly")`."""
        query: dict[str, str | int] = dict(filters)
        if include_results:
            query["include"] = "result"
        while True:
            page = self._http.json("GET", "/v1/jobs", params=query)
            for job in page["data"]:
                yield self.get(job["id"]) if job.get("result_omitted") and include_results else job
            if not page["has_more"] or page["last_id"] is None:
                return
            query["after"] = page["last_id"]

    def cancel_many(self, *, dry_run: bool = False, **filters: str | int) -> dict[str, Any]:
        """Cancels the open jobs that the filters name: `cancel_many(group="nightly", dry_run=True)` counts them."""
        body = {**filters, "dry_run": dry_run}
        return cast("dict[str, Any]", self._http.json("POST", "/v1/jobs/cancel", json=body))

    def group(self, name: str) -> Group:
        """How many jobs of a group are in which state, and what they cost."""
        return cast(Group, self._http.json("GET", f"/v1/groups/{quote(name, safe='')}"))

    def wait_group(self, name: str, *, timeout: float | None = None, interval: float = 1.0) -> Group:
        """The group when none of its jobs is open any more. Raises `wait_timeout` after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            group = self.group(name)
            left = sum(count for status, count in group["counts"].items() if status in OPEN)
            if left == 0:
                return group
            if end is not None and time.monotonic() >= end:
                raise SluiceError(f"{left} jobs of {name} are open after {timeout} s", code="wait_timeout")
            time.sleep(interval)

    def events(
        self, id: str | None = None, *, group: str | None = None, after: str | None = None
    ) -> Iterator[Event]:
        """The events of a job or a group: first those that have happened, then live, until the last possible one. None comes twice; `after` goes on behind a known one."""
        if (id is None) == (group is None):
            raise TypeError("name a job or a group")
        path = _job_path(id) if id is not None else f"/v1/groups/{quote(group or '', safe='')}"
        return follow(self._http, f"{path}/events", after)

    def estimate(self, create: CreateJob | list[CreateJob]) -> dict[str, Any]:
        """What jobs would cost at each tier, and when they would end. It creates nothing."""
        return cast("dict[str, Any]", self._http.json("POST", "/v1/estimate", json=create))

    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    def __enter__(self) -> Sluice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask_for_end(self, id: str, turn: float) -> Job:
        query: Mapping[str, str] = {"wait": f"{turn:.3f}"}
        return cast(Job, self._http.json("GET", _job_path(id), params=query, timeout=self._timeout + turn))

    def _submit_lines(self, lines: list[bytes], start: int) -> Iterator[BulkAnswer]:
        """Sends lines, the first of which is job `start`, and again those for which the server had no room: their keys make them the same jobs."""
        refused = 0
        while lines:
            taken = 0
            for answer in self._http.lines("/v1/jobs/bulk", b"\n".join(lines)):
                if answer.get("error", {}).get("code") in PASSING and refused + 1 < self._attempts:
                    break
                yield cast(BulkAnswer, {**answer, "index": start + taken})
                taken += 1
            lines = lines[taken:]
            start += taken
            if not lines:
                return
            refused = 1 if taken else refused + 1
            if refused >= self._attempts:
                raise SluiceError(f"{len(lines)} jobs have no answer", code="invalid_answer")
            time.sleep(self._http.back_off(refused))


def _job_path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"
