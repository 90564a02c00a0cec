"""What a script can know of its run."""

from ska_oet_device.scripting import this_run


def main(subarray_id, context):
    run = this_run()
    print(f"procedure {run.process_uid} of {run.device}, run {run.run_id}")
    print(f"subarray {subarray_id}, wait for QA: {context['wait_for_qa_ready']}")
