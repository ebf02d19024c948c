"""Batch synchronisation: jobs, their chunks, and what came of each certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from chalicelib.domain.model import Certificate

#: How many certificates one queue message is for.
CHUNK: Final = 100
#: How many certificates one request may name; a whole CA may have any number.
MAX_SELECTED: Final = 10_000
#: A job that has not ended by then is ended, with what is left of it marked as failed.
LONGEST_JOB: Final = timedelta(hours=24)


class Outcome(StrEnum):
    """What came of a certificate in a job."""

    UPLOADED = "uploaded"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that a job is to bring.

    Attributes:
        id: its name at the CA.
        certificate_id: the id it has or would have in the inventory, when the CA's list tells its fingerprint.
        revoked_at: when the CA's list says that it is revoked.
    """

    id: str
    certificate_id: str | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one certificate; `code` and `reason` say why it was not uploaded."""

    id: str
    outcome: Outcome
    code: str = ""
    reason: str = ""
    certificate_id: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a job: what is wanted, and, once it has been done, what came of it."""

    number: int
    wanted: tuple[Wanted, ...]
    results: tuple[Result, ...] | None = None


@dataclass(frozen=True, slots=True)
class SyncJob:
    """A batch synchronisation of one CA.

    Attributes:
        ca: text of the authority's reference.
        selected: whether certificates were named; else all are meant.
        planned: whether all chunks are known.
        step: how many pages of the CA's list were planned by.
        cursor: where the list goes on.
        total: certificates in the chunks known so far.
        chunks: how many those are; `chunks_done` of them have results.
        problem: code and words of what ended it early; empty when nothing did.
        void_since: when its CA was revoked, and with it all that it issued: nothing is brought then, only followed.
    """

    id: str
    account_id: str
    source: str
    region: str
    ca: str
    selected: bool
    started_by: str
    created_at: datetime
    planned: bool = False
    step: int = 0
    cursor: str | None = None
    total: int = 0
    chunks: int = 0
    chunks_done: int = 0
    uploaded: int = 0
    skipped: int = 0
    failed: int = 0
    updated_at: datetime | None = None
    problem: tuple[str, str] = ("", "")
    void_since: datetime | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.planned and self.chunks_done >= self.chunks


@dataclass(frozen=True, slots=True)
class Link:
    """What is known here of a certificate of a CA: where it is in the inventory, or why it is not."""

    certificate_id: str | None
    at: datetime
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SyncSchedule:
    """A synchronisation of a whole CA, again and again. `due_at` is when it runs next."""

    account_id: str
    source: str
    region: str
    ca: str
    every_hours: int
    due_at: datetime
    created_by: str
    last_job: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A queue message: plan the next step of a job, or carry out one of its chunks. Exactly one is given.

    `waits` counts how often the CA's source was too busy for it.
    """

    account_id: str
    job_id: str
    step: int | None = None
    chunk: int | None = None
    waits: int = 0


def in_chunks(wanted: tuple[Wanted, ...], first: int = 0) -> list[Chunk]:
    """The chunks of so many certificates, numbered from `first`."""
    return [Chunk(first + n, wanted[at : at + CHUNK]) for n, at in enumerate(range(0, len(wanted), CHUNK))]


#: What the maker of a record begins with when it was a job.
_MARK: Final = "job:"


def job_mark(job_id: str) -> str:
    """Who made a record, when a job did: so a repeat of its work knows its own."""
    return f"{_MARK}{job_id}"


def job_of(certificate: Certificate) -> str | None:
    """The job that brought a certificate into the inventory, if one did."""
    maker = certificate.created_by
    return maker.removeprefix(_MARK) if maker.startswith(_MARK) else None


def as_brought(certificate: Certificate) -> Certificate:
    """A certificate that a job brought, as it was then, in all that is counted of it."""
    return replace(
        certificate, notifications=False, deployed=False, replaced_by=None, renewal_problem=None, revoked_at=None
    )
