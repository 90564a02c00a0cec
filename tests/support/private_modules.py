"""The import rule that import-linter has not: what is private to a package is imported in it alone."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class PrivateModulesContract(Contract):
    """A module whose name begins with an underscore is imported by its own package, and what is below that, only."""

    type_name = "private modules"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        found = [
            (importer, module)
            for module in sorted(graph.modules)
            if "._" in module and module.rpartition(".")[2].startswith("_") and not module.endswith("__")
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if not f"{importer}.".startswith(f"{module.rpartition('.')[0]}.")
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, module in check.metadata["found"]:
            output.print_error(f"{importer} imports {module}, which is private to {module.rpartition('.')[0]}")
