"""Real servers for the tests, started from their public packages as processes of their own."""
