"""The catalogue's projection tables. Every row here can be made again from log and records (I7).

Times are POSIX milliseconds UTC; `position` is a log index. The tables of the commit protocol (checkpoint, staging,
entry ids, subject heads) belong to `vault.log.staging`; both live in catalogue.db and are created by `vault.catalogue.migrations`.
No row may ever be refused: whatever the log holds must be projectable, so nothing but primary keys is unique.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

metadata = MetaData()

projected = Table(
    "projected",
    metadata,
    Column("id", Integer, primary_key=True),  # one row, id 1
    Column("size", BigInteger, nullable=False),  # entries [0, size) are in the tables below
)
person = Table(
    "person",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
)
device = Table(
    "device",
    metadata,
    Column("id", Text, primary_key=True),
    Column("driver", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("identity", Text, nullable=False),  # JSON
    Column("position", BigInteger, nullable=False),
    Column("last_docked_ms", BigInteger, nullable=False),
)
dock_session = Table(
    "dock_session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("device", Text, nullable=False, index=True),
    Column("opened_position", BigInteger, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("files", BigInteger),
    Column("bytes", BigInteger),
    Column("closed_position", BigInteger),
)
clip = Table(
    "clip",
    metadata,
    Column("id", Text, primary_key=True),  # sha256:<hex>
    Column("size", BigInteger, nullable=False),
    Column("chunk_bytes", Integer, nullable=False),
    Column("chunk_root", Text, nullable=False),
    Column("media", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("sealed_position", BigInteger, nullable=False),
    Column("sealed_ms", BigInteger, nullable=False),
    Column("sm3", Text),
    Column("name", Text, nullable=False),
    Column("facts", Text, nullable=False),  # JSON
    Column("started_ms", BigInteger),
    Column("duration_ms", BigInteger),
    Index("clip_by_start", "started_ms"),
)
acquisition = Table(
    "acquisition",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("clip", Text, nullable=False, index=True),
    Column("device", Text, nullable=False),
    Column("session", Text, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified_at", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("acquired_ms", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Index("acquisition_by_place", "device", "path"),
)
failure = Table(
    "failure",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("device", Text, nullable=False),
    Column("session", Text, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("failed_ms", BigInteger, nullable=False),
)
case_record = Table(
    "case_record",
    metadata,
    Column("id", Text, primary_key=True),
    Column("number", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Index("case_by_number", "number"),
)
clip_link = Table(
    "clip_link",
    metadata,
    Column("clip", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("linked_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("clip_link_by_case", "case_id"),
)
view = Table(
    "view",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("view", Text, nullable=False, index=True),
    Column("clip", Text, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
)
derivative = Table(
    "derivative",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("clip", Text, nullable=False, index=True),
    Column("recipe", Text, nullable=False),
    Column("output", Text, nullable=False),
)
