"""An application with a factory, two databases and migrations: it shares nothing with `questions`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask, Response, g, session, stream_with_context, url_for
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_branches import Branches

if TYPE_CHECKING:
    from collections.abc import Iterator

db = SQLAlchemy()
migrate = Migrate()
branches = Branches()


class Product(db.Model):  # type: ignore[name-defined,misc]
    """What is sold."""

    id = orm.mapped_column(sa.Integer, primary_key=True)
    name = orm.mapped_column(sa.String(40), unique=True, nullable=False)


class Event(db.Model):  # type: ignore[name-defined,misc]
    """What happened, in a database of its own."""

    __bind_key__ = "audit"
    id = orm.mapped_column(sa.Integer, primary_key=True)
    text = orm.mapped_column(sa.String(80))


def create_app(url: str | None = None, binds: Any = None) -> Flask:
    """The application, on the databases that are named, else on those of the environment."""
    app = Flask("shop", instance_path=os.path.abspath("instance"))  # noqa: PTH100
    app.secret_key = "not one"
    app.config["SQLALCHEMY_DATABASE_URI"] = url or os.environ.get("DATABASE_URL") or "sqlite:///shop.sqlite"
    app.config["SQLALCHEMY_BINDS"] = binds or {"audit": os.environ.get("AUDIT_URL") or "sqlite:///audit.sqlite"}
    db.init_app(app)
    migrate.init_app(app, db)
    branches.init_app(app)
    _add_views(app)
    return app


def _add_views(app: Flask) -> None:
    @app.post("/products/<name>")
    def add(name: str) -> tuple[str, int]:
        db.session.add_all([Product(name=name), Event(text=f"{name} is sold")])
        db.session.commit()
        return url_for("add", name=name), 201

    @app.post("/forgotten/<name>")
    def forget(name: str) -> str:
        db.session.add(Product(name=name))
        db.session.flush()
        return "added, it seems"

    @app.get("/count")
    def count() -> str:
        g.seen = g.get("seen", 0) + 1
        products, events = (db.session.scalar(sa.select(sa.func.count(each.id))) for each in (Product, Event))
        return f"{products} products, {events} events, g seen {g.seen} times"

    @app.get("/stream")
    def stream() -> Response:
        def names() -> Iterator[str]:
            for name in db.session.scalars(sa.select(Product.name).order_by(Product.id)):
                yield f"{name};"

        return Response(stream_with_context(names()))

    @app.get("/visits")
    def visits() -> str:
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])

    @app.post("/own-way")
    def own_way() -> tuple[str, int]:
        try:
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.insert(Product).values(name="its own"))
        except Exception:  # noqa: BLE001  as an application's own handler does
            return "sorry", 500
        return "done", 200
