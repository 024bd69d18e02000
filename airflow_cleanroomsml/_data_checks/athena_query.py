"""A query in Athena that somebody waits for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import cached
from airflow_cleanroomsml._connection.client_options import make_config
from airflow_cleanroomsml._training_data.athena import describe_end, is_interrupted
from airflow_cleanroomsml._training_data.rules import InvalidDataError, Rule

#: Seconds between two polls of a query.
_POLL_SECONDS = 5
#: States of a query that has not ended (Athena API reference, QueryExecutionStatus).
_RUNNING = ("QUEUED", "RUNNING")


class AthenaQuery:
    """
    A query whose result is one row.

    :param connection: Connection arguments, for the amazon provider's hook of Athena.
    :param catalog: Athena data catalog with the table.
    :param workgroup: Athena workgroup.
    :param output_location: S3 URI for the result; None if the workgroup has one.
    """

    def __init__(
        self, connection: Mapping[str, Any], *, catalog: str, workgroup: str, output_location: str | None
    ) -> None:
        self._connection = dict(connection)
        self._catalog = catalog
        self._workgroup = workgroup
        self._output = {"OutputLocation": output_location} if output_location else {}
        self._query_id = ""

    def run(self, text: str, database: str) -> dict[str, str | None]:
        """
        Run the query; return the row, by its columns.

        :param text: The query, which aggregates.
        :param database: Its database in the catalog.
        :raises InvalidDataError: It failed.
        """
        context = {"Database": database, "Catalog": self._catalog}
        self._query_id = self._hook.run_query(text, context, self._output, workgroup=self._workgroup)
        state = self._wait()
        if state != "SUCCEEDED":
            status = self._hook.get_query_info(self._query_id)["QueryExecution"]["Status"]
            rule = Rule.QUERY_INTERRUPTED if is_interrupted(status) else Rule.QUERY_FAILED
            raise InvalidDataError(rule.build("data", reason=describe_end(status), query=self._query_id))
        # Athena's first row is the header; the query aggregates, so there is one more.
        header, values = self._hook.get_query_results(self._query_id)["ResultSet"]["Rows"]
        # From here on a kill must not stop the query: it has ended.
        self._query_id = ""
        names = [cell["VarCharValue"] for cell in header["Data"]]
        return dict(zip(names, (cell.get("VarCharValue") for cell in values["Data"]), strict=True))

    def stop(self) -> None:
        """Stop the query, if it runs."""
        if self._query_id:
            self._hook.stop_query(self._query_id)

    def _wait(self) -> str:
        """Wait until the query has ended, however long Athena lets it run; return its state."""
        # Not by the hook's poll_query_status(), which returns RUNNING after 120 polls, and after an error.
        try:
            while (state := str(self._hook.check_query_status(self._query_id))) in _RUNNING:
                _clock.sleep(_POLL_SECONDS)
        except Exception:
            with suppress(Exception):
                self.stop()
            raise
        return state

    @cached
    def _hook(self) -> Any:
        # Imported here, because most checks run no query.
        from airflow.providers.amazon.aws.hooks.athena import AthenaHook

        connection = {**self._connection}
        return AthenaHook(config=make_config(connection.pop("botocore_config")), log_query=False, **connection)
