"""The attributes by which dashboards choose what is to be done, so that nobody types JSON: rows of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import tango

from ..application import MOST_SCRIPTS
from ..state import ProcedureState
from ._attribute import Attribute, Occasion
from ._devstring import cut, latin1
from ._operator_texts import HEAD, MOST_ROWS, details_of, table_of
from ._script_arguments import NOTHING
from ._view import View, selected

_WRITTEN: dict[str, Any] = {"access": tango.AttrWriteType.READ_WRITE}


def _state(view: View) -> ProcedureState | None:
    found = selected(view)
    return found.state if found is not None else None


OPERATOR_ATTRIBUTES = (
    Attribute(
        "availableScripts",
        (str,),
        "URIs of the scripts below ScriptRoots, as Prepare and selectedScript take them; in alphabetical order",
        Occasion.REFRESH,
        lambda view: view.scripts,
        list,
        declared={"max_dim_x": MOST_SCRIPTS},
    ),
    Attribute(
        "selectedScript",
        str,
        "URI of the script that PrepareSelected and RunSelected take; empty: none",
        Occasion.REFRESH,
        lambda view: view.selection.script,
        latin1,
        declared=_WRITTEN,
    ),
    Attribute(
        "scriptArguments",
        str,
        "JSON: what main is given, a list by position or an object by name; or an object of init and main",
        Occasion.REFRESH,
        lambda view: view.selection.arguments or NOTHING,
        latin1,
        declared=_WRITTEN,
    ),
    Attribute(
        "selectedProcedure",
        np.int64,
        "Id of the procedure that StartSelected and StopSelected take; 0: the newest that is READY, the active one",
        Occasion.REFRESH,
        lambda view: view.selection.process_uid,
        declared=_WRITTEN,
    ),
    Attribute(
        "selectedProcedureState",
        ProcedureState,
        "State of the selected procedure",
        Occasion.CHANGE,
        _state,
        int,
        empty=int(ProcedureState.UNKNOWN),
    ),
    Attribute(
        "selectedProcedureDetails",
        str,
        "What is to be said of the selected procedure, in lines, with its stack trace",
        Occasion.CHANGE,
        selected,
        details_of,
        empty="",
    ),
    Attribute(
        "selectedProcedureOutput",
        str,
        "The last lines that the selected procedure printed",
        Occasion.OUTPUT,
        lambda view: view.selected_output,
        lambda text: cut(latin1(text)),
    ),
    Attribute(
        "procedureTable",
        ((str,),),
        f"A row for each procedure, newest first, below the names of the columns: {', '.join(HEAD)}",
        Occasion.LISTS,
        lambda view: table_of(view.snapshot),
        declared={"max_dim_x": len(HEAD), "max_dim_y": 1 + MOST_ROWS},
    ),
)
"""In the order in which they are pushed."""
