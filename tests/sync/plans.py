"""Asks PostgreSQL for the plan of every statement that the program runs, as it runs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from sqlalchemy import event

#: What has a row an organization, a destination, or both may be read whole: a look goes over all ledgers.
SMALL = frozenset({"ledger", "lease", "organization", "destination", "secret"})
#: More rows than a batch or a page of any kind has.
BATCH = 1_000


@dataclass
class Plans:
    """What was asked, and which plans read a whole table or sort more than a batch."""

    statements: set[str] = field(default_factory=set)
    flaws: list[str] = field(default_factory=list)
    #: Tables that are larger than a batch.
    large: set[str] = field(default_factory=set)

    def look_at(self, sql: str, node: dict) -> None:
        """Note what is wrong in a plan, down to its last step."""
        rows = node.get("Actual Rows", node["Plan Rows"]) * node.get("Actual Loops", 1)
        if node["Node Type"].endswith("Seq Scan") and node.get("Relation Name") in self.large:
            self.flaws.append(f"reads all of {node['Relation Name']}: {sql}")
        if node["Node Type"] in ("Sort", "Incremental Sort") and rows > BATCH:
            self.flaws.append(f"sorts {rows:,.0f} rows: {sql}")
        for below in node.get("Plans", ()):
            self.look_at(sql, below)


@contextmanager
def explained(database) -> Iterator[Plans]:
    """Have every statement explained, with its own parameters, while the block runs."""
    plans = Plans()

    class Explaining(psycopg.Cursor):
        """A cursor that asks for the plan first; a query is carried out for it too, and then really."""

        def execute(self, query, params=None, **how):
            words = str(query).split(None, 1)[:1]
            if words and words[0].upper() in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                analyze = "ANALYZE, " if words[0].upper() == "SELECT" else ""
                with psycopg.Cursor(self.connection) as beside:
                    beside.execute(f"EXPLAIN ({analyze}FORMAT JSON) {query}", params)
                    [[told]] = beside.fetchall()
                plans.statements.add(query)
                plans.look_at(query, told[0]["Plan"])
            return super().execute(query, params, **how)

    def explain(connection, _record):
        connection.cursor_factory = Explaining

    with database.write() as tx:
        tx.exec_driver_sql("ANALYZE")
        rows = tx.exec_driver_sql(f"SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > {BATCH}")
        plans.large = {row[0] for row in rows} - SMALL
    database.engine.dispose()  # whoever connects from now on is asked
    event.listen(database.engine, "connect", explain)
    try:
        yield plans
    finally:
        event.remove(database.engine, "connect", explain)
        database.engine.dispose()
