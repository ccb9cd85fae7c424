"""Run against a server with the simulator's models: SLUICE_URL names it."""

from __future__ import annotations

import json
import os
import unittest
import uuid
from unittest import mock

import httpx
from sluice_client import JobFailedError, Sluice, SluiceError, client
from sluice_client.types import CreateJob

URL = os.environ["SLUICE_URL"]


RUN = uuid.uuid4()


def chat(text: str, **members: object) -> CreateJob:
    """A job that no earlier run of these tests has an answer for."""
    body = {"model": "sim/chat-small", "messages": [{"role": "user", "content": f"{text} ({RUN})"}]}
    return {"type": "chat", "body": body, **members}  # type: ignore[typeddict-item]


class Breaking(httpx.BaseTransport):
    """Breaks connections: the first requests never arrive, and streams of events end after so many bytes, twice as many each time."""

    def __init__(self, refuse: int = 0, most_bytes: int | None = None) -> None:
        self.inner = httpx.HTTPTransport()
        self.refuse = refuse
        self.most_bytes = most_bytes
        self.breaks = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.refuse > 0:
            self.refuse -= 1
            self.breaks += 1
            raise httpx.ConnectError("refused by the test", request=request)
        response = self.inner.handle_request(request)
        if self.most_bytes is None or not request.url.path.endswith("/events"):
            return response
        return httpx.Response(response.status_code, headers=response.headers, stream=Cut(self, response))

    def close(self) -> None:
        self.inner.close()


class Cut(httpx.SyncByteStream):
    def __init__(self, transport: Breaking, response: httpx.Response) -> None:
        self.transport = transport
        self.response = response

    def __iter__(self):  # type: ignore[no-untyped-def]
        left = self.transport.most_bytes or 0
        for chunk in self.response.stream:  # type: ignore[union-attr]
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                self.transport.breaks += 1
                self.transport.most_bytes = 2 * (self.transport.most_bytes or 0)
                raise httpx.ReadError("cut by the test")

    def close(self) -> None:
        self.response.close()


class ClientTest(unittest.TestCase):
    def setUp(self) -> None:
        self.sluice = Sluice(URL)
        self.addCleanup(self.sluice.close)

    def make_breaking(self, transport: Breaking) -> Sluice:
        http = httpx.Client(base_url=URL, transport=transport, timeout=30)
        self.addCleanup(http.close)
        return Sluice(http=http)

    def test_a_job_is_submitted_waited_for_and_read(self) -> None:
        job = self.sluice.submit(chat("a", metadata={"n": "1"}))
        self.assertTrue(job["id"].startswith("job_"))
        ended = self.sluice.wait(job["id"], timeout=30)
        self.assertEqual("completed", ended["status"])
        self.assertEqual({"n": "1"}, ended["metadata"])
        self.assertEqual(ended["result"], self.sluice.get(job["id"])["result"])
        self.assertEqual(["completed"], [call["outcome"] for call in self.sluice.attempts(job["id"])])

    def test_run_answers_what_the_provider_answered(self) -> None:
        answer = self.sluice.run(chat("b"))
        self.assertIn("Answer", answer["choices"][0]["message"]["content"])

    def test_run_raises_for_a_job_that_fails_and_tells_why(self) -> None:
        with self.assertRaises(JobFailedError) as raised:
            self.sluice.run(chat("[[fault:400]] c"))
        self.assertEqual("failed", raised.exception.job["status"])
        self.assertIn("invalid_request", str(raised.exception))
        again = self.sluice.retry(raised.exception.job["id"])
        self.assertEqual("failed", self.sluice.wait(again["id"], timeout=30)["status"])

    def test_a_key_makes_a_repeated_submission_one_job(self) -> None:
        key = str(uuid.uuid4())
        first = self.sluice.submit(chat("d"), idempotency_key=key)
        self.assertEqual(first["id"], self.sluice.submit(chat("d"), idempotency_key=key)["id"])

    def test_requests_that_do_not_arrive_are_sent_again(self) -> None:
        transport = Breaking(refuse=2)
        self.assertEqual("completed", self.make_breaking(transport).wait(self.sluice.submit(chat("e"))["id"])["status"])
        self.assertEqual(2, transport.breaks)

    def test_a_server_that_stays_away_is_an_error_that_says_so(self) -> None:
        with self.assertRaises(SluiceError) as raised:
            Sluice("http://127.0.0.1:9", attempts=2).get("job_1")
        self.assertEqual(("unreachable", None), (raised.exception.code, raised.exception.status))

    def test_refusals_have_the_code_and_the_member_at_fault(self) -> None:
        with self.assertRaises(SluiceError) as raised:
            self.sluice.submit(chat("f", priority="highest"))
        self.assertEqual((400, "invalid_request", "priority"), (raised.exception.status, raised.exception.code, raised.exception.param))
        with self.assertRaises(SluiceError) as missing:
            self.sluice.get("job_" + "0" * 32)
        self.assertEqual((404, "not_found"), (missing.exception.status, missing.exception.code))

    def test_events_come_once_and_in_order_over_connections_that_break(self) -> None:
        create = chat("over and over", cache="off")
        create["body"]["stream"] = True
        job = self.sluice.submit(create)
        whole = list(self.sluice.events(job["id"]))
        self.assertEqual("job.completed", whole[-1]["type"])
        self.assertGreater(len(whole), 3)
        transport = Breaking(most_bytes=400)
        self.assertEqual(whole, list(self.make_breaking(transport).events(job["id"])))
        self.assertGreater(transport.breaks, 1)
        self.assertEqual(whole[2:], list(self.sluice.events(job["id"], after=whole[1]["id"])))

    def test_events_have_every_separator_of_lines_that_a_text_may_have(self) -> None:
        text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj\nk"
        # Unescaped, as the server returns it.
        create = json.dumps(chat("separators", metadata={"text": text}), ensure_ascii=False).encode()
        headers = {"content-type": "application/json"}
        job = httpx.post(f"{URL}/v1/jobs", content=create, headers=headers).json()
        *_, last = self.sluice.events(job["id"])
        self.assertEqual({"text": text}, last["data"]["job"]["metadata"])

    def test_many_jobs_are_a_group_that_is_waited_for_listed_and_counted(self) -> None:
        group = f"python-{uuid.uuid4()}"
        # Several requests.
        patch = mock.patch.object(client, "MOST_LINES", 100)
        patch.start()
        self.addCleanup(patch.stop)
        creates = [chat(f"line {n}", group=group) for n in range(250)]
        creates[7] = chat("nothing", group=group, priority="highest")
        answers = list(self.sluice.submit_many(creates))
        self.assertEqual([7], [at for at, answer in enumerate(answers) if "error" in answer])
        self.assertEqual(list(range(250)), [answer["index"] for answer in answers])
        # The simulator is slower than this: the remaining jobs are cancelled.
        self.assertGreater(self.sluice.cancel_many(group=group, dry_run=True)["matched"], 0)
        self.sluice.cancel_many(group=group)
        ended = self.sluice.wait_group(group, timeout=60, interval=0.2)
        self.assertEqual(249, ended["total"])
        ids = {job["id"] for job in self.sluice.jobs(group=group, limit=100)}
        self.assertEqual({answer["id"] for answer in answers if "id" in answer}, ids)

    def test_the_same_submission_again_makes_the_same_jobs(self) -> None:
        key = str(uuid.uuid4())
        creates = [chat(f"twice {n}") for n in range(3)]
        first = list(self.sluice.submit_many(creates, idempotency_key=key))
        again = list(self.sluice.submit_many(creates, idempotency_key=key))
        self.assertEqual([answer["id"] for answer in first], [answer["id"] for answer in again])

    def test_a_key_of_none_is_none_of_a_jobs_own(self) -> None:
        key = str(uuid.uuid4())
        create = chat("no key", idempotency_key=None)
        [first] = self.sluice.submit_many([create], idempotency_key=key)
        [again] = self.sluice.submit_many([create], idempotency_key=key)
        self.assertEqual(first["id"], again["id"])

    def test_lines_that_are_sent_again_keep_their_index(self) -> None:
        full = {"index": 1, "error": {"code": "queue_full", "message": "full"}}
        bodies = [[{"index": 0, "id": "a"}, full], [full | {"index": 0}], [{"index": 0, "id": "b"}]]
        answers = [httpx.Response(200, text="\n".join(json.dumps(line) for line in body)) for body in bodies]
        sluice = Sluice(http=httpx.Client(base_url=URL, transport=httpx.MockTransport(lambda _: answers.pop(0))))
        with mock.patch.object(client.time, "sleep"):
            taken = list(sluice.submit_many([chat("a"), chat("b")]))
        self.assertEqual([{"index": 0, "id": "a"}, {"index": 1, "id": "b"}], taken)

    def test_a_page_of_a_proxy_is_an_error_that_says_so(self) -> None:
        page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>please log in</html>"))
        sluice = Sluice(http=httpx.Client(base_url=URL, transport=page))
        for ask in (lambda: sluice.get("job_1"), lambda: sluice.retry("job_1"), lambda: list(sluice.submit_many([chat("a")]))):
            with self.assertRaises(SluiceError) as raised:
                ask()
            self.assertEqual(("invalid_answer", 200), (raised.exception.code, raised.exception.status))

    def test_results_come_with_a_list_that_asks_for_them(self) -> None:
        group = f"python-{uuid.uuid4()}"
        self.sluice.run(chat("g", group=group))
        [job] = self.sluice.jobs(group=group, include_results=True)
        self.assertIn("choices", job["result"])

    def test_waiting_ends_when_its_time_is_over(self) -> None:
        job = self.sluice.submit(chat("h", delay_ms=60_000))
        with self.assertRaises(SluiceError) as raised:
            self.sluice.wait(job["id"], timeout=0.3)
        self.assertEqual("wait_timeout", raised.exception.code)
        self.assertEqual("cancelled", self.sluice.cancel(job["id"])["status"])

    def test_an_estimate_makes_nothing(self) -> None:
        self.assertIn("tiers", str(self.sluice.estimate(chat("i"))))


if __name__ == "__main__":
    unittest.main()
