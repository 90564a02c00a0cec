"""``python -m ska_oet_device.mptools`` is the template process."""

from ._template import main

main()
