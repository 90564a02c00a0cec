"""Is a client of the device that executes it."""

import os

from ska_oet_device.client import Busy, Deadlock, OetClient, ProcedureStopped, StartDropped


def main():
    with OetClient() as client:
        found = {"device": client.device}
        prepared = client.prepare("good.py")
        prepared.wait("READY", timeout=20)
        try:
            client.run("good.py").wait(timeout=20)
        except StartDropped as dropped:
            found["run"] = str(dropped)
        try:
            prepared.start()
        except Busy as busy:
            found["start"] = str(busy)
        myself = client.procedure(int(os.environ["SKA_OET_PROCESS_UID"]))
        found["state"] = myself.wait("RUNNING")
        found["state"] = str(found["state"].state)
        try:
            myself.wait()
        except Deadlock as deadlock:
            found["wait"] = str(deadlock)
        for procedure in client.procedures():
            if procedure.id != myself.id and not procedure.state.is_terminal:
                procedure.stop("not needed")
                try:
                    procedure.wait(timeout=20)
                except ProcedureStopped as stopped:
                    found["stop"] = stopped.reason
        return found
