"""``python -m airflow_cleanroomsml.emulator``: run the emulator until it is interrupted."""

from __future__ import annotations

import argparse
import logging
import math
import signal
import socket
import sys
import textwrap
import threading
from functools import partial

from airflow_cleanroomsml.emulator.faults import KINDS
from airflow_cleanroomsml.emulator.request_guard import validate_host_name
from airflow_cleanroomsml.emulator.server import Emulator
from airflow_cleanroomsml.emulator.settings import Settings

_ADMIN_API = """\
Requests larger than 10 MiB are rejected with status 413; for S3 and other services of moto the limit is 1 GiB.

admin API for tests (JSON):
  GET    /_emulator/health
  GET    /_emulator/requests?account=…  operations that were called, with the status of each response
  GET    /_emulator/clock
  POST   /_emulator/clock      {"advance": SECONDS, "freeze": true or false}; only "advance" and slow responses move a frozen clock
  GET    /_emulator/settings
  POST   /_emulator/settings   {"unique_names": false, …}: change fields of Settings, such as quotas, from now on
  GET    /_emulator/permissions?account=…  IAM actions that an account is allowed (null: all), and those that its requests have needed
  POST   /_emulator/permissions    {"account": …, "actions": ["cleanrooms-ml:Get*", …]}: allow these actions only
  DELETE /_emulator/permissions?account=…  allow all actions
  POST   /_emulator/reset      delete resources, faults, permissions and the log of requests, but nothing in S3 or Glue; with
                               {"everything": true} also stop jobs and restore clock and settings to their initial values
  POST   /moto-api/reset       delete what S3, Glue and other services of moto store
  GET    /_emulator/faults     active faults
  DELETE /_emulator/faults?account=…
  POST   /_emulator/faults     {"operation": NAME or "*", "kind": KIND, "account": …, "times": CALLS (0: until deleted),
                                "lasts": SECONDS, "seconds": SECONDS, "code": CODE, "message": MESSAGE, "body": BODY}

kinds of faults:"""

#: Limits and default of --sample-users.
_LEAST_USERS, _MOST_USERS, _SAMPLE_USERS = 1_000, 100_000, 10_000
#: Twenty times the documented minimum of users, so that a model can be trained on a single week of the sample's 90 days.
_USERS_AT_FULL_SCALE = 2_000_000


def _parse_arguments() -> argparse.Namespace:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_cleanroomsml.emulator",
        description="Run an emulator of AWS Clean Rooms ML until it is interrupted.",
        epilog=_format_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        type=_parse_host,
        metavar="NAME",
        help="host name or IP address that clients may use, for instance the service name in a compose file; its subdomains are allowed "
        "too. Can be repeated. Always allowed: localhost and its subdomains, loopback addresses, and the address to listen on (any "
        "IP address for 0.0.0.0). Requests for other hosts and from web pages of other origins are rejected",
    )
    parser.add_argument(
        "--port", type=_parse_port, default=5055, help="port; 0 picks a free one (default: %(default)s)"
    )
    # No default here, because --with-sample derives the scale from the number of users and rejects one that was set.
    parser.add_argument(
        "--scale",
        type=_parse_number,
        help="factor by which the documented data minimums are multiplied; with 0.001, 1,000 interactions are enough (default: "
        f"{defaults.scale}; --with-sample derives it from the number of users)",
    )
    parser.add_argument(
        "--with-sample",
        action="store_true",
        help="start with a trained audience model, a seed and a collaboration, and print the connections and Variables for Airflow, and "
        "which example Dags to run; takes a few seconds",
    )
    parser.add_argument(
        "--sample-users",
        type=int,
        metavar="N",
        help="number of users in the sample, with ten interactions each on average: "
        f"{_LEAST_USERS:,} to {_MOST_USERS:,} (default: {_SAMPLE_USERS:,})",
    )
    parser.add_argument(
        "--pending-seconds",
        type=_parse_number,
        metavar="SECONDS",
        default=defaults.pending_seconds,
        help="how long a job is CREATE_PENDING (default: %(default)s)",
    )
    parser.add_argument(
        "--progress-seconds",
        type=_parse_number,
        metavar="SECONDS",
        default=defaults.progress_seconds,
        help="minimum time for which a job is CREATE_IN_PROGRESS (default: %(default)s)",
    )
    parser.add_argument(
        "--delete-seconds",
        type=_parse_number,
        metavar="SECONDS",
        default=defaults.delete_seconds,
        help="how long a deletion or cancellation takes (default: %(default)s)",
    )
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input is closed")
    parser.add_argument("--names-not-unique", action="store_true", help="accept names that are already in use")
    parser.add_argument(
        "--all-instance-types",
        action="store_true",
        help="do not limit instance types; a new AWS account has a quota of 0 for most of them",
    )
    parser.add_argument(
        "--published-rates",
        action="store_true",
        help="throttle requests that exceed the rates in the user guide, per account, region and operation",
    )
    arguments = parser.parse_args()
    if arguments.with_sample:
        if arguments.scale is not None:
            parser.error(
                "--scale and --with-sample cannot be combined: the number of users determines the scale of the sample"
            )
        if arguments.sample_users is None:
            arguments.sample_users = _SAMPLE_USERS
        if not _LEAST_USERS <= arguments.sample_users <= _MOST_USERS:
            parser.error(f"--sample-users must be {_LEAST_USERS:,} to {_MOST_USERS:,}, not {arguments.sample_users:,}")
        arguments.scale = arguments.sample_users / _USERS_AT_FULL_SCALE
    elif arguments.sample_users is not None:
        parser.error("--sample-users requires --with-sample")
    elif arguments.scale is None:
        arguments.scale = defaults.scale
    if problem := _find_listen_problem(arguments.host, arguments.port):
        parser.error(
            f"cannot listen on --host {arguments.host!r}, --port {arguments.port}: {problem}. The host must be an address of this "
            "machine, such as 127.0.0.1 or 0.0.0.0, and no other program may use the port"
        )
    return arguments


def _parse_port(text: str) -> int:
    # The system takes the remainder by 65,536 of a larger number.
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return int(text)


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; must be a number, 0 or more")
    return number


def _find_listen_problem(host: str, port: int) -> str:
    """Return why the server cannot listen there; empty if it can. werkzeug would print this without naming the options, and exit."""
    try:
        # As werkzeug's server does, which may reuse the address of a server that has just stopped.
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError as error:
        # A label of the name is empty or too long.
        return str(error)
    return ""


def _parse_host(text: str) -> str:
    try:
        return validate_host_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _format_epilog() -> str:
    kinds = textwrap.indent("\n".join(f"{kind:20}{description}" for kind, description in KINDS.items()), "    ")
    return f"{_ADMIN_API}\n{kinds}"


def _stop_with_stdin(stop: threading.Event) -> None:
    # However the parent process ends, even by SIGKILL, the kernel closes its end of the pipe.
    sys.stdin.read()
    stop.set()


def main() -> None:
    """Run the emulator until SIGINT or SIGTERM."""
    arguments = _parse_arguments()
    # werkzeug warns that its server is not meant for production.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    settings = Settings(
        scale=arguments.scale,
        pending_seconds=arguments.pending_seconds,
        progress_seconds=arguments.progress_seconds,
        delete_seconds=arguments.delete_seconds,
        unique_names=not arguments.names_not_unique,
        instance_types=() if arguments.all_instance_types else Settings().instance_types,
        published_rates=arguments.published_rates,
    )
    # The handlers only set an event. The main thread then leaves the block below, which closes the server in the usual order.
    loaded, stop = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if arguments.stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(stop,), daemon=True).start()
    with Emulator(settings, host=arguments.host, port=arguments.port, allowed_hosts=arguments.allowed_host) as emulator:
        # Flushed at once: a process that starts the emulator reads this line from a pipe to learn the port, and would wait for the buffer
        # to fill.
        print(f"AWS_ENDPOINT_URL={emulator.url}", flush=True)
        if arguments.with_sample:
            # In a thread, so that the process can be stopped while the sample is loaded.
            load = partial(_load_sample, emulator.url, arguments.sample_users, loaded, stop)
            threading.Thread(target=load, daemon=True).start()
        stop.wait()
    if arguments.with_sample and not loaded.is_set():
        raise SystemExit(1)


def _load_sample(url: str, users: int, loaded: threading.Event, stop: threading.Event) -> None:
    """Load the sample and print how to use it; if that fails, stop the emulator."""
    # numpy and pyarrow would delay the start of an emulator without a sample.
    from airflow_cleanroomsml.emulator.sample.instructions import format_instructions
    from airflow_cleanroomsml.emulator.sample.load import SampleError, load_sample

    print(
        f"# Generating the interactions of {users:,} users and training a model, which takes a few seconds", flush=True
    )
    try:
        print(format_instructions(url, load_sample(url, users)), flush=True)
        loaded.set()
    except SampleError as error:
        print(error, file=sys.stderr)
    finally:
        if not loaded.is_set():
            stop.set()


if __name__ == "__main__":
    main()
