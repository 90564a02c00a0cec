"""Magic commands for itango and IPython: `%load_ext ska_oet_device.itango`."""

from ._extension import load_ipython_extension, unload_ipython_extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]
