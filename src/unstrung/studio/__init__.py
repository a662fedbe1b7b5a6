"""The page: what a person who knows no command sees. It stands on the API's desk, and has no store and no queue of its own."""
