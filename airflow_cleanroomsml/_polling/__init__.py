"""
Polling for thousands of waits from one thread; the triggers use nothing else.

A poller serves all waits of a process that begin with the same settings of a connection. It has a thread with one boto3 client, from the
first wait to the last. All state is in the waits, so another process can continue them at any time.

============ =============================================================================================
module       purpose
============ =============================================================================================
registry     what a process shares: the pollers and start queues of each connection
poller       the thread: it sleeps until a poll is due, makes the calls, and sends the updates
planner      which calls answer the polls that are due: a Get each, or one pass through a listing
list_sweep   a pass through a listing that answers many waits
calls        the calls, the resources that they read, and the updates that follow from the answers
entries      how an entry of a listing is matched with a wait
subscription one wait of a trigger: when its next poll is due, its last result, and its updates
connecting   how the thread gets its client
client       the client, which never retries by itself
renewal      when to log in again after credentials were rejected
backoff      the pause between two calls, and how throttling changes it
start_queue  when the next job may be started
============ =============================================================================================
"""

from airflow_cleanroomsml._polling.registry import join_start_queue, run_with_client, subscribe
from airflow_cleanroomsml._polling.start_queue import Place
from airflow_cleanroomsml._polling.subscription import Subscription

__all__ = ["Place", "Subscription", "join_start_queue", "run_with_client", "subscribe"]
