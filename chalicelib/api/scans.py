"""The route of the daily scan: its runs, and what came of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from chalicelib.api import types
from chalicelib.api.routes import ADMINS_AND_OPERATORS, Call, Routes
from chalicelib.domain.model import Role
from chalicelib.domain.scans import AccountScan, RunState, ScanRun

routes = Routes("scans")


class ScanView(types.Answer, kw_only=True):
    """A run of the scan, or an account's part of one.

    `notices` are reminders that became due, counted for each contact; `sent` messages, `held` those that wait for their
    contact's hours, `failed` channels and accounts that failed, `made_up` messages that went out later.
    """

    id: str
    state: Literal["running", "done", "failed"]
    started_at: datetime
    done_at: datetime | None
    accounts: int
    accounts_done: int
    notices: int
    sent: int
    held: int
    failed: int
    made_up: int
    problem: str | None


@routes.add("GET", "/v1/scans", roles=ADMINS_AND_OPERATORS, query=types.PageQuery, answer=types.Listing[ScanView])
def scans(call: Call[types.PageQuery, None]) -> types.Listing[ScanView]:
    """List runs of the daily scan, newest first: for an admin, the account's part of each."""
    scan, limit, cursor = call.services.scan, call.query.limit, call.query.cursor
    if call.caller.role is Role.OPERATOR:
        runs = scan.runs(limit=limit, cursor=cursor)
        return types.Listing(items=[run_view(run) for run in runs.items], next_cursor=runs.cursor)
    parts = scan.account_scans(call.caller, limit=limit, cursor=cursor)
    return types.Listing(items=[part_view(part) for part in parts.items], next_cursor=parts.cursor)


def run_view(run: ScanRun) -> ScanView:
    """A run over all accounts."""
    return ScanView(
        id=run.id,
        done_at=None if run.state is RunState.RUNNING else run.updated_at,
        accounts=run.accounts,
        accounts_done=run.accounts_done,
        **_common(run),
    )


def part_view(part: AccountScan) -> ScanView:
    """An account's part of a run."""
    return ScanView(
        id=part.run_id,
        done_at=part.done_at,
        accounts=1,
        accounts_done=int(part.done_at is not None),
        **_common(part),
    )


def _common(one: ScanRun | AccountScan) -> dict[str, Any]:
    return {
        "state": one.state.value,
        "started_at": one.started_at,
        "notices": one.notices,
        "sent": one.sent,
        "held": one.held,
        "failed": one.failed,
        "made_up": one.made_up,
        "problem": one.problem or None,
    }
