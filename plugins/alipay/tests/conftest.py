"""A fresh world for every test."""

import pytest

from .support import World


@pytest.fixture
def world() -> World:
    """A simulated Alipay with one account in key mode."""
    return World()
