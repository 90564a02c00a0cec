"""The topics of the OET, as its public releases have them, in the form that pypubsub reads.

Where releases differ, both are here: `sb.lifecycle` has the topics of scheduling blocks (`sb_id`) and those of their
instances (`sbi_id`).  `procedure.lifecycle.statechange` is missing, since this program has one of its own.
"""

# ruff: noqa: N801, N802, N805 - the names and the missing `self` are pypubsub's form for a topic tree
# mypy: disable-error-code="no-untyped-def, misc"


class request:
    """Somebody has asked for something."""

    class procedure:
        """Of procedures."""

        class create:
            """To prepare a script."""

            def msgDataSpec(msg_src, request_id, cmd):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - cmd: the request
                """

        class list:
            """To list procedures."""

            def msgDataSpec(msg_src, request_id, pids=None):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - pids: ids of procedures; None: all
                """

        class start:
            """To start a function of a script."""

            def msgDataSpec(msg_src, request_id, cmd):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - cmd: the request
                """

        class stop:
            """To stop a procedure."""

            def msgDataSpec(msg_src, request_id, cmd):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - cmd: the request
                """

    class activity:
        """Of activities."""

        class run:
            """To run an activity."""

            def msgDataSpec(msg_src, request_id, cmd):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - cmd: the request
                """

        class list:
            """To list activities."""

            def msgDataSpec(msg_src, request_id, activity_ids=None):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - activity_ids: ids of activities; None: all
                """


class procedure:
    """What happens to procedures."""

    class lifecycle:
        """The steps of a life."""

        class stacktrace:
            """Why a procedure has failed."""

            def msgDataSpec(msg_src, stacktrace):
                """
                - msg_src: id or name of who publishes
                - stacktrace: the script's traceback
                """

        class complete:
            """A procedure has completed."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """

        class created:
            """A procedure has been made."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """

        class started:
            """A function of a script runs."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """

        class stopped:
            """A procedure has ended or was stopped."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """

        class failed:
            """A procedure has failed."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """

    class pool:
        """All procedures together."""

        class list:
            """The procedures that there are."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """


class activity:
    """What happens to activities."""

    class lifecycle:
        """The steps of a life."""

        class running:
            """An activity runs."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """

    class pool:
        """All activities together."""

        class list:
            """The activities that there are."""

            def msgDataSpec(msg_src, request_id, result):
                """
                - msg_src: id or name of who publishes
                - request_id: number of the request
                - result: the summary, or the list of summaries
                """


class user:
    """What scripts say in their own words."""

    class script:
        """A script speaks."""

        class announce:
            """A sentence for the operators."""

            def msgDataSpec(msg_src, msg):
                """
                - msg_src: id or name of who publishes
                - msg: what is announced, in plain words
                """


class sb:
    """Scheduling blocks."""

    class lifecycle:
        """The steps of executing one."""

        class allocated:
            """Its resources are allocated."""

            def msgDataSpec(msg_src, sb_id):
                """
                - msg_src: id or name of who publishes
                - sb_id: id of the scheduling block
                """

        class started:
            """Its execution has begun."""

            def msgDataSpec(msg_src, sbi_id):
                """
                - msg_src: id or name of who publishes
                - sbi_id: id of the scheduling block instance
                """

        class finished:
            """Its execution is over."""

            class succeeded:
                """With success."""

                def msgDataSpec(msg_src, sbi_id):
                    """
                    - msg_src: id or name of who publishes
                    - sbi_id: id of the scheduling block instance
                    """

            class failed:
                """With an error."""

                def msgDataSpec(msg_src, sbi_id):
                    """
                    - msg_src: id or name of who publishes
                    - sbi_id: id of the scheduling block instance
                    """

        class observation:
            """The observation in it."""

            class started:
                """It has begun."""

                def msgDataSpec(msg_src, sb_id):
                    """
                    - msg_src: id or name of who publishes
                    - sb_id: id of the scheduling block
                    """

            class finished:
                """It is over."""

                class succeeded:
                    """With success."""

                    def msgDataSpec(msg_src, sb_id):
                        """
                        - msg_src: id or name of who publishes
                        - sb_id: id of the scheduling block
                        """

                class failed:
                    """With an error."""

                    def msgDataSpec(msg_src, sb_id):
                        """
                        - msg_src: id or name of who publishes
                        - sb_id: id of the scheduling block
                        """


class subarray:
    """What is done with a subarray."""

    class resources:
        """Its resources."""

        class allocated:
            """Some are allocated to it."""

            def msgDataSpec(msg_src, subarray_id):
                """
                - msg_src: id or name of who publishes
                - subarray_id: number of the subarray
                """

        class deallocated:
            """Some are taken from it."""

            def msgDataSpec(msg_src, subarray_id):
                """
                - msg_src: id or name of who publishes
                - subarray_id: number of the subarray
                """

    class configured:
        """It is configured."""

        def msgDataSpec(msg_src, subarray_id):
            """
            - msg_src: id or name of who publishes
            - subarray_id: number of the subarray
            """

    class scan:
        """A scan of it."""

        class started:
            """It has begun."""

            def msgDataSpec(msg_src, subarray_id):
                """
                - msg_src: id or name of who publishes
                - subarray_id: number of the subarray
                """

        class finished:
            """It is over."""

            def msgDataSpec(msg_src, subarray_id):
                """
                - msg_src: id or name of who publishes
                - subarray_id: number of the subarray
                """

    class fault:
        """It cannot be reached, or has refused."""

        def msgDataSpec(msg_src, subarray_id, error):
            """
            - msg_src: id or name of who publishes
            - subarray_id: number of the subarray
            - error: what the subarray has answered
            """


class scan:
    """Scans of a scheduling block."""

    class lifecycle:
        """The steps of one."""

        class configure:
            """The subarray is made ready for it."""

            class started:
                """That has begun."""

                def msgDataSpec(msg_src, sb_id, scan_id):
                    """
                    - msg_src: id or name of who publishes
                    - sb_id: id of the scheduling block
                    - scan_id: id of the scan
                    """

            class complete:
                """That is done."""

                def msgDataSpec(msg_src, sb_id, scan_id):
                    """
                    - msg_src: id or name of who publishes
                    - sb_id: id of the scheduling block
                    - scan_id: id of the scan
                    """

            class failed:
                """That has failed."""

                def msgDataSpec(msg_src, sb_id, scan_id):
                    """
                    - msg_src: id or name of who publishes
                    - sb_id: id of the scheduling block
                    - scan_id: id of the scan
                    """

        class start:
            """It begins."""

            def msgDataSpec(msg_src, sb_id):
                """
                - msg_src: id or name of who publishes
                - sb_id: id of the scheduling block
                """

        class end:
            """It is over."""

            class succeeded:
                """With success."""

                def msgDataSpec(msg_src, sb_id, scan_id):
                    """
                    - msg_src: id or name of who publishes
                    - sb_id: id of the scheduling block
                    - scan_id: id of the scan
                    """

            class failed:
                """With an error."""

                def msgDataSpec(msg_src, sb_id, scan_id):
                    """
                    - msg_src: id or name of who publishes
                    - sb_id: id of the scheduling block
                    - scan_id: id of the scan
                    """
