"""
Waiting for many things at once, without a client or a thread for each: what the triggers stand on.

One poller serves all waits of one process and one connection: it has one thread of its own with one client of boto3. It begins with the
first wait and is gone with the last. What it knows is in the waits alone, so another process can go on with them at any time.

========= ==================================================================================
module    what it knows
========= ==================================================================================
watch     one wait of a trigger: when it is due, what was seen, how the news reaches its loop
plan      which reads answer the waits that are due: a Get each, or a sweep through a listing
pace      how fast calls follow each other, and how throttling slows all of them
client    the client that polls: it never tries again by itself
footprint what the poller leaves in memory, and what searches for garbage there hold
poller    the thread
gate      who may start next, where starts are limited
turns     the gates of this process
========= ==================================================================================
"""

from airflow_cleanroomsml._polling.poller import watching
from airflow_cleanroomsml._polling.start_queue import Turn, queued
from airflow_cleanroomsml._polling.subscription import Watch

__all__ = ["Turn", "Watch", "queued", "watching"]
