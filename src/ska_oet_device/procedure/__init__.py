"""Procedures: preparing, running and stopping scripts in processes of their own."""
