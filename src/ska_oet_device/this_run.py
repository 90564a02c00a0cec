"""Who a script is, and where it runs: what the environment of its process, and of all that it starts, says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .own_files import make_folder

RUN_ID_VARIABLE = "SKA_OET_RUN_ID"
"""The variable of the environment that holds the run id: inherited by exec."""

_VARIABLES = {
    "process_uid": "SKA_OET_PROCESS_UID",
    "run_id": RUN_ID_VARIABLE,
    "device": "SKA_OET_DEVICE",
    "subarray_id": "SKA_OET_SUBARRAY_ID",
}

_FOLDER_VARIABLE = "SKA_OET_FOLDER"

VARIABLES = tuple(_VARIABLES.values())
"""All variables of the environment that say it."""


@dataclass(frozen=True)
class ThisRun:
    """The procedure that a process belongs to.

    - process_uid: id of the procedure, as clients know it
    - run_id: its UUID, which no other procedure of any server has
    - device: name of the Tango device, such as mid-oet/subarray/01
    - subarray_id: number of the device's subarray when the function that is running was called
    """

    process_uid: int
    run_id: str
    device: str
    subarray_id: int

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> ThisRun:
        """Return what an environment says.

        :raises RuntimeError: it does not say, or says what cannot be; names the variables
        """
        try:
            texts = {name: environment[variable] for name, variable in _VARIABLES.items()}
            return cls(int(texts["process_uid"]), texts["run_id"], texts["device"], int(texts["subarray_id"]))
        except (KeyError, ValueError) as error:
            raise RuntimeError(
                "no device executes this process, or its environment was not handed on "
                f"({error}); to try a script without a device, set {', '.join(VARIABLES)}"
            ) from None

    @property
    def folder(self) -> Path:
        """A folder of this run's own, for data: it is there from now on, for the server's user alone.

        It is kept with the output of the procedure, and deleted with it, HistoryDays after that was last written.
        The variable SKA_OET_FOLDER says where it is, or will be, before it is made.

        :raises RuntimeError: the server keeps no files, or there is no device, and the variable is not set
        :raises OSError: it cannot be made
        """
        path = os.environ.get(_FOLDER_VARIABLE)
        if not path:
            raise RuntimeError(f"there is no folder for this run: {_FOLDER_VARIABLE} is not set")
        folder = Path(path)
        make_folder(folder)
        return folder

    def tell(self, folder: str | None = None) -> None:
        """Have the environment of this process, and of all that it will start, say this.

        :param folder: where the run's folder is to be; "": nowhere; None: where it was
        """
        for name, variable in _VARIABLES.items():
            os.environ[variable] = str(getattr(self, name))
        if folder is not None:
            os.environ[_FOLDER_VARIABLE] = folder


def forget_run() -> None:
    """Have the environment of this process say nothing."""
    for variable in (*VARIABLES, _FOLDER_VARIABLE):
        os.environ.pop(variable, None)
