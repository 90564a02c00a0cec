"""Whether anybody has said where the Tango database is; without that, Tango tries for seconds to find one."""

from __future__ import annotations

import os

NOT_SET = "TANGO_HOST is not set: it says where the Tango database is, as host:port"


def is_tango_host_set(device: str | None) -> bool:
    """Say whether there is a Tango database to ask: by TANGO_HOST, by Tango's own files, or by the device's full name.

    :param device: as it was named, if it was
    """
    if "//" in (device or "") or os.environ.get("TANGO_HOST"):
        return True
    import tango

    return bool(tango.ApiUtil.get_env_var("TANGO_HOST"))  # looks into ~/.tangorc and /etc/tangorc
