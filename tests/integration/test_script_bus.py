"""Whatever a script does to pypubsub's default publisher, what it says is heard."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "deed",
    [
        "pub.unsubAll()",
        "pub.unsubAll(pub.ALL_TOPICS)",
        "pub.unsubAll(listenerFilter=lambda listener: True)",
        "pub.unsubAll(topicFilter=lambda name: True)",
        "[pub.unsubscribe(each.getCallable(), pub.ALL_TOPICS) for each in root.getListeners()]",
        "root.unsubscribeAllListeners()",
        "pub.getDefaultTopicMgr().delTopic('script')",
        "pub.clearTopicDefnProviders()",
        "pub.clearNotificationHandlers()",
        "pub.setNotificationFlags(all=False)",
        "pub.setListenerExcHandler(None)",
        "pub.setTopicUnspecifiedFatal(True)",
        "importlib.reload(pub); from pubsub import pub",
        "del sys.modules['pubsub.pub'], sys.modules['pubsub']; from pubsub import pub",
    ],
)
def test_progress_is_told_after_it(main, script, deed):
    path = script(
        f"""
        import importlib, sys
        from pubsub import pub
        from ska_oet_device.scripting import report_progress

        def main():
            global pub
            root = pub.getDefaultTopicTreeRoot()
            {deed}
            report_progress(50, "heard")
        """
    )
    uid = main.running(path)
    assert main.wait_for_end(uid).reason == "completed"
    assert [said["activity"] for said in main.said(uid, "script.progress")] == ["heard"]


def test_a_scripts_own_listeners_are_unsubscribed(main, script):
    path = script(
        """
        from pubsub import pub

        heard = []

        def listen(number):
            heard.append(number)

        def main():
            pub.subscribe(listen, "news")
            pub.sendMessage("news", number=1)
            unsubscribed = pub.unsubAll()
            pub.sendMessage("news", number=2)
            pub.sendMessage("done", heard=heard, unsubscribed=[each.name() for each in unsubscribed])
        """
    )
    uid = main.running(path)
    assert main.wait_for_end(uid).reason == "completed"
    (done,) = main.said(uid, "done")
    assert done["heard"] == [1]
    assert len(done["unsubscribed"]) == 1
    assert [said["number"] for said in main.said(uid, "news")] == [1, 2]
