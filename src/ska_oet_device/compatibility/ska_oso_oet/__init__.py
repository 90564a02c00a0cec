"""Stands in for the SKA's Observation Execution Tool (OET) where that is not installed: its topics, and no more."""
