"""Differences between the models and a database in words, most of them as Alembic finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches.rehearsal.report import Difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy.engine import Dialect

    Place = tuple[str, ...]

_ASPECTS = {
    "modify_type": "type",
    "modify_nullable": "NOT NULL",
    "modify_default": "value",
    "modify_comment": "comment",
}
_GONE = {"remove", "drop"}
_ACTIONS = {"ON DELETE": "ondelete", "ON UPDATE": "onupdate"}


def either(what: str, models: str, database: str) -> Difference:
    """Something that the models and the database have differently, or that one of them has alone."""
    if models and database:
        return Difference(f"{what} {models}; in the database {database}", "models")
    return Difference(f"{what} {models or database}", "models" if models else "database")


class Wording:
    """Says what differs.

    Args:
        dialect: of an engine that has connected to the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._quote = dialect.identifier_preparer.quote
        self._nouns: dict[str, Callable[..., str]] = {
            "table": self._table,
            "column": lambda schema, table, column: f"the column {self.column(schema, table, column.name)}",
            "index": self._index,
            "constraint": self._constraint,
            "fk": self._foreign_key,
            "table_comment": lambda table, *_: f"the comment of {self._table(table)}",
        }

    def table(self, schema: str | None, name: str) -> str:
        """A table, as reports name it."""
        if self._dialect.name == "sqlite":
            return self._quote(name)
        return f"{self._quote(schema or self._dialect.default_schema_name or 'public')}.{self._quote(name)}"

    def column(self, schema: str | None, table: str, name: str) -> str:
        """A column, with its table."""
        return f"{self.table(schema, table)}.{self._quote(name)}"

    def differences(self, found: Iterable[Any]) -> Iterator[Difference]:
        """What Alembic has found: tuples, and lists of what is different about one column."""
        for each in found:
            if isinstance(each, list):
                yield from map(self._changed, each)
                continue
            kind, *what = each
            verb, _, noun = kind.partition("_")
            say = self._nouns.get(noun)
            text = say(*what) if say is not None else " ".join([noun, *map(str, what)])  # of an extension of Alembic's
            yield Difference(text, "database" if verb in _GONE else "models")

    def places(self, found: Iterable[Any]) -> set[Place]:
        """Of what Alembic has found, where: a column and what of it, an index or constraint, what a key is of."""
        places: set[Place] = set()
        for each in found:
            if isinstance(each, list):
                places.update((self.column(*of[1:4]), _ASPECTS[of[0]]) for of in each)
            elif isinstance(each[1], sa.ForeignKeyConstraint):
                places.add((self.table(each[1].table.schema, each[1].table.name), *sorted(each[1].column_keys)))
            elif isinstance(each[1], (sa.Index, sa.Constraint)):
                places.add((self._of(each[1]), self._name(each[1])))
        return places

    def _changed(self, change: tuple[Any, ...]) -> Difference:
        kind, schema, table, name, _, old, new = change
        column = self.column(schema, table, name)
        if kind == "modify_nullable":
            return Difference(f"{column} is NOT NULL", "database" if new else "models")
        if kind == "modify_type":
            return either(f"{column} is", self._type(new), self._type(old))
        if kind == "modify_default":
            return either(f"{column}:", self._value(new), self._value(old))
        return either(f"the comment of {column}:", *(f"{each}" if each else "" for each in (new, old)))

    def _type(self, of: sa.types.TypeEngine[Any]) -> str:
        try:
            return str(of.compile(dialect=self._dialect))
        except sa.exc.CompileError:
            return repr(of)  # one that the models' database has no word for

    def _value(self, default: Any) -> str:  # noqa: ANN401  whatever SQLAlchemy has for a default, and False for none
        if default is None or default is False:
            return ""
        if isinstance(default, sa.Identity):
            return f"GENERATED {'ALWAYS' if default.always else 'BY DEFAULT'} AS IDENTITY"
        if isinstance(default, sa.Computed):
            return f"GENERATED ALWAYS AS ({self._sql(default.sqltext)})"
        return f"DEFAULT {self._sql(getattr(default, 'arg', default))}"

    def _sql(self, text: Any) -> str:  # noqa: ANN401  text, or an expression of SQLAlchemy's
        if isinstance(text, str):
            return "'" + text.replace("'", "''") + "'"
        return str(text.compile(dialect=self._dialect, compile_kwargs={"literal_binds": True}))

    def _table(self, table: sa.Table) -> str:
        return f"the table {self.table(table.schema, table.name)}"

    def _of(self, part: Any) -> str:  # noqa: ANN401  an index or a constraint; only some of their classes have a table
        return self.table(part.table.schema, part.table.name)

    def _name(self, part: sa.Index | sa.Constraint) -> str:
        return self._quote(part.name) if isinstance(part.name, str) else ""

    def _index(self, index: sa.Index) -> str:
        inside = ", ".join(
            self._quote(each.name) if isinstance(each, sa.Column) else self._sql(each) for each in index.expressions
        )
        return f"the {'unique ' if index.unique else ''}index {self._name(index)} of {self._of(index)} ({inside})"

    def _constraint(self, constraint: Any) -> str:  # noqa: ANN401  a CHECK, or one on columns
        is_check = isinstance(constraint, sa.CheckConstraint)
        kind = "constraint" if is_check else "unique constraint"
        inside = self._sql(constraint.sqltext) if is_check else self._listed(constraint)
        named = f"{kind} {self._name(constraint)}".rstrip()
        return f"the {named} of {self._of(constraint)} ({inside})"

    def _foreign_key(self, key: sa.ForeignKeyConstraint) -> str:
        to = ", ".join(each.target_fullname for each in key.elements)
        actions = "".join(f" {word} {getattr(key, name)}" for word, name in _ACTIONS.items() if getattr(key, name))
        named = f"foreign key {self._name(key)}".rstrip()
        return f"the {named} of {self._of(key)} ({self._listed(key)}) to {to}{actions}"

    def _listed(self, constraint: sa.schema.ColumnCollectionConstraint) -> str:
        return ", ".join(self._quote(each.name) for each in constraint.columns)
