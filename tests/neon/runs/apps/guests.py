"""An application on Neon that has nothing to do with `questions`: a factory, one table, two migrations."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_branches import Branches

db = SQLAlchemy()
migrate = Migrate()
branches = Branches()


class Guest(db.Model):  # type: ignore[misc,name-defined]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    visits: Mapped[int] = mapped_column(server_default="1")


def create_app(url: str | None = None) -> Flask:
    app = Flask("guests", root_path=str(Path(__file__).parent))
    app.config["SQLALCHEMY_DATABASE_URI"] = url or os.environ.get("DATABASE_URL", "sqlite:///guests.sqlite")
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True}
    db.init_app(app)
    migrate.init_app(app, db)
    branches.init_app(app)

    @app.post("/guests")
    def add() -> tuple[dict[str, int], int]:
        db.session.add(Guest(name=request.json["name"]))
        db.session.commit()
        return {"guests": db.session.query(Guest).count()}, 201

    @app.get("/guests")
    def count() -> dict[str, int]:
        return {"guests": db.session.query(Guest).count()}

    return app
