"""Each Protocol's contract runs over the fake and over the real thing."""

from __future__ import annotations

import pytest

from tests.support.tables import moto_aws


@pytest.fixture(scope="session")
def aws():
    """AWS by moto for the session; tests use accounts of their own."""
    with moto_aws():
        yield
