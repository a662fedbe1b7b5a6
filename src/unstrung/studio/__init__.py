"""The page: what a person who knows no command sees. It stands on the API's desk, and has no store and no queue of its own."""

import os

# before the framework is imported, which reads them then: nobody is told that somebody uses this page
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault(
    "GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9)
)  # nor does it add up after every call how long all calls took
