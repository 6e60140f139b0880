"""What Alembic runs: our migrations on the connection that `store.schema` hands over."""

from alembic import context

from anomalyvfm_opt.store.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="schema_version",
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
