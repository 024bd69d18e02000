"""The emulator as a test uses it, and the context manager for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml.testing.account import Account, ClientFactory
from airflow_cleanroomsml.testing.admin_api import AdminApi, EmulatorError
from airflow_cleanroomsml.testing.clock import EmulatorClock
from airflow_cleanroomsml.testing.environment import Environment
from airflow_cleanroomsml.testing.faults import Faults
from airflow_cleanroomsml.testing.table import TableData

if TYPE_CHECKING:
    from boto3.session import Session

#: Accounts and region of the README and the example Dags.
ACCOUNT, PARTNER, REGION = "123456789012", "210987654321", "us-east-1"
#: Small data, and jobs that end at once.
_SETTINGS = {
    "scale": 0.001,
    "pending_seconds": 0,
    "progress_seconds": 0,
    "delete_seconds": 0,
    "synchronous_jobs": True,
}

#: What the extra ``emulator`` installs, by the names to import.
_LIBRARIES = ("flask", "flask_cors", "moto", "numpy", "pyarrow", "scipy", "sklearn", "threadpoolctl", "werkzeug")


class RunningEmulator:
    """
    An emulator for tests: empty when a test starts, with small minimums of data and jobs that end at once.

    A test has an account, which boto3 and the Airflow connection ``aws_default`` use, and a partner's account.

    :param endpoint_url: URL of the emulator.
    :param account: Number of the account.
    :param partner: Number of the partner's account.
    :param region: AWS region.
    """

    def __init__(self, endpoint_url: str, account: str = ACCOUNT, partner: str = PARTNER, region: str = REGION) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        #: The variables that are set in ``os.environ``; none before :meth:`use`.
        self.environment = Environment(endpoint_url, region)
        self._admin_api = AdminApi(endpoint_url)
        self.clock = EmulatorClock(self._admin_api)
        self._clients = ClientFactory(endpoint_url)
        self._accounts: dict[str, Account] = {}
        self.account = self.open_account(account)
        self.partner = self.open_account(partner)

    @property
    def faults(self) -> Faults:
        """Faults of the account's calls; those of the partner's are ``partner.faults``."""
        return self.account.faults

    @property
    def session(self) -> Session:
        """The account's boto3 session."""
        return self.account.session

    @property
    def calls(self) -> list[str]:
        """Operations that the account has called in this test, in order."""
        return self.account.calls

    def client(self, service: str) -> Any:
        """Return the account's boto3 client of a service, see :meth:`Account.client`."""
        return self.account.client(service)

    def open_account(self, account_id: str) -> Account:
        """
        Return another account, which needs no preparation.

        :param account_id: Twelve digits.
        """
        if account_id not in self._accounts:
            self._accounts[account_id] = Account(account_id, self.region, self._admin_api, self._clients)
        return self._accounts[account_id]

    def connect(self, conn_id: str, account: Account | None = None) -> None:
        """
        Point an Airflow connection to an account until the end of the test.

        :param account: By default that of ``aws_default``.
        """
        self.environment.connect(conn_id, (account or self.account).id)

    def put_seed(self, user_ids: Iterable[str | int], uri: str | None = None) -> dict[str, str]:
        """Write a seed of the account, see :meth:`Account.put_seed`."""
        return self.account.put_seed(user_ids, uri)

    def put_table(
        self,
        name: str,
        data: TableData,
        *,
        database: str = "lookalike",
        location: str | None = None,
        file_format: str | None = None,
        types: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Create a Glue table of the account and its file, see :meth:`Account.put_table`."""
        return self.account.put_table(
            name, data, database=database, location=location, file_format=file_format, types=types
        )

    def set_job_durations(self, *, pending: float = 0, progress: float = 0, delete: float = 0) -> None:
        """
        Let jobs take time until the end of the test. The time passes on :attr:`clock`, so the test takes no longer.

        :param pending: Seconds for which a job is CREATE_PENDING.
        :param progress: Seconds for which a job is CREATE_IN_PROGRESS.
        :param delete: Seconds that a deletion or cancellation takes.
        """
        self.change_settings(pending_seconds=pending, progress_seconds=progress, delete_seconds=delete)

    def change_settings(self, **settings: Any) -> None:
        """
        Change settings of the emulator until the end of the test, for instance ``scale=1`` for the documented minimums of data.

        :param settings: Fields of :class:`airflow_cleanroomsml.emulator.settings.Settings`.
        :raises EmulatorError: There is no such setting, or its value has the wrong type.
        """
        self._admin_api.call("POST", "/_emulator/settings", settings)

    def reset(self) -> None:
        """Delete everything, also in S3 and Glue; restore the clock and the settings that tests begin with."""
        # First the emulator, which stops its jobs: one of them could write to S3 after moto's reset.
        self._admin_api.call("POST", "/_emulator/reset", {"everything": True})
        self._admin_api.call("POST", "/moto-api/reset")
        self.change_settings(**_SETTINGS)
        self.clock.read_from_emulator()

    @contextmanager
    def use(self) -> Iterator[RunningEmulator]:
        """Reset the emulator, and point boto3 and Airflow in this process to it until the block ends."""
        self.reset()
        # Blocks may be nested, and each restores what it found.
        outer, self.environment = self.environment, Environment(self.endpoint_url, self.region)
        try:
            self.environment.apply(self.account.id)
            with self.clock.skip_pauses():
                yield self
        finally:
            self.environment.restore()
            self.environment = outer


@contextmanager
def serve() -> Iterator[str]:
    """
    Run an emulator in a thread of this process, at a free port of the loopback interface.

    :return: Its URL.
    :raises EmulatorError: The extra ``emulator`` is not installed.
    """
    # Only looked up: importing numpy and scikit-learn takes longer than the emulator takes to start.
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise EmulatorError(
            f"The emulator cannot run in this environment, which lacks {', '.join(missing)}. Install them with "
            "pip install 'airflow-provider-cleanroomsml[emulator]', or run the emulator elsewhere and give its URL."
        )
    from airflow_cleanroomsml.emulator.server import Emulator

    with Emulator() as server:
        yield server.url


@contextmanager
def emulator(
    url: str | None = None, *, account: str = ACCOUNT, partner: str = PARTNER, region: str = REGION
) -> Iterator[RunningEmulator]:
    """
    Use an emulator in a notebook or a script.

    .. code-block:: python

        with emulator() as service:
            service.put_table("interactions", rows)

    Until the block ends, boto3 and the Airflow connection ``aws_default`` use it. It is reset first.

    :param url: URL of an emulator that runs elsewhere, and is reset as well; None to run one in this process.
    :param account: Number of the account.
    :param partner: Number of the partner's account.
    :param region: AWS region.
    :raises EmulatorError: The emulator does not answer, or the extra ``emulator`` is not installed.
    """
    with ExitStack() as stack:
        endpoint_url = url or stack.enter_context(serve())
        yield stack.enter_context(RunningEmulator(endpoint_url, account, partner, region).use())
