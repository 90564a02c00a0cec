"""dask: a cluster of processes on this machine, for the time of this run."""

import time

from dask.distributed import Client, LocalCluster

from ska_oet_device.scripting import report_progress


def main(numbers=(1, 2, 3, 4), seconds=0.05):
    try:
        with LocalCluster(n_workers=2, host="127.0.0.1", dashboard_address=None) as cluster, Client(cluster) as client:
            for done, future in enumerate(client.map(work, numbers, seconds=seconds), 1):
                print(future.result())
                report_progress(100 * done / len(numbers), "computing")
    finally:
        print("cluster closed")


def work(number, seconds):
    time.sleep(seconds)
    return number * number
