"""Sources are found by the files of their folder."""

from __future__ import annotations

from pathlib import Path

from chalicelib import sources
from tests.support.alibaba_api import kit


def test_every_file_is_a_source_and_the_built_in_one_is_first():
    found = sources.load(kit(None))
    files = {file.stem for file in Path(sources.__file__).parent.glob("[!_]*.py")}
    assert set(found) == files
    assert list(found) == ["builtin", *sorted(files - {"builtin"})]
    assert all(one.id == name and one.title for name, one in found.items())
