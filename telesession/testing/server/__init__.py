"""The HTTP server of the loopback Bot API: calls, the queue of updates, and faults on request."""
