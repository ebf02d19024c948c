"""The service over memory, and two tenants of it."""

from __future__ import annotations

import pytest

from tests.support.service import Client, MemoryServices, Tenant, tenant


@pytest.fixture
def services() -> MemoryServices:
    return MemoryServices()


@pytest.fixture
def client(services) -> Client:
    return Client(services)


@pytest.fixture
def example(client) -> Tenant:
    return tenant(client, "Example")


@pytest.fixture
def other(client) -> Tenant:
    return tenant(client, "Other")
