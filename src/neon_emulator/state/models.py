"""The tables of the state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

READ_WRITE = "read_write"
READ_ONLY = "read_only"

SCHEDULING = "scheduling"
RUNNING = "running"
FINISHED = "finished"
ERROR = "error"
CANCELLED = "cancelled"
UNFINISHED = (SCHEDULING, RUNNING)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Instant(sa.types.TypeDecorator[datetime]):
    """A time in UTC, kept as microseconds: SQLite has no type for it, and text would lose the zone."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else _EPOCH + value * _MICROSECOND


class Base(DeclarativeBase):
    """The root of the tables."""

    type_annotation_map = {datetime: _Instant, dict[str, Any]: sa.JSON}  # noqa: RUF012 - SQLAlchemy's name


class Jump(Base):
    """One time that the clock was moved on: when, by the machine's clock, and by how many seconds."""

    __tablename__ = "jump"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    seconds: Mapped[float]


class Project(Base):
    """A project."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    region_id: Mapped[str]
    provisioner: Mapped[str]
    pg_version: Mapped[int]
    store_passwords: Mapped[bool]
    history_retention_seconds: Mapped[int]
    settings: Mapped[dict[str, Any]]
    default_endpoint_settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Branch(Base):
    """A branch; one that was deleted is kept as a record for a while, without its cluster."""

    __tablename__ = "branch"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    cluster: Mapped[str | None] = mapped_column(unique=True)
    parent_id: Mapped[str | None] = mapped_column(index=True)
    parent_lsn: Mapped[str | None]
    parent_timestamp: Mapped[datetime | None]
    init_source: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False)
    protected: Mapped[bool] = mapped_column(default=False)
    current_state: Mapped[str]
    pending_state: Mapped[str | None]
    state_changed_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    ttl_interval_seconds: Mapped[int | None]
    last_reset_at: Mapped[datetime | None]
    logical_size: Mapped[int]
    annotation: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    deletion_method: Mapped[str | None]

    __table_args__ = (
        sa.Index("branch_name", "project_id", "name", unique=True, sqlite_where=sa.text("deleted_at IS NULL")),
    )


class Endpoint(Base):
    """An endpoint; `ready` is whether its first start is behind it, `pending_state` what it is on its way to."""

    __tablename__ = "endpoint"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"), index=True)
    branch_id: Mapped[str] = mapped_column(sa.ForeignKey("branch.id", ondelete="CASCADE"), index=True)
    port: Mapped[int]
    type: Mapped[str]
    name: Mapped[str | None]
    region_id: Mapped[str]
    provisioner: Mapped[str]
    autoscaling_limit_min_cu: Mapped[float]
    autoscaling_limit_max_cu: Mapped[float]
    suspend_timeout_seconds: Mapped[int]
    settings: Mapped[dict[str, Any]]
    pooler_enabled: Mapped[bool]
    pooler_mode: Mapped[str]
    disabled: Mapped[bool]
    passwordless_access: Mapped[bool]
    ready: Mapped[bool] = mapped_column(default=False)
    pending_state: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        sa.Index("one_read_write", "branch_id", unique=True, sqlite_where=sa.text(f"type = '{READ_WRITE}'")),
    )


class Role(Base):
    """What Postgres does not tell about a role: its password, where the project keeps it, and when it was changed."""

    __tablename__ = "role"

    branch_id: Mapped[str] = mapped_column(sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    password: Mapped[str | None]
    verifier: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Database(Base):
    """What Postgres does not tell about a database: when it was made and changed."""

    __tablename__ = "database"

    branch_id: Mapped[str] = mapped_column(sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Operation(Base):
    """A step of what a request has set going.

    The steps of one `chain` are done in the order of their numbers. `subject` is what the action is about, where that
    is neither a branch nor an endpoint: the cluster to delete, the role whose password is set.
    """

    __tablename__ = "operation"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    chain: Mapped[str] = mapped_column(index=True)
    project_id: Mapped[str] = mapped_column(sa.ForeignKey("project.id", ondelete="CASCADE"), index=True)
    branch_id: Mapped[str | None] = mapped_column(index=True)
    endpoint_id: Mapped[str | None]
    action: Mapped[str]
    subject: Mapped[str | None]
    status: Mapped[str]
    error: Mapped[str | None]
    failures_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
