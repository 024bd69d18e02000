"""
Poll many resources from one thread: the triggers are built on this package.

One poller serves all waits of a process that use the same connection. It has its own thread with one boto3 client, starts with the first
wait and ends with the last. All of its state is in the waits, so another process can continue them at any time.

============ =============================================================================================
module       purpose
============ =============================================================================================
subscription one wait of a trigger: when it is due, what it has seen, and how updates reach its event loop
planner      which calls answer the waits that are due: one Get each, or one sweep through a listing
calls        the calls themselves, and what their errors mean to the waits
list_sweep   a sweep through the pages of a listing that answers many waits
entries      how an entry of a listing matches a wait
backoff      the rate of calls, and how throttling slows it down
renewal      when to try rejected credentials again
client       the client that polls; it never retries by itself
connecting   how the thread gets its client
origin       which settings a connection had when its poller started
poller       the thread
start_gate   which task may start next, where the number of jobs is limited
start_queue  the gates of this process
============ =============================================================================================
"""

from airflow_cleanroomsml._polling.poller import subscribe
from airflow_cleanroomsml._polling.start_queue import Turn, join_start_queue
from airflow_cleanroomsml._polling.subscription import Subscription

__all__ = ["Subscription", "Turn", "join_start_queue", "subscribe"]
