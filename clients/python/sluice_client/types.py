"""What the API takes and answers. docs/reference/api.md describes every member; a later server may send more."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

JobStatus = Literal["scheduled", "queued", "running", "completed", "failed", "cancelled"]
JobType = Literal[
    "chat",
    "response",
    "embedding",
    "message",
    "completion",
    "moderation",
    "rerank",
    "image",
    "image_edit",
    "speech",
    "transcription",
    "translation",
]


class _CreateRequired(TypedDict):
    type: JobType
    body: dict[str, Any]


class CreateJob(_CreateRequired, total=False):
    """What `POST /v1/jobs` takes, and each line of a bulk submission."""

    priority: Literal["high", "normal", "low"] | None
    delay_ms: int | None
    run_at: str | None
    deadline: str | None
    tier: Literal["auto", "standard", "flex", "batch"] | None
    timeout_ms: int | None
    max_attempts: int | None
    cache: Literal["use", "refresh", "off"] | None
    webhook: dict[str, Any] | None
    group: str | None
    fair_key: str | None
    metadata: dict[str, str] | None


class JobError(TypedDict):
    code: str
    message: str


class Usage(TypedDict, total=False):
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int


class _JobRequired(TypedDict):
    id: str
    type: JobType
    status: JobStatus
    model: str
    lane: str
    group: str | None
    fair_key: str | None
    priority: Literal["high", "normal", "low"]
    tier: Literal["auto", "standard", "flex", "batch"]
    served_tier: str | None
    metadata: dict[str, str]
    created_at: str
    run_at: str | None
    started_at: str | None
    finished_at: str | None
    deadline: str | None
    attempts: int
    max_attempts: int
    next_attempt_at: str | None
    estimated_start_at: str | None
    waiting_for: str | None
    cache: Literal["miss", "hit", "shared", "off"]
    result: Any
    usage: Usage | None
    usage_is_estimate: bool
    cost_usd: float | None
    cost_is_estimate: bool
    error: JobError | None


class Job(_JobRequired, total=False):
    """The current state of a job. Times are RFC 3339; `result` is the provider's answer."""

    result_omitted: bool
    result_url: str


class Attempt(TypedDict):
    """One call that was made for a job."""

    attempt: int
    provider: str
    model: str
    started_at: str
    latency_ms: float | None
    outcome: Literal[
        "running", "completed", "throttled", "retryable", "timeout", "failed", "aborted", "lost"
    ]
    status: int | None
    error_code: str | None
    usage: Usage | None
    cost_usd: float | None
    waited_ms: float
    waited_for: str | None
    ambiguous: bool


class Group(TypedDict):
    """How many jobs of a group are in which state, and what they cost: `cost_usd` is None if none of their models has a price."""

    group: str
    total: int
    counts: dict[JobStatus, int]
    cost_usd: float | None
    unpriced_calls: int
    estimated_finish_at: str | None
    budgets: list[dict[str, Any]]


class BulkAnswer(TypedDict, total=False):
    """The answer for the `index`th job of `submit_many`: its id, or the error that refused it."""

    index: int
    id: str
    status: str
    error: dict[str, Any]


class Event(TypedDict):
    """Pass `id` as `after` to go on behind it, in another process too."""

    id: str
    type: str
    data: dict[str, Any]
