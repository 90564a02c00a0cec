"""The Tango face of script execution."""
