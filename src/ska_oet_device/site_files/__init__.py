"""What a site's other programs are given for this device: their files, made from what the device really has."""

from .access import CHANGERS_COMMANDS, READERS_COMMANDS

__all__ = ["CHANGERS_COMMANDS", "READERS_COMMANDS"]
