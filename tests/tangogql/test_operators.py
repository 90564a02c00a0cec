"""What an operator does at a board without typing JSON: choose, run, look at the table, stop."""

from support.tango_server import FIRST

SELECTED = f"{FIRST}/selectedscript"
ARGUMENTS = f"{FIRST}/scriptarguments"


def test_a_script_is_chosen_from_the_list_run_and_stopped(oet, tangogql):
    names = [f"{FIRST}/{name}" for name in ("availablescripts", "proceduretable", "selectedprocedurestate")]
    with tangogql.subscribe([*names, SELECTED, ARGUMENTS]) as heard:
        scripts = heard.wait_for("availablescripts", lambda value: "file://progress.py" in (value or [])).value
        assert tangogql.write(FIRST, "selectedScript", scripts[scripts.index("file://progress.py")])["ok"]
        assert tangogql.write(FIRST, "scriptArguments", '{"seconds": 60}')["ok"]
        heard.wait_for("selectedscript", lambda value: value == "file://progress.py")
        heard.wait_for("scriptarguments", lambda value: value == '{"seconds": 60}')
        assert tangogql.execute(FIRST, "RunSelected")["ok"]
        heard.wait_for("selectedprocedurestate", lambda value: value == 7)
        table = heard.wait_for("proceduretable", lambda rows: len(rows or []) > 1 and rows[1][2] == "RUNNING").value
        assert table[0] == ["id", "script", "state", "since", "duration", "by", "note"]
        assert table[1][1:3] + table[1][4:5] == ["progress.py", "RUNNING", ""]
        assert tangogql.execute(FIRST, "StopActive")["ok"]
        ended = heard.wait_for(
            "proceduretable", lambda rows: [table[1][0], "STOPPED"] in [[row[0], row[2]] for row in rows]
        )
        assert next(row[4] for row in ended.value if row[0] == table[1][0]).endswith(" s")


def test_what_is_refused_arrives_as_a_sentence(oet, tangogql):
    answer = tangogql.write(FIRST, "scriptArguments", "dwell=2")
    assert not answer["ok"]
    assert any('write {"dwell": 2} for arguments by name' in message for message in answer["message"])
    answer = tangogql.write(FIRST, "selectedScript", "file://not_there.py")
    assert not answer["ok"]
    assert any("OET_ScriptNotFound" in message for message in answer["message"])
