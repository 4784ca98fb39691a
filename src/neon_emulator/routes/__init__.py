"""The API over HTTP: one blueprint per section."""
