"""The scan for what is due: its runs, and what contacts are to be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

#: How many reminders are claimed in one transaction: DynamoDB takes 100 writes, three of which are not reminders.
BUNDLE: Final = 90


class RunState(StrEnum):
    """How far a run is; one that had failures ends as failed, also when they were made up for."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ScanRun:
    """A run over all accounts.

    Attributes:
        id: sorts by time; that of a day's own run is made of the day, so that there is one.
        planned: whether the workers have been told of every account.
        cursor: where the list of accounts goes on.
        accounts: how many workers were told of; `accounts_done` of them are through.
        notices: reminders that became due, counted for each contact.
        sent: messages that went out in the run.
        held: contacts whose message waits for the hours in which they want to hear.
        failed: channels that failed, and accounts that could not be scanned.
        made_up: messages that went out after the run, held or failed in it.
        updated_at: when the run last moved; once it is done, when it ended.
        problem: what ended it before its time; empty when nothing did.
    """

    id: str
    started_at: datetime
    updated_at: datetime
    planned: bool = False
    cursor: str | None = None
    accounts: int = 0
    accounts_done: int = 0
    notices: int = 0
    sent: int = 0
    held: int = 0
    failed: int = 0
    made_up: int = 0
    problem: str = ""

    @property
    def state(self) -> RunState:
        """How far it is."""
        if not self.problem and not (self.planned and self.accounts_done >= self.accounts):
            return RunState.RUNNING
        return RunState.FAILED if self.problem or self.failed else RunState.DONE


@dataclass(frozen=True, slots=True)
class AccountScan:
    """An account's part of a run; counts as `ScanRun` has them."""

    account_id: str
    run_id: str
    started_at: datetime
    done_at: datetime | None = None
    notices: int = 0
    sent: int = 0
    held: int = 0
    failed: int = 0
    made_up: int = 0
    problem: str = ""

    @property
    def state(self) -> RunState:
        """How far it is."""
        if self.done_at is None:
            return RunState.RUNNING
        return RunState.FAILED if self.problem or self.failed else RunState.DONE


@dataclass(frozen=True, slots=True)
class Reminder:
    """That a certificate reached a threshold; `late` says that this was found out, or told, later than it should be."""

    certificate_id: str
    key: str
    due_at: datetime
    late: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """Reminders for a contact that were claimed together and are not yet sent by all its channels.

    Attributes:
        id: a ULID; later ones are greater.
        run_id: the run that found them due.
        sent_to: keys of the channels that have sent them.
    """

    id: str
    run_id: str
    at: datetime
    reminders: tuple[Reminder, ...]
    sent_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outbox:
    """That there are bundles for a contact.

    Attributes:
        last: id of the newest bundle.
        failed_at: when a channel last failed; ``None`` when none has since the outbox was empty.
        leased_until: until when a worker has it to itself.
    """

    account_id: str
    contact_id: str
    last: str
    failed_at: datetime | None = None
    leased_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScanTask:
    """A queue message: scan an account for a run, or, without one, send what waits in its outboxes."""

    account_id: str
    run_id: str | None = None
