"""Fixtures that tests of several folders use."""

pytest_plugins = ("support.leaks", "support.durable", "support.bare", "support.mariadb")
