"""The benchmark: what the device costs and how fast it is, at the Tango client; ``python -m bench --help``."""
