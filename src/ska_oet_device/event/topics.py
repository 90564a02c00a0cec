"""The topics of the event bus, as a class tree; `msgDataSpec` says what each message carries.

pypubsub reads this module as the definition of its topic tree: a class is a topic, its docstring
the topic's description, and the signature of `msgDataSpec` the data that must or may be sent.
"""

# ruff: noqa: N801, N802, N805 - the names and the missing `self` are pypubsub's form for a topic tree
# mypy: disable-error-code="no-untyped-def, misc"


class procedure:
    """What happens to procedures, and to checks of scripts."""

    class lifecycle:
        """What the processes report."""

        class statechange:
            """A procedure entered a state."""

            def msgDataSpec(message):
                """
                - message: the LifecycleMessage
                """

        class loaded:
            """The code of a script was read; this is what was read."""

            def msgDataSpec(message):
                """
                - message: the ProvenanceMessage
                """

        class delayed:
            """The process of a procedure goes on although it should end."""

            def msgDataSpec(message):
                """
                - message: the DelayMessage
                """

        class acknowledged:
            """What main has announced is recorded, or needs no recording."""

            def msgDataSpec(number):
                """
                - number: main's number of the announcement
                """

        class recorded:
            """A lifecycle change is in the history; clients may be told."""

            def msgDataSpec(msg_src, change):
                """
                - msg_src: id of the procedure
                - change: the Change: the LifecycleEvent, and how things stood right after it
                """

        class progress:
            """A procedure has reported how far it has come, by a message that is one."""

            def msgDataSpec(msg_src, progress, time):
                """
                - msg_src: id of the procedure
                - progress: the Progress
                - time: Unix time of the report
                """

    class management:
        """What the ProcessManager asks of main_loop."""

        class create:
            """A worker is to load a script."""

            def msgDataSpec(msg_src, load):
                """
                - msg_src: id of the procedure
                - load: the Load
                """

        class run:
            """A prepared worker is to call a function."""

            def msgDataSpec(msg_src, call, run_args, force_start, after=None):
                """
                - msg_src: id of the procedure
                - call: name of the function
                - run_args: the ProcedureInput for it
                - force_start: wait for READY if need be
                - after: id of a procedure that must have ended first
                """

        class stop:
            """A procedure's process is to be ended."""

            def msgDataSpec(msg_src, reason=""):
                """
                - msg_src: id of the procedure
                - reason: why, in the words of whoever asks
                """

        class context:
            """What functions of scripts are given from now on has changed."""

            def msgDataSpec(context):
                """
                - context: the new one, as plain data
                """

    class command:
        """What happens to long running commands, beside what changes of procedures mean for them."""

        class updated:
            """Clients may be told how one of them stands."""

            def msgDataSpec(update):
                """
                - update: the CommandUpdate
                """

    class check:
        """What happens to checks of scripts, which are no procedures."""

        class create:
            """A script is to be checked."""

            def msgDataSpec(check):
                """
                - check: the Check
                """

        class done:
            """A check is over."""

            def msgDataSpec(message):
                """
                - message: the CheckDone
                """

        class reported:
            """The report of a check is complete; clients may be told."""

            def msgDataSpec(report):
                """
                - report: the CheckReport
                """


class operator:
    """What operators set for scripts."""

    class wait_for_qa_ready:
        """Whether scripts wait until quality assurance is ready."""

        class enable:
            """Scripts are to wait from now on."""

            def msgDataSpec(msg_src):
                """
                - msg_src: component from which the request originated
                """

        class disable:
            """Scripts need not wait from now on."""

            def msgDataSpec(msg_src):
                """
                - msg_src: component from which the request originated
                """

        class override:
            """Scripts that are waiting now are to go on, this once."""

            def msgDataSpec(msg_src):
                """
                - msg_src: component from which the request originated
                """

    class override:
        """The operator's persistent settings."""

        class state:
            """The settings as they are now."""

            def msgDataSpec(msg_src, wait_for_qa_ready):
                """
                - msg_src: component that holds the settings
                - wait_for_qa_ready: whether scripts wait
                """


class script:
    """What scripts say."""

    class progress:
        """How far a script has come."""

        def msgDataSpec(percent, activity):
            """
            - percent: 0 to 100
            - activity: what it is doing, in a few words
            """

    class message:
        """Any message that a script sent over pypubsub, as it reaches the device."""

        def msgDataSpec(msg_src, topic, data, time, payload=b""):
            """
            - msg_src: id of the procedure
            - topic: name of the topic the script used
            - data: the message's keyword arguments, as plain data: a mapping that is read when it is looked into, and
              empty where they were too large to be sent
            - time: Unix time at which it was sent
            - payload: the keyword arguments as they came over the pipe, in JSON
            """


class supervisor:
    """What main says of itself."""

    class health:
        """Whether workers can be made, and what they print be recorded."""

        def msgDataSpec(problems):
            """
            - problems: a sentence each; empty when all is well
            """

    class lost:
        """Main is gone: nothing can be started any more."""

        def msgDataSpec(reason):
            """
            - reason: one sentence
            """
