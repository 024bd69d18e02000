"""``python -m airflow_cleanroomsml.emulator``: serve until interrupted."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import textwrap
import threading

from airflow_cleanroomsml.emulator.faults import KINDS
from airflow_cleanroomsml.emulator.request_guard import host_name
from airflow_cleanroomsml.emulator.server import Emulator
from airflow_cleanroomsml.emulator.settings import Settings

_CONTROL = """\
requests of more than 10 MiB, to S3 and the other services of moto of more than 1 GiB, are refused with status 413.

what a test may ask and order, as JSON:
  GET    /_emulator/health
  GET    /_emulator/requests?account=…  the operations that were called, and the statuses they were answered with
  GET    /_emulator/clock
  POST   /_emulator/clock      {"advance": SECONDS, "freeze": true or false}; then "advance" and slow answers move it
  GET    /_emulator/settings
  POST   /_emulator/settings   {"unique_names": false, …}: fields of Settings, quotas among them, changed from then on
  GET    /_emulator/permissions?account=…  the IAM actions that an account allows, null for all, and those that its requests have needed
  POST   /_emulator/permissions    {"account": …, "actions": ["cleanrooms-ml:Get*", …]}: allow these actions and no others
  DELETE /_emulator/permissions?account=…  allow all
  POST   /_emulator/reset      forget resources, faults, limits of permissions and calls; not what S3 and Glue hold
  GET    /_emulator/faults     those that are not used up
  DELETE /_emulator/faults?account=…
  POST   /_emulator/faults     {"operation": NAME or "*", "kind": KIND, "account": …, "times": CALLS, 0 until cleared,
                                "lasts": SECONDS, "seconds": SECONDS, "code": CODE, "message": MESSAGE}

kinds of faults:"""


def _arguments() -> argparse.Namespace:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_cleanroomsml.emulator",
        description=__doc__,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        type=_host,
        metavar="NAME",
        help="host name or IP address by which clients call it, such as the service of a compose file, and all names below it; "
        "may be given several times. Allowed anyway: localhost and names below it, loopback addresses, and the address to listen at "
        "(any address for 0.0.0.0). All other hosts are refused, and so are web pages of other origins",
    )
    parser.add_argument("--port", type=int, default=5055, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--scale",
        type=float,
        default=defaults.scale,
        help="factor on the documented minimums of the data: 0.001 makes 1,000 interactions enough (default: %(default)s)",
    )
    parser.add_argument("--pending-seconds", type=float, default=defaults.pending_seconds, help="default: %(default)s")
    parser.add_argument(
        "--progress-seconds", type=float, default=defaults.progress_seconds, help="default: %(default)s"
    )
    parser.add_argument("--delete-seconds", type=float, default=defaults.delete_seconds, help="default: %(default)s")
    parser.add_argument(
        "--stop-with-stdin", action="store_true", help="stop when standard input ends, as a child process"
    )
    parser.add_argument("--names-not-unique", action="store_true", help="accept a name that is in use")
    parser.add_argument(
        "--all-instance-types",
        action="store_true",
        help="no quota by instance type; in a new account that of most types is 0",
    )
    parser.add_argument(
        "--published-rates",
        action="store_true",
        help="throttle what comes faster than the rates of the user guide, by account, region and operation",
    )
    return parser.parse_args()


def _host(text: str) -> str:
    try:
        return host_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _epilog() -> str:
    kinds = textwrap.indent("\n".join(f"{kind:20}{what}" for kind, what in KINDS.items()), "    ")
    return f"{_CONTROL}\n{kinds}"


def _stop_with_stdin(stop: threading.Event) -> None:
    """A parent that dies, however it dies, closes its end of the pipe."""
    sys.stdin.read()
    stop.set()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    given = _arguments()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    settings = Settings(
        scale=given.scale,
        pending_seconds=given.pending_seconds,
        progress_seconds=given.progress_seconds,
        delete_seconds=given.delete_seconds,
        unique_names=not given.names_not_unique,
        instance_types=() if given.all_instance_types else Settings().instance_types,
        published_rates=given.published_rates,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if given.stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(stop,), daemon=True).start()
    with Emulator(settings, host=given.host, port=given.port, allowed_hosts=given.allowed_host) as emulator:
        print(f"AWS_ENDPOINT_URL={emulator.url}", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
