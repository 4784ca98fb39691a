"""What a statement does to the transaction that a test runs in, told from its words.

Whatever is not known to be harmless counts as a change: that can cost an error where two connections overlap, and never
a wrong answer.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache

from flask_branches.isolation.words import words


class Effect(enum.IntEnum):
    """From harmless to impossible."""

    READ = 0
    WRITE = 1
    SCHEMA = 2
    BEGIN = 3
    """Begins a transaction, where one runs already."""
    FORBIDDEN = 4


@dataclass(frozen=True)
class Meaning:
    """What a statement does, and why it cannot be isolated, where it cannot."""

    effect: Effect
    why: str = ""


# What stands in quotes and comments has no meaning here. A Postgres dollar quote may have a tag, and its E'…' escapes.
_SILENT = re.compile(
    r"--[^\n\r]*|/\*.*?\*/|(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$",
    re.DOTALL,
)
_FIRST = re.compile(r"[\s(]*([A-Za-z_]+)")
_CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
_CHANGING = re.compile(r"\b(INSERT|UPDATE|DELETE|INTO|FOR\s+(?:KEY\s+)?SHARE)\b", re.IGNORECASE)
# A name with columns: of a table or a type after AS, of a query in WITH before it.
_COLUMNS = re.compile(
    r"\bAS\s+[A-Za-z_]\w*(?=\s*\()"
    r"|\b[A-Za-z_]\w*(?=\s*\([\w\s,]*\)\s*AS\s+(?:(?:NOT\s+)?MATERIALIZED\s*)?\(\s*(?:SELECT\b|VALUES\s*\(|WITH\b))",
    re.IGNORECASE,
)
_OF_A_TABLE = re.compile(r"\s*COPY\s+[\w.]", re.IGNORECASE)
_PRAGMA = re.compile(r"\s*PRAGMA\s+(?:\w+\s*\.\s*)?(\w+)\s*([=(]?)", re.IGNORECASE)
_ASKING = words(
    """
    foreign_key_check foreign_key_list index_info index_list index_xinfo integrity_check quick_check table_info
    table_list table_xinfo
    """
)
_WORKING = frozenset({"incremental_vacuum", "optimize", "wal_checkpoint"})

_READING = frozenset({"SELECT", "VALUES", "TABLE", "WITH", "SHOW", "EXPLAIN", "PRAGMA", "FETCH", "COPY"})
_DEFINING = frozenset({"CREATE", "ALTER", "DROP", "REINDEX", "COMMENT", "GRANT", "REVOKE"})
_BEGINNING = frozenset({"BEGIN", "START"})

_ENDS = "ends the transaction that the test runs in"
_LASTS = "would last until the test's end, and not until the transaction's"
_COMES_NEVER = "takes effect with a commit, which never comes"
_FORBIDDEN = (
    (re.compile(r"\s*(COMMIT|END|ABORT)\b", re.IGNORECASE), _ENDS),
    (re.compile(r"\s*ROLLBACK\b(?!\s+(WORK\s+|TRANSACTION\s+)?TO\b)", re.IGNORECASE), _ENDS),
    (re.compile(r"\s*PREPARE\s+TRANSACTION\b", re.IGNORECASE), _ENDS),
    (re.compile(r"\s*SET\s+LOCAL\b", re.IGNORECASE), _LASTS),
    (re.compile(r"\s*SET\s+(TRANSACTION|SESSION\s+CHARACTERISTICS)\b", re.IGNORECASE), _LASTS),
    (re.compile(r".*\bset_config\s*\((?!.*,\s*false\s*\))", re.IGNORECASE | re.DOTALL), _LASTS),
    (re.compile(r"\s*(LISTEN|UNLISTEN|NOTIFY)\b", re.IGNORECASE), _COMES_NEVER),
    (re.compile(r".*\bpg_notify\s*\(", re.IGNORECASE | re.DOTALL), _COMES_NEVER),
    (re.compile(r"\s*CREATE\b.*\bON\s+COMMIT\s+(DROP|DELETE)\b", re.IGNORECASE | re.DOTALL), _COMES_NEVER),
    (
        re.compile(r".*\bpg_(try_)?advisory_(lock|unlock)\w*\s*\(", re.IGNORECASE | re.DOTALL),
        "is about locks of a session, which all of a test's connections share: pg_advisory_xact_lock can be isolated",
    ),
    (
        re.compile(r"\s*PRAGMA\s+(\w+\s*\.\s*)?foreign_keys\s*[=(]", re.IGNORECASE),
        "has no effect inside a transaction: set it in a listener of the engine's event connect",
    ),
)

# Words before a parenthesis that call nothing, and functions that change nothing.
_HARMLESS = words(
    """
    abs acos age all and any any_value array array_agg array_append array_cat array_dims array_length array_lower
    array_ndims array_position array_positions array_prepend array_remove array_replace array_sample array_shuffle
    array_to_string array_upper as ascii asin asind atan atan2 avg between bit bit_and bit_length bit_or bit_xor
    bool_and bool_or bool_xor btrim by cardinality case cast cbrt ceil ceiling char char_length character_length
    check chr clock_timestamp coalesce collate concat concat_ws copy corr cos cosd cosh cot count covar_pop cross
    cube current_database current_date current_schema current_schemas current_setting current_time current_timestamp
    current_user date date_add date_bin date_part date_subtract date_trunc daterange datetime decimal decode degrees
    dense_rank distinct div else encode enum_first enum_last enum_range every except exclude exists exp extract
    family filter first_value float floor format format_type from gcd gen_random_uuid generate_series
    generate_subscripts glob greatest group group_concat grouping has_database_privilege has_schema_privilege
    has_table_privilege having hex host if ifnull iif ilike in inet_client_addr initcap inner instr int4multirange
    int4range int8range intersect interval is isempty isfinite isnull join json json_agg json_array
    json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each
    json_each_text json_extract json_extract_path json_extract_path_text json_group_array json_group_object
    json_object json_object_agg json_object_agg_unique json_object_keys json_populate_record json_strip_nulls
    json_tree json_type json_typeof json_valid jsonb_agg jsonb_array_elements jsonb_array_elements_text
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_exists
    jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object_agg jsonb_object_keys jsonb_path_exists
    jsonb_path_query jsonb_populate_record jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record
    jsonb_to_recordset jsonb_to_tsvector jsonb_typeof julianday justify_days justify_hours justify_interval lag
    last_insert_rowid last_value lastval lateral lcm lead least left length like limit ln localtime localtimestamp
    log log10 lower lower_inc lower_inf lpad ltrim make_date make_interval make_time make_timestamp make_timestamptz
    masklen materialized max md5 min mod mode nchar network not now nth_value ntile nullif num_nonnulls num_nulls
    numeric nummultirange numnode numrange nvarchar obj_description octet_length offset on or order ordinality over
    overlay partition percent_rank percentile_cont percentile_disc pg_backend_pid pg_collation_is_visible
    pg_get_constraintdef pg_get_expr pg_get_indexdef pg_get_serial_sequence pg_get_viewdef pg_is_in_recovery
    pg_size_pretty pg_table_is_visible pg_total_relation_size pg_type_is_visible pg_typeof phraseto_tsquery pi
    plainto_tsquery position pow power printf querytree quote_ident quote_literal quote_nullable radians random
    range_merge rank recursive regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr regr_slope repeat replace reverse right rollup round
    row row_number row_to_json rows rpad rtrim select sets setweight sha256 sha512 shobj_description sign similar
    similarity sin sind sinh some split_part sqlite_version sqrt starts_with statement_timestamp stddev stddev_pop
    stddev_samp stdout strftime strict_word_similarity string_agg string_to_array string_to_table strip strpos
    substr substring sum tan tand tanh then time timeofday timestamp to_ascii to_char to_date to_hex to_json
    to_jsonb to_number to_regclass to_timestamp to_tsquery to_tsvector total total_changes transaction_timestamp
    translate trim trim_array trunc ts_filter ts_headline ts_lexize ts_rank ts_rank_cd tsrange tstzrange
    tsvector_to_array typeof unaccent unicode union unixepoch unnest upper upper_inc using uuidv4 uuidv7 values
    var_pop var_samp varchar variance version websearch_to_tsquery when where width_bucket window with within
    word_similarity xmlagg
    """
)


@lru_cache(maxsize=2048)
def meaning(text: str, *, functions_write: bool = True) -> Meaning:
    """What a statement, or several with semicolons between them, does.

    Args:
        text: as it is sent.
        functions_write: whether a function that nobody knows can change something: on Postgres, never on SQLite.
    """
    found = Meaning(Effect.READ)
    for part in _SILENT.sub(_silenced, text).split(";"):
        if part.strip():
            each = _of_one(part, functions_write=functions_write)
            found = max(found, each, key=lambda meant: meant.effect)
    return found


def _of_one(text: str, *, functions_write: bool) -> Meaning:
    for pattern, why in _FORBIDDEN:
        if pattern.match(text):
            return Meaning(Effect.FORBIDDEN, why)
    first = _FIRST.match(text)
    word = first[1].upper() if first else ""
    if word in _BEGINNING:
        return Meaning(Effect.BEGIN, _ENDS)
    if word in _DEFINING:
        return Meaning(Effect.SCHEMA)
    only_reads = word in _READING and _only_reads(word, text, functions_write=functions_write)
    return Meaning(Effect.READ if only_reads else Effect.WRITE)


def _only_reads(word: str, text: str, *, functions_write: bool) -> bool:
    if word == "EXPLAIN":
        return not re.search(r"\bANALY[SZ]E\b", text, re.IGNORECASE)
    if word == "PRAGMA":
        return _only_asks(text)
    if _CHANGING.search(text) or (word == "COPY" and not re.search(r"\bTO\b", text, re.IGNORECASE)):
        return False
    if word == "COPY" and _OF_A_TABLE.match(text):
        return True
    return not functions_write or all(
        name.lower().removeprefix("pg_catalog.") in _HARMLESS for name in _CALL.findall(_COLUMNS.sub(" AS ", text))
    )


def _only_asks(text: str) -> bool:
    pragma = _PRAGMA.match(text)
    if pragma is None or pragma[1].lower() in _WORKING:
        return False
    return not pragma[2] or (pragma[2] == "(" and pragma[1].lower() in _ASKING)


def _silenced(match: re.Match[str]) -> str:
    """A space for a comment, an empty constant for a text; a quoted name may be a function's that nobody knows."""
    if match[0].startswith("/*") and "/*" in match[0][2:]:
        return " nested_comment() "  # which ends elsewhere on Postgres than on SQLite
    if match[0].startswith(("--", "/*")):
        return " "
    return " quoted_name " if match[0].startswith('"') else " '' "
