"""The upload use case on stores in memory."""

from __future__ import annotations

import pytest

from tests.support.uploads import House


@pytest.fixture
def house() -> House:
    return House()
