"""Simulated devices for the examples, the demo and the tests."""
