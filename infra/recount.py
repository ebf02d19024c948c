"""`make recount`: count the certificates of every account anew, or of the one that `ACCOUNT` names.

Of the stage that `STAGE` names, on AWS; of the local service, which must be running, when it names none. Counters are
kept right by every write, so this is for what was changed past the service, and for data from before there were any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from chalicelib.config import Settings
from chalicelib.domain.errors import CerthavenError
from chalicelib.domain.summary import Figures
from chalicelib.wiring import AwsServices, Services
from infra.local import REGION, STACK, read_env
from infra.package import ROOT
from infra.say import give_up


def main() -> None:
    """Count, and say what has changed. Ends with one line when an account cannot be counted."""
    services = _services()
    try:
        for account_id in _accounts(services):
            before, after = services.summary.recount(account_id)
            print(f"  {account_id}: {after.total} certificates, {_compared(before, after)}")
    except CerthavenError as refusal:
        give_up(refusal.message, refusal.hint)


def _compared(before: Figures, after: Figures) -> str:
    if before.total != after.total:
        return f"{before.total} before"
    return "as before" if before == after else "as before, with other figures"


def _services() -> Services:
    stage = os.environ.get("STAGE", "")
    if not stage:
        return _local()
    from infra.deploy import sign_in  # it asks AWS

    if not stage.isalnum():
        give_up("STAGE names no stage.", "Try `make recount STAGE=production`, or none for the local service.")
    _, _, region = sign_in()
    name = f"certhaven-{stage.lower()}"
    return AwsServices(Settings(stage=name, region=region, table_prefix=f"{name}-"))


def _local() -> Services:
    folder = Path(os.environ.get("CERTHAVEN_STATE") or ROOT / ".local")
    known = read_env(folder / "env")
    if not known:
        give_up("There is no local service.", "Start it with `make run`, or name a stage: `make recount STAGE=…`.")
    os.environ.update({name: value for name, value in known.items() if name.startswith("AWS_")})
    return AwsServices(Settings(stage=STACK, region=REGION, table_prefix=f"{STACK}-"))


def _accounts(services: Services) -> Iterator[str]:
    named = os.environ.get("ACCOUNT", "")
    if named:
        yield services.account_store.get(named).id
        return
    cursor = None
    while True:
        page = services.account_store.page(limit=100, cursor=cursor)
        yield from (account.id for account in page.items)
        cursor = page.cursor
        if cursor is None:
            return


if __name__ == "__main__":
    main()
