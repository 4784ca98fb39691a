"""The pytest plugin that gives every test session, worker or test a branch of its own."""
