"""The Videos API: what programs for `client.videos.*` speak, answered from the queue."""
