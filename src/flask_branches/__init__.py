"""Databases for Flask-SQLAlchemy applications: so far, a Postgres of the application's own on this machine."""
