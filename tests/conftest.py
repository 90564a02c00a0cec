"""Fixtures that tests of several folders use."""

pytest_plugins = ("support.durable", "support.bare", "support.mariadb")
