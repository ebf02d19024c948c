"""Notifiers are found by the files of their folder."""

from __future__ import annotations

from pathlib import Path

from chalicelib import notifiers
from chalicelib.ports import NotifierKit


def test_every_file_is_a_notifier_of_the_kind_that_it_is_called():
    found = notifiers.load(NotifierKit("certhaven@example.com", lambda: None, private=False))
    assert set(found) == {file.stem for file in Path(notifiers.__file__).parent.glob("[!_]*.py")}
    assert all(one.kind == kind for kind, one in found.items())
    assert {kind for kind, one in found.items() if one.secret} == {"apprise"}
