"""Magic commands for itango: `%load_ext ska_oet_device.itango`."""
