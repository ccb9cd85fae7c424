"""A client for the jobs of Sluice. Every method raises SluiceError if the server refuses or does not answer."""

from .client import Sluice
from .errors import JobFailedError, SluiceError
from .types import (
    Attempt,
    BulkAnswer,
    CreateJob,
    Event,
    Group,
    Job,
    JobError,
    JobStatus,
    Usage,
)

__all__ = [
    "Attempt",
    "BulkAnswer",
    "CreateJob",
    "Event",
    "Group",
    "Job",
    "JobError",
    "JobFailedError",
    "JobStatus",
    "Sluice",
    "SluiceError",
    "Usage",
]
__version__ = "0.1.0"
